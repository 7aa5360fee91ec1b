"""A pod -> the pod with a sidecar. Pure; used by the webhook and by ``fairlead inject``.

The sidecar is a native one, an init container with ``restartPolicy: Always``: it is there before the application's own init
containers, outlives the application, and lets Jobs end. It meets Pod Security ``restricted``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fairlead_operator import pod_bootstrap
from fairlead_operator.api.pods import CAPTURE, CAPTURED, INJECT, INJECTED, SIDECAR
from fairlead_operator.injection.settings import InjectionError, Settings, of_pod

Json = dict[str, Any]

PROXY: Final = "fairlead-proxy"
INIT: Final = "fairlead-capture"
#: User and group of the sidecar: one that no application has, because capturing exempts it.
UID: Final = 61337
CAPTURE_PORT: Final = 15001
LOW_PORTS: Final = "net.ipv4.ip_unprivileged_port_start"
VOLUMES: Final = ("fairlead-token", "fairlead-ca", "fairlead-run")


def wanted(pod: Json, *, selected: bool) -> bool:
    """Whether *pod* is to get a sidecar: by its label, else because a policy has *selected* it. Not a second one."""
    asked = _labels(pod).get(INJECT)
    return not has_sidecar(pod) and asked != "false" and (selected or asked == "true")


def has_sidecar(pod: Json) -> bool:
    containers = (pod.get("spec") or {}).get("initContainers") or []
    return any(isinstance(one, dict) and one.get("name") == PROXY for one in containers)


def obstacle(pod: Json) -> str:
    """Why *pod* cannot have a sidecar at all; empty if it can."""
    spec = pod.get("spec") or {}
    if spec.get("hostNetwork"):
        return "spec.hostNetwork: a sidecar would open its ports on the node: call a gateway instead"
    if (spec.get("os") or {}).get("name") == "windows":
        return "spec.os.name: Envoy is made for Linux here"
    names = {one.get("name") for part in ("containers", "initContainers") for one in spec.get(part) or []}
    if clash := next((name for name in (PROXY, INIT) if name in names), None):
        return f"spec.containers: {clash} is a name of the sidecar's: use another"
    taken = {volume.get("name") for volume in spec.get("volumes") or [] if isinstance(volume, dict)}
    clash = next((name for name in VOLUMES if name in taken), None)
    return f"spec.volumes: {clash} is a name of the sidecar's: use another" if clash else ""


def inject(pod: Json, settings: Settings, *, captured: Sequence[str] = ()) -> Json:
    """*pod* with a sidecar; itself if it has one.

    Args:
        pod: a Pod, or the template of one. It is not changed.
        settings: of the installation; the pod's annotations come first.
        captured: ``IP:port`` of the Services that go through the sidecar in Capture mode.

    Raises:
        InjectionError: it cannot have one as it asks for.
    """
    if has_sidecar(pod):
        return pod
    if why := obstacle(pod):
        raise InjectionError(why)
    metadata, spec = dict(pod.get("metadata") or {}), dict(pod.get("spec") or {})
    annotations = dict(metadata.get("annotations") or {})
    settings = of_pod(settings, annotations)
    containers = [sidecar(settings)]
    if settings.mode == CAPTURE:
        annotations[CAPTURED] = ",".join(captured)
        metadata["annotations"] = annotations
        containers.insert(0, _capture(settings, captured))
    metadata["labels"] = {**(metadata.get("labels") or {}), SIDECAR: INJECTED}
    spec["initContainers"] = [*containers, *(spec.get("initContainers") or [])]
    spec["volumes"] = [*(spec.get("volumes") or []), *_volumes(settings)]
    spec["securityContext"] = _with_low_ports(spec.get("securityContext") or {})
    return {**pod, "metadata": metadata, "spec": spec}


def patch(before: Json, after: Json) -> list[Json]:
    """The JSON patch (RFC 6902) from *before* to *after*, as ``inject`` makes it."""
    places = (
        *(("metadata", name) for name in ("labels", "annotations")),
        *(("spec", name) for name in ("initContainers", "volumes", "securityContext")),
    )
    return [
        {"op": "add", "path": f"/{part}/{name}", "value": after[part][name]}  # it replaces what is there
        for part, name in places
        if (after.get(part) or {}).get(name) != (before.get(part) or {}).get(name)
    ]


def sidecar(settings: Settings) -> Json:
    """The container."""
    config = pod_bootstrap.sidecar(xds_host=settings.xds_host, xds_port=settings.xds_port)
    files = pod_bootstrap.Files()
    return {
        "name": PROXY,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "restartPolicy": "Always",
        "args": [
            *("--config-yaml", json.dumps(config, separators=(",", ":"))),
            *("--service-node", "$(POD_NAME)"),
            *pod_bootstrap.arguments(concurrency=1),
        ],
        "env": [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        # What follows waits for it: it returns when Envoy is configured, or says why not when the time is over.
        "lifecycle": {
            "postStart": {
                "exec": {"command": ["/usr/local/bin/fairlead-proxy", "wait", "--for", settings.start_limit]},
            }
        },
        "resources": _resources(settings),
        "securityContext": {
            "runAsUser": UID,
            "runAsGroup": UID,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": "fairlead-token", "mountPath": files.token, "readOnly": True},
            {"name": "fairlead-ca", "mountPath": files.ca, "readOnly": True},
            {"name": "fairlead-run", "mountPath": files.admin.rpartition("/")[0]},
        ],
    }


def _resources(settings: Settings) -> Json:
    given = (("requests", settings.requests), ("limits", settings.limits))
    return {name: dict(values) for name, values in given if values}


def _capture(settings: Settings, captured: Sequence[str]) -> Json:
    """The init container that sets the pod's iptables: the one part that needs privileges."""
    command = ["/usr/local/bin/fairlead-proxy", "capture", "--services", ",".join(captured)]
    return {
        "name": INIT,
        "image": settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": [*command, "--to", str(CAPTURE_PORT), "--except-uid", str(UID)],
        "resources": _resources(settings),  # it ends before the sidecar begins, so the pod needs no more
        "securityContext": {
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def _with_low_ports(security: Json) -> Json:
    """So that a listener's port may be below 1024 although the sidecar has no privilege: a safe sysctl, of this pod only."""
    known = security.get("sysctls") or []
    if any(isinstance(one, dict) and one.get("name") == LOW_PORTS for one in known):
        return security
    return {**security, "sysctls": [*known, {"name": LOW_PORTS, "value": "0"}]}


def _volumes(settings: Settings) -> list[Json]:
    token = {"path": "token", "audience": settings.audience, "expirationSeconds": 3600}
    return [
        {"name": "fairlead-token", "projected": {"sources": [{"serviceAccountToken": token}]}},
        # Optional: the application starts in any case; Envoy finds the bundle when it comes.
        {"name": "fairlead-ca", "configMap": {"name": "fairlead-ca", "optional": True}},
        {"name": "fairlead-run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
    ]


def _labels(pod: Json) -> Mapping[str, str]:
    labels = (pod.get("metadata") or {}).get("labels")
    return labels if isinstance(labels, dict) else {}
