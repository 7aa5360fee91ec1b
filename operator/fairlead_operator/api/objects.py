"""The custom resources with their metadata, and how a raw object becomes one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from fairlead_operator.api.backend import BackendSpec
from fairlead_operator.api.errors import errors
from fairlead_operator.api.meta import API_VERSION, DecodeError, Ref, ref_of
from fairlead_operator.api.policy import LoadBalancerPolicySpec

S = TypeVar("S", LoadBalancerPolicySpec, BackendSpec)


@dataclass(frozen=True, slots=True)
class LoadBalancerPolicy:
    """A policy that was read. ``created`` (RFC 3339) decides conflicts: the older wins."""

    ref: Ref
    generation: int
    created: str
    spec: LoadBalancerPolicySpec
    uid: str = ""

    @property
    def age(self) -> tuple[str, str, str]:
        """Sort key for conflicts: the older first, then by name (Gateway API)."""
        return (self.created, self.ref.namespace, self.ref.name)


@dataclass(frozen=True, slots=True)
class Backend:
    """A Backend that was read."""

    ref: Ref
    generation: int
    spec: BackendSpec


@dataclass(frozen=True, slots=True)
class InvalidPolicy:
    """A policy that the API server let through and we cannot read: it gets a condition and nothing else."""

    ref: Ref
    generation: int
    errors: tuple[tuple[str, str], ...]


def _metadata(raw: dict[str, Any], key: str, default: Any) -> Any:
    value = (raw.get("metadata") or {}).get(key)
    return value if isinstance(value, type(default)) else default


def _spec(ref: Ref, raw: dict[str, Any], model: type[S]) -> S:
    """The spec, judged as the API server does: no ``"80"`` for 80, no snake_case, and null is absent."""
    if raw.get("apiVersion") != API_VERSION:
        raise DecodeError(ref, "apiVersion", f"must be {API_VERSION}")
    try:
        # As JSON, because that is what strict means there: a list may become a tuple, a string no number. What YAML
        # has beyond JSON (dates) is a string to kubectl too.
        text = json.dumps(without_null(raw.get("spec") or {}), default=str)
    except (TypeError, ValueError, RecursionError):
        raise DecodeError(ref, "spec", "must be what JSON can hold") from None
    return model.model_validate_json(text, strict=True, by_alias=True, by_name=False)


def without_null(value: Any) -> Any:
    """*value* without what is null: as for the API server, a field that was left empty is absent."""
    match value:
        case dict():
            return {key: without_null(item) for key, item in value.items() if item is not None}
        case list():
            return [without_null(item) for item in value]
        case _:
            return value


def read_policy(raw: dict[str, Any]) -> LoadBalancerPolicy | InvalidPolicy:
    """A policy, or why it is none. Raises DecodeError only where there is no name to report it on."""
    ref = ref_of(raw)
    generation = _metadata(raw, "generation", 0)
    try:
        spec = _spec(ref, raw, LoadBalancerPolicySpec)
    except ValidationError as error:
        return InvalidPolicy(ref, generation, errors(error))
    return LoadBalancerPolicy(ref, generation, _metadata(raw, "creationTimestamp", ""), spec, _metadata(raw, "uid", ""))


def read_backend(raw: dict[str, Any]) -> Backend:
    """A Backend. Raises DecodeError with the first field at fault."""
    ref = ref_of(raw)
    try:
        return Backend(ref, _metadata(raw, "generation", 0), _spec(ref, raw, BackendSpec))
    except ValidationError as error:
        path, reason = errors(error)[0]
        raise DecodeError(ref, path, reason) from None
