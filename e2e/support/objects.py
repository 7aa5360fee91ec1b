"""The objects that the scenarios apply: the sample application, its Service, a policy, a load pod."""

from __future__ import annotations

import base64
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import trustme

IMAGE = "fairlead-sample:0.1.0"
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
POD_SECURITY = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
ACCESS = "fairlead.dev/gateway-access"
#: For routes of scenarios in which a backend ends with a connection open: what the sample application is asked may be
#: asked twice.
RETRY = {"retry": {"attempts": 2, "retryOn": ["ConnectFailure", "RefusedStream", "Reset"]}}


#: Liveness probes. A machine that has no time for seconds is no dead application: only where a scenario is about restarts is
#: the probe quick.
PATIENT: dict[str, Any] = {"periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 6}
QUICK: dict[str, Any] = {"periodSeconds": 1, "failureThreshold": 2}


def deployment(
    namespace: str,
    name: str,
    *,
    replicas: int,
    drain: int = 5,
    environment: dict[str, str] | None = None,
    gates: Sequence[str] = (),
    liveness: Mapping[str, Any] = PATIENT,
) -> dict[str, Any]:
    """The sample application as *name*: spread over zones, probed, ending with grace; *gates* are of its readiness."""
    labels = {"app": name}
    fields = {"POD_NAME": "metadata.name", "NODE_NAME": "spec.nodeName"}
    variables = {"DRAIN": str(drain), "VERSION": name, **(environment or {})}
    env: list[dict[str, Any]] = [
        *({"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}} for key, path in fields.items()),
        *({"name": key, "value": value} for key, value in variables.items()),
    ]
    container = {
        "name": "app",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": env,
        "ports": [{"name": "http", "containerPort": 8080}],
        # Patient enough for a machine on which eight pods start at once: a session moves when its pod is not ready.
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": "http"},
            "periodSeconds": 1,
            "failureThreshold": 3,
            "timeoutSeconds": 3,
        },
        "livenessProbe": {"httpGet": {"path": "/livez", "port": "http"}, **liveness},
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "10m", "memory": "24Mi"}, "limits": {"memory": "96Mi"}},
    }
    spread = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": labels},
    }
    pod = {
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 30,
        "readinessGates": [{"conditionType": gate} for gate in gates],
        "topologySpreadConstraints": [spread],
        "securityContext": POD_SECURITY,
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "strategy": {"rollingUpdate": {"maxUnavailable": 1, "maxSurge": 2}},
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def service(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def policy(
    namespace: str,
    weights: dict[str, int],
    *,
    hostname: str = "",
    route: dict[str, Any] | None = None,
    listener: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A policy of the gateway `edge` for one host (empty: for all) that splits between Services; *more*: of its spec."""
    references = [{"name": name, "port": 80, "weight": weight} for name, weight in weights.items()]
    http = {"name": "http", "port": 80, "protocol": "HTTP"}
    return {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "LoadBalancerPolicy",
        "metadata": {"name": "site", "namespace": namespace},
        "spec": {
            "proxies": {"gateway": "edge"},
            "listeners": [{**(listener or http), **({"hostnames": [hostname]} if hostname else {})}],
            "routes": [{"name": "all", "backendRefs": references, **(route or {})}],
            **more,
        },
    }


def certificate(namespace: str, name: str, hostname: str) -> dict[str, Any]:
    """A Secret with a certificate of its own authority."""
    made = trustme.CA().issue_cert(hostname)
    chain = b"".join(blob.bytes() for blob in made.cert_chain_pems)
    data = {"tls.crt": chain, "tls.key": made.private_key_pem.bytes()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def https(secret: str) -> dict[str, Any]:
    """The listener of a policy that terminates TLS with a Secret."""
    tls = {"mode": "Terminate", "certificateRefs": [{"name": secret}]}
    return {"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls}


def for_sidecars(policy: dict[str, Any], labels: dict[str, str]) -> dict[str, Any]:
    """The same as *policy* for the sidecars of pods with *labels*: what they call on their loopback."""
    made = copy.deepcopy(policy)
    made["metadata"]["name"] = "sidecars"
    made["spec"]["proxies"] = {"sidecars": {"matchLabels": labels}}
    return made


def attached(namespace: str, service: str, **spec: Any) -> dict[str, Any]:
    """A policy that is about a Service, whoever calls it; *spec* says what."""
    return {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "LoadBalancerPolicy",
        "metadata": {"name": service, "namespace": namespace},
        "spec": {"targetRefs": [{"kind": "Service", "name": service}], **spec},
    }


def load(
    namespace: str,
    name: str,
    arguments: Sequence[str],
    *,
    node: str = "",
    labels: dict[str, str] | None = None,
    annotations: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A pod that sends requests until it is told to stop; its results are on port 9000."""
    container = {
        "name": "load",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "args": ["/app/load.py", *arguments],
        "readinessProbe": {"httpGet": {"path": "/results?from=1000000", "port": 9000}, "periodSeconds": 1},
        "securityContext": RESTRICTED,
        "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app": name, **(labels or {})},
            "annotations": annotations or {},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 2,
            "securityContext": POD_SECURITY,
            "containers": [container],
            **({"nodeName": node} if node else {}),
        },
    }
