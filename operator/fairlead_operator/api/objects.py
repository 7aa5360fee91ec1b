"""The custom resources with their metadata, and how a raw object becomes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from fairlead_operator.api.backend import BackendSpec
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


def _path(loc: tuple[int | str, ...]) -> str:
    text = "spec"
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{to_camel(part) if '_' in part else part}"
    return text


def errors(error: ValidationError) -> tuple[tuple[str, str], ...]:
    """``(field path, what is wrong)`` of each error of a spec, in words that a person understands."""
    return tuple((_path(_location(e)), _message(e)) for e in error.errors(include_url=False))


def _location(error: Any) -> tuple[int | str, ...]:
    field = (error.get("ctx") or {}).get("field", "") if error["type"] == "rule" else ""
    return (*error["loc"], field) if field else tuple(error["loc"])


def _message(error: Any) -> str:
    match error["type"]:
        case "extra_forbidden":
            return "unknown field: remove it or mend its spelling"
        case "missing":
            return "is required"
        case "literal_error":
            return f"must be {error['ctx']['expected']}, not {error['input']!r}"
        case "string_pattern_mismatch":
            return f"{error['input']!r} must match {error['ctx']['pattern']}"
        case _:
            return str(error["msg"])


def _metadata(raw: dict[str, Any], key: str, default: Any) -> Any:
    value = (raw.get("metadata") or {}).get(key)
    return value if isinstance(value, type(default)) else default


def _spec(ref: Ref, raw: dict[str, Any], model: type[S]) -> S:
    if raw.get("apiVersion") != API_VERSION:
        raise DecodeError(ref, "apiVersion", f"must be {API_VERSION}")
    return model.model_validate(raw.get("spec") if raw.get("spec") is not None else {})


def read_policy(raw: dict[str, Any]) -> LoadBalancerPolicy | InvalidPolicy:
    """A policy, or why it is none. Raises DecodeError only where there is no name to report it on."""
    ref = ref_of(raw)
    generation = _metadata(raw, "generation", 0)
    try:
        spec = _spec(ref, raw, LoadBalancerPolicySpec)
    except ValidationError as error:
        return InvalidPolicy(ref, generation, errors(error))
    return LoadBalancerPolicy(
        ref, generation, _metadata(raw, "creationTimestamp", ""), spec, _metadata(raw, "uid", "")
    )


def read_backend(raw: dict[str, Any]) -> Backend:
    """A Backend. Raises DecodeError with the first field at fault."""
    ref = ref_of(raw)
    try:
        return Backend(ref, _metadata(raw, "generation", 0), _spec(ref, raw, BackendSpec))
    except ValidationError as error:
        path, reason = errors(error)[0]
        raise DecodeError(ref, path, reason) from None
