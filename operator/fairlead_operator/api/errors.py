"""What is wrong with a spec or a file, in words that a person understands. Called by ``api.objects`` and ``api.config``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fairlead_xds.features.value import DURATION_PATTERN

if TYPE_CHECKING:
    from pydantic import ValidationError

#: What to say of pydantic's errors, by their type, with the parts of their context.
WORDS = {
    "extra_forbidden": "unknown field: remove it or mend its spelling",
    "missing": "is required",
    "literal_error": "must be {expected}, not {given}",
    "string_pattern_mismatch": "{given} must match {pattern}",
    "greater_than_equal": "must be {ge} or more, not {given}",
    "less_than_equal": "must be {le} or less, not {given}",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have {max_length} or fewer characters",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have {max_length} or fewer items, not {actual_length}",
    "int_type": "must be a whole number, not {given}",
    "int_from_float": "must be a whole number, not {given}",
    "bool_type": "must be true or false, not {given}",
    "string_type": "must be a string, not {given}",
    "dict_type": "must be an object with fields, not {given}",
    "tuple_type": "must be a list, not {given}",
    "model_type": "must be an object with fields, not {given}",
}
DURATION_WORDS = "must be a duration such as 10s, 1m30s or 500ms, not {given}"


def errors(error: ValidationError, *, root: str = "spec") -> tuple[tuple[str, str], ...]:
    """``(field path, what is wrong)`` of each error of what is at *root*."""
    found = error.errors(include_url=False)
    return tuple((_path(root, _location(e)), _message(e)) for e in found if not _follows(e, found))


def _follows(error: Any, all_of_them: list[Any]) -> bool:
    """Whether *error* is only that a list lost its bad items: pydantic then also finds it too short."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(o["loc"][: len(loc)] == loc != o["loc"] for o in all_of_them)


def _location(error: Any) -> tuple[int | str, ...]:
    """Where it is: a ``Rule`` and a list with equal items name the child at fault themselves."""
    child = (error.get("ctx") or {}).get("field", "") if error["type"] in {"rule", "duplicate"} else ""
    return tuple(error["loc"]) if child == "" else (*error["loc"], child)


def _path(root: str, location: tuple[int | str, ...]) -> str:
    path = root + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".")


def _message(error: Any) -> str:
    context = error.get("ctx") or {}
    words = DURATION_WORDS if context.get("pattern") == DURATION_PATTERN else WORDS.get(error["type"])
    return words.format(**context, given=_shown(error["input"])) if words else str(error["msg"])


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
