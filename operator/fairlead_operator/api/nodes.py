"""A minimal view of a Node: whether the pods on it can be reached, as far as Kubernetes knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from fairlead_operator.api.lenient import Json, child, children, text
from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.api.pod_status import seconds_of

#: An administrator says that it is off for good.
#: https://kubernetes.io/docs/reference/labels-annotations-taints/#node-kubernetes-io-out-of-service
OUT_OF_SERVICE: Final = "node.kubernetes.io/out-of-service"
UNREACHABLE: Final = "node.kubernetes.io/unreachable"
#: Why the node controller calls a node unreachable whose kubelet has never said anything.
NEVER_HEARD: Final = "NodeStatusNeverUpdated"
#: Seconds from a node's creation to what its kubelet says first, by two clocks.
_FIRST_WORD: Final = 60.0


@dataclass(frozen=True, slots=True)
class Node:
    """A node; ``lost`` says why its pods cannot be counted on, empty: they can. A cordoned node serves as before.

    ``since``: seconds since the epoch when it was lost, by its condition Ready or its taint; 0: unknown. ``joining``: it has
    never been ready, so that nothing of it can be lost.
    """

    ref: Ref
    lost: str = ""
    since: float = 0.0
    joining: bool = False


def read_node(raw: dict[str, Any]) -> Node:
    """A Node. What is not as the API has it counts as nothing wrong."""
    ref = ref_of(raw)
    taints = _taints(raw)
    conditions = children(child(raw, "status"), "conditions")
    ready = next((one for one in conditions if one.get("type") == "Ready"), {})
    if OUT_OF_SERVICE in taints:
        return Node(ref, "is out of service", _since(ready) or taints[OUT_OF_SERVICE])
    if _never_ready(raw, ready):
        return Node(ref, joining=True)
    if ready.get("status") == "Unknown" or UNREACHABLE in taints:
        why = "is unreachable: its kubelet has not been heard of"
        return Node(ref, why, _since(ready) or taints.get(UNREACHABLE, 0.0))
    if ready.get("status") == "False":
        return Node(ref, "is not ready", _since(ready))
    return Node(ref)


def _taints(raw: Json) -> dict[str, float]:
    """By key, since when; 0: it does not say. One of two effects may say it alone."""
    found: dict[str, float] = {}
    for one in children(child(raw, "spec"), "taints"):
        key = text(one, "key")
        found[key] = max(found.get(key, 0.0), seconds_of(text(one, "timeAdded")))
    return found


def _since(ready: Json) -> float:
    """When it stopped to be ready; the condition of a node that still is changed when it became that, which is nothing."""
    return seconds_of(text(ready, "lastTransitionTime")) if ready.get("status") in {"False", "Unknown"} else 0.0


def _never_ready(raw: Json, ready: Json) -> bool:
    """Whether nothing of it can be lost yet.

    A kubelet registers its node as not ready, and that condition keeps its time until it is ready once. The taint ``not-ready``
    tells less: with the effect NoSchedule it has no time, with NoExecute it comes minutes late where many nodes get it.
    """
    if ready.get("reason") == NEVER_HEARD:
        return ready.get("status") == "Unknown"
    created = seconds_of(text(child(raw, "metadata"), "creationTimestamp"))
    first_word = seconds_of(text(ready, "lastTransitionTime")) <= created + _FIRST_WORD
    return bool(created) and ready.get("status") == "False" and first_word
