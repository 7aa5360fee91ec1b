"""The base of every feature value, and the scalar types that features share.

A value is frozen and hashable, refuses unknown fields, and is written in camelCase in manifests. ``Rule`` holds a
cross-field rule once for both judges: as CEL for the API server and as Python for manifests that never meet one.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True)
class Rule:
    """A rule over several fields.

    Attributes:
        cel: the rule for ``x-kubernetes-validations``.
        message: what a person reads when it is broken; the same from both judges.
        holds: the same rule over the parsed value.
        field: the field that the message is about, relative to the value; empty for the value itself.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    field: str = ""


class Value(BaseModel):
    """A frozen value of the API. Unknown fields are errors; names are camelCase outside, snake_case inside."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, strict=False, use_enum_values=True
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.rules:
            if not rule.holds(self):
                raise PydanticCustomError("rule", "{message}", {"message": rule.message, "field": rule.field})
        return self


def union(type_field: str, member: str, value: str) -> tuple[Rule, Rule]:
    """The two rules of a union: *member* is set if, and only if, *type_field* is *value*."""
    name = to_camel(member)
    return (
        Rule(
            f"self.{type_field} != '{value}' || has(self.{name})",
            f"{name} must be set when {type_field} is {value}",
            lambda v: getattr(v, type_field) != value or getattr(v, member) is not None,
            name,
        ),
        Rule(
            f"self.{type_field} == '{value}' || !has(self.{name})",
            f"{name} may only be set when {type_field} is {value}",
            lambda v: getattr(v, type_field) == value or getattr(v, member) is None,
            name,
        ),
    )


@dataclass(frozen=True)
class AllDiffer:
    """Metadata of a list whose items differ: ``Annotated[tuple[Listener, ...], Field(max_length=32), NAMED]``.

    Attributes:
        key: the field by which they differ, and by which the API server merges them on apply; empty for scalars.
    """

    key: str = ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._differ, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        of_map = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}
        return {**handler(schema), **(of_map if self.key else {"x-kubernetes-list-type": "set"})}

    def _differ(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        seen = set()
        for index, item in enumerate(items):
            value = getattr(item, self.key) if self.key else item
            if value in seen:
                # `field` is where: see Rule.
                context = {"what": f"{self.key} '{value}'".strip(), "field": index}
                raise PydanticCustomError("duplicate", "{what} is there twice", context)
            seen.add(value)
        return items


NAMED = AllDiffer("name")
DISTINCT = AllDiffer()

_UNIT_MS = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
# Gateway API's duration (GEP-2257): one to four numbers of at most five digits, each with a unit.
DURATION_PATTERN = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"


def milliseconds(duration: str) -> int:
    """``"1m30s"`` -> 90000."""
    return sum(int(n) * _UNIT_MS[unit] for n, unit in re.findall(r"([0-9]+)(ms|h|m|s)", duration))


def timedelta(duration: str) -> dt.timedelta:
    """``"1m30s"`` as Envoy's binding wants a ``google.protobuf.Duration``."""
    return dt.timedelta(milliseconds=milliseconds(duration))


def _positive(duration: str) -> str:
    if milliseconds(duration) == 0:
        raise PydanticCustomError("duration", "must be longer than 0")
    return duration


#: A duration as a string: ``10s``, ``1m30s``, ``500ms``; ``0s`` is allowed.
Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=24, examples=["10s", "1m30s", "500ms"])]
#: A duration longer than nothing.
PositiveDuration = Annotated[
    str,
    Field(
        pattern=DURATION_PATTERN,
        max_length=24,
        examples=["10s"],
        json_schema_extra={
            # Not duration(self): that fails, with a message of its own, where the pattern already has.
            "x-kubernetes-validations": [{"rule": "self.matches('[1-9]')", "message": "must be longer than 0"}]
        },
    ),
    AfterValidator(_positive),
]
#: A name within an object: what a DNS label may be (RFC 1123).
Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=63)]
#: An RFC 7230 token: header and cookie names.
Token = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$", min_length=1, max_length=256)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
