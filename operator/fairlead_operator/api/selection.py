"""Which pods a policy selects: ``spec.proxies.sidecars``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from fairlead_xds.features.value import Value

#: Keys and values of labels: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
_WORD: Final = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY: Final = rf"([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?{_WORD}"
_LONGEST_KEY: Final = 317
_IN_CEL: Final = _KEY.replace("\\", "\\\\")
KEYS: Final = "keys must be label keys, such as app or example.com/tier"


class Labels(dict[str, str]):
    """Labels that are a value: compared and hashed by content, never changed."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


def _labels(value: dict[str, str]) -> Labels:
    if not all(re.fullmatch(_KEY, key) and len(key) <= _LONGEST_KEY for key in value):
        raise PydanticCustomError("rule", "{message}", {"message": KEYS, "field": ""})
    return Labels(value)


LabelValue = Annotated[str, Field(pattern=f"^({_WORD})?$", max_length=63)]
MatchLabels = Annotated[
    dict[str, LabelValue],
    Field(
        min_length=1,
        max_length=16,
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": f"self.all(key, size(key) <= {_LONGEST_KEY} && key.matches('^{_IN_CEL}$'))", "message": KEYS}
            ]
        },
    ),
    AfterValidator(_labels),
]


class Sidecars(Value):
    """The sidecars of pods in the policy's namespace."""

    match_labels: MatchLabels = Field(description="Labels that a pod must have, all of them.")

    def select(self, labels: Mapping[str, str]) -> bool:
        """Whether a pod with *labels* is one of them."""
        return all(labels.get(key) == value for key, value in self.match_labels.items())
