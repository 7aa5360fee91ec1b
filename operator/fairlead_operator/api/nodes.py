"""A minimal view of a Node: whether the pods on it can be reached, as far as Kubernetes knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fairlead_operator.api.lenient import child, children, text
from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.api.pod_status import seconds_of

#: An administrator says that it is off for good.
#: https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-out-of-service
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"


@dataclass(frozen=True, slots=True)
class Node:
    """A node; ``lost`` says why its pods cannot be counted on, empty: they can. A cordoned node serves as before.

    ``since``: seconds since the epoch when its condition Ready last changed; 0: unknown.
    """

    ref: Ref
    lost: str = ""
    since: float = 0.0


def read_node(raw: dict[str, Any]) -> Node:
    """A Node. What is not as the API has it counts as nothing wrong."""
    ref = ref_of(raw)
    tainted = {text(one, "key") for one in children(child(raw, "spec"), "taints")}
    conditions = children(child(raw, "status"), "conditions")
    ready = next((one for one in conditions if one.get("type") == "Ready"), {})
    since = text(ready, "lastTransitionTime")
    lost = ""
    if OUT_OF_SERVICE in tainted:
        lost = "is out of service"
    elif ready.get("status") == "Unknown" or UNREACHABLE in tainted:
        lost = "is unreachable: its kubelet has not been heard of"
    elif ready.get("status") == "False":
        lost = "is not ready"
    return Node(ref, lost, seconds_of(since) if lost else 0.0)
