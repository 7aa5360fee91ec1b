"""Where the Envoys can be asked how they see their endpoints: those of pods, whichever replica of the operator serves them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final, NamedTuple

from fairlead_operator.api.meta import GROUP
from fairlead_operator.api.pods import Pod
from fairlead_operator.options import joined
from fairlead_operator.pod_bootstrap import STATUS_PORT
from fairlead_operator.sidecars import Pods
from fairlead_xds.observer import Proxy

#: Labels of a gateway's pods: the chart sets them, and nobody else may in the namespace of the installation.
COMPONENT: Final = "app.kubernetes.io/component"
GATEWAY: Final = f"{GROUP}/gateway"


class Target(NamedTuple):
    """One Envoy.

    Attributes:
        key: of its configuration.
        url: of its pages, without a path; empty: it cannot be asked.
        socket: through which; empty: over TCP.
    """

    name: str
    key: str
    url: str = ""
    socket: str = ""


#: The Envoys of some keys.
Targets = Callable[[Collection[str]], list[Target]]


def of_pods(pods: Pods, namespace: str, keys: Collection[str]) -> Iterable[Target]:
    """The gateways of the installation in *namespace*, and sidecars."""
    for pod in pods.everyone():
        key = _key(pods, pod, namespace)
        if key in keys and pod.state.ip and not pod.leaving:
            yield Target(_name(pod.ref.namespace, pod.ref.name), key, f"http://{joined(pod.state.ip, STATUS_PORT)}")


def _key(pods: Pods, pod: Pod, namespace: str) -> str:
    if pod.ref.namespace == namespace and pod.labels.get(COMPONENT) == "gateway":
        return pod.labels.get(GATEWAY, "")
    group = pods.group(pod)
    return group.key if group is not None else ""


def unknown(proxies: Iterable[Proxy], known: Iterable[Target], keys: Collection[str]) -> list[Target]:
    """Those of *proxies* that are connected and that nothing is known of: they cannot be asked."""
    names = {one.name for one in known}
    mine = [
        (_name(one.identity.namespace, one.identity.pod or one.node.id), one.key) for one in proxies if one.key in keys
    ]
    return [Target(name, key) for name, key in mine if name not in names]


def _name(namespace: str, pod: str) -> str:
    """Pods of two namespaces may have one name."""
    return f"{namespace}/{pod}" if namespace else pod
