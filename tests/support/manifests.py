"""Raw objects as the API shows them, for tests that feed the control plane: the shortest form of each."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterable, Mapping
from typing import Any

NAMESPACE = "shop"

Raw = dict[str, Any]


def service(name: str, port: int = 80) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"ports": [{"port": port}]},
    }


def endpoint(address: str, **conditions: bool) -> Raw:
    return {"addresses": [address], "conditions": conditions or {"ready": True}}


def placed(endpoint: Raw, *, pod: str, node: str = "") -> Raw:
    """*endpoint* as that of a pod, on a node."""
    target = {"kind": "Pod", "name": pod, "namespace": NAMESPACE}
    return endpoint | {"targetRef": target} | ({"nodeName": node} if node else {})


def endpoint_slice(of: str, port: int, endpoints: Iterable[Raw], *, name: str = "") -> Raw:
    """A slice of Service *of*; it has the name of the Service unless *name* says otherwise."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name or of, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": of}},
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": list(endpoints),
    }


def secret(name: str, certificate: bytes, key: bytes) -> Raw:
    data = {"tls.crt": certificate, "tls.key": key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {entry: base64.b64encode(value).decode() for entry, value in data.items()},
    }


def policy(name: str, spec: Mapping[str, Any], *, generation: int = 1, age: int = 0) -> Raw:
    """*age*: the larger, the older."""
    return {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "LoadBalancerPolicy",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "generation": generation,
            "creationTimestamp": f"2026-01-01T00:{59 - age:02d}:00Z",
        },
        "spec": dict(spec),
    }


def listener(port: int, *hostnames: str, name: str = "main", secret: str = "") -> Raw:
    """HTTPS if *secret* names a certificate, else HTTP."""
    tls = {"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": secret}]}} if secret else {"protocol": "HTTP"}
    return {"name": name, "port": port, **tls, **({"hostnames": list(hostnames)} if hostnames else {})}


def route(name: str, backends: str | Mapping[str, int], **fields: Any) -> Raw:
    """*backends*: a Service, or Services with their weights."""
    weights = {backends: 1} if isinstance(backends, str) else backends
    refs = [{"name": service, "port": 80, "weight": weight} for service, weight in weights.items()]
    return {"name": name, "backendRefs": refs, **fields}


def site(listeners: Raw | list[Raw], routes: str | Raw | list[Raw], *, gateway: str = "edge", **fields: Any) -> Raw:
    """The spec of an inline policy; *routes* may be just the name of a Service."""
    if isinstance(routes, str):
        routes = route("all", routes)
    return {
        "proxies": {"gateway": gateway},
        "listeners": [listeners] if isinstance(listeners, dict) else listeners,
        "routes": [routes] if isinstance(routes, dict) else routes,
        **fields,
    }


def attached(*services: str, **fields: Any) -> Raw:
    """The spec of an attached policy."""
    return {"targetRefs": [{"kind": "Service", "name": service} for service in services], **fields}


def pod(
    name: str, labels: Mapping[str, str], *, sidecar: bool = True, annotations: Mapping[str, str] | None = None
) -> Raw:
    """The metadata of a pod, with a sidecar or without; its uid is ``uid-NAME``."""
    own = {"fairlead.dev/sidecar": "injected"} if sidecar else {}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}",
            "labels": {**labels, **own},
            "annotations": dict(annotations or {}),
        },
    }


def running_pod(
    name: str,
    *,
    restarts: int = 0,
    started: float = 0.0,
    started_probe: bool = True,
    waiting: str = "",
    run: float = 1.0,
) -> Raw:
    """A pod with one container that runs since *started* (seconds since the epoch); each run before lasted *run* seconds.

    *started_probe*: its startup probe has passed; *waiting*: why the container does not run.
    """

    def at(seconds: float) -> str:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()

    state: Raw = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": at(started)}}
    container: Raw = {"name": "web", "restartCount": restarts, "started": started_probe and not waiting, "state": state}
    if restarts:
        ended = {"startedAt": at(started - run), "finishedAt": at(started), "exitCode": 137, "reason": "OOMKilled"}
        container["lastState"] = {"terminated": ended}
    return pod(name, {}, sidecar=False) | {"spec": {}, "status": {"phase": "Running", "containerStatuses": [container]}}


def node(name: str, *, ready: str = "True", taint: str = "", since: str = "2026-01-01T00:00:10Z") -> Raw:
    """A Node with its condition Ready, which it has *since*, and one taint."""
    taints = [{"key": taint, "effect": "NoExecute"}] if taint else []
    ready_since = {"type": "Ready", "status": ready, "lastTransitionTime": since}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": taints},
        "status": {"conditions": [ready_since]},
    }


def on_sidecars(
    labels: Mapping[str, str], listeners: Raw | list[Raw], routes: str | Raw | list[Raw], **fields: Any
) -> Raw:
    """The spec of an inline policy for the sidecars of pods."""
    return {**site(listeners, routes, **fields), "proxies": {"sidecars": {"matchLabels": dict(labels)}}}
