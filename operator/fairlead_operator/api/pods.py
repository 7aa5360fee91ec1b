"""A pod as far as it concerns us, and the labels and annotations with which pods and sidecars speak to each other."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from fairlead_operator.api.meta import GROUP, DecodeError, Ref, ref_of
from fairlead_operator.api.pod_status import UNKNOWN, PodState, read_state

#: Label of a pod: ``true`` asks for a sidecar, ``false`` refuses one.
INJECT: Final = f"{GROUP}/inject"
#: Label that injection sets: this pod has a sidecar.
SIDECAR: Final = f"{GROUP}/sidecar"
INJECTED: Final = "injected"
#: Annotation of a pod: how its sidecar is reached.
MODE: Final = f"{GROUP}/mode"
EXPLICIT, CAPTURE = "Explicit", "Capture"
#: Annotation that injection sets in Capture mode: the ``IP:port`` whose connections go through the sidecar.
CAPTURED: Final = f"{GROUP}/captured"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod that has not ended.

    Attributes:
        labels: all of them; equal sets are one object.
        injected: it has a sidecar.
        capture: its sidecar takes outbound connections.
        captured: to which addresses, as ``IP:port``.
        leaving: it is being deleted.
        opted_out: it wants no sidecar.
        on_node: it uses its node's network, and can have none.
        state: of its containers.
    """

    ref: Ref
    uid: str
    labels: Mapping[str, str]
    injected: bool = False
    capture: bool = False
    captured: frozenset[str] = frozenset()
    leaving: bool = False
    opted_out: bool = False
    on_node: bool = False
    state: PodState = UNKNOWN


@functools.lru_cache(maxsize=16384)
def _shared(labels: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """The pods of one ReplicaSet have equal labels: they are held once."""
    return MappingProxyType(dict(labels))


def _texts(ref: Ref, metadata: Mapping[str, Any], name: str) -> dict[str, str]:
    value = metadata.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(part, str) for item in value.items() for part in item):
        raise DecodeError(ref, f"metadata.{name}", "must be a map of strings")
    return value


def read_pod(raw: dict[str, Any], known: Pod | None = None, now: float = math.inf) -> Pod:
    """A Pod, or its metadata; *known*: what was read of that name before; *now*: see ``read_state``. Raises DecodeError."""
    ref = ref_of(raw)
    metadata = raw["metadata"]
    labels, annotations = _texts(ref, metadata, "labels"), _texts(ref, metadata, "annotations")
    uid = metadata.get("uid")
    injected = labels.get(SIDECAR) == INJECTED
    return Pod(
        ref,
        uid if isinstance(uid, str) else "",
        _shared(tuple(sorted(labels.items()))),
        injected,
        injected and annotations.get(MODE) == CAPTURE,
        frozenset(part for part in annotations.get(CAPTURED, "").split(",") if part),
        bool(metadata.get("deletionTimestamp")),
        labels.get(INJECT) == "false",
        bool((raw.get("spec") or {}).get("hostNetwork")),
        read_state(raw, known.state if known is not None and known.uid == uid else None, now),
    )
