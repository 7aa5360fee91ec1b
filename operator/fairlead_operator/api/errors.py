"""What is wrong with a spec, in words that a person understands. Called by ``api.objects`` only."""

from __future__ import annotations

import json
from typing import Any

from fairlead_xds.features.value import DURATION_PATTERN
from pydantic import ValidationError

#: What pydantic wanted, by the error's type without its ``_type`` or ``_from_float`` ending.
WANTED = {
    "int": "a whole number",
    "bool": "true or false",
    "string": "a string",
    "tuple": "a list",
    "model": "an object with fields",
    "dict": "an object with fields",
}


def errors(error: ValidationError) -> tuple[tuple[str, str], ...]:
    """``(field path, what is wrong)`` of each error of a spec."""
    found = error.errors(include_url=False)
    return tuple((_path(_location(e)), _message(e)) for e in found if not _follows(e, found))


def _follows(error: Any, all_of_them: list[Any]) -> bool:
    """Whether *error* is only that a list lost its bad items: pydantic then also finds it too short."""
    loc = error["loc"]
    return error["type"] == "too_short" and any(o["loc"][: len(loc)] == loc != o["loc"] for o in all_of_them)


def _location(error: Any) -> tuple[int | str, ...]:
    """Where it is: a ``Rule`` and a list with equal items name the child at fault themselves."""
    child = (error.get("ctx") or {}).get("field", "") if error["type"] in {"rule", "duplicate"} else ""
    return tuple(error["loc"]) if child == "" else (*error["loc"], child)


def _path(location: tuple[int | str, ...]) -> str:
    return "spec" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _message(error: Any) -> str:
    kind, context, given = error["type"], error.get("ctx") or {}, _shown(error["input"])
    match kind:
        case "extra_forbidden":
            return "unknown field: remove it or mend its spelling"
        case "missing":
            return "is required"
        case "literal_error":
            return f"must be {context['expected']}, not {given}"
        case "string_pattern_mismatch" if context["pattern"] == DURATION_PATTERN:
            return f"must be a duration such as 10s, 1m30s or 500ms, not {given}"
        case "string_pattern_mismatch":
            return f"{given} must match {context['pattern']}"
        case "greater_than_equal":
            return f"must be {context['ge']} or more, not {given}"
        case "less_than_equal":
            return f"must be {context['le']} or less, not {given}"
        case "string_too_short":
            return "must not be empty"
        case "string_too_long":
            return f"must have at most {context['max_length']} characters"
        case "too_short":
            return f"must have at least {_items(context['min_length'])}"
        case "too_long":
            return f"must have at most {_items(context['max_length'])}, not {context['actual_length']}"
        case _:
            wanted = WANTED.get(kind.removesuffix("_from_float").removesuffix("_type"))
            return f"must be {wanted}, not {given}" if wanted else str(error["msg"])


def _items(count: int) -> str:
    return "1 item" if count == 1 else f"{count} items"


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."
