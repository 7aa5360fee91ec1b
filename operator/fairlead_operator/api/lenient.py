"""Looks into JSON that may be anything: what is not as expected counts as not there. Pure.

For what is only looked at (statuses, templates, pages of Envoy); what a user has to be told of is read strictly (``core``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


def child(raw: Any, name: str) -> Json:
    """The object *name* of *raw*; an empty one where there is none."""
    value = raw.get(name) if isinstance(raw, dict) else None
    return value if isinstance(value, dict) else {}


def children(raw: Any, name: str) -> Iterator[Json]:
    """The objects in the list *name* of *raw*."""
    value = raw.get(name) if isinstance(raw, dict) else None
    return (one for one in value if isinstance(one, dict)) if isinstance(value, list) else iter(())


def text(raw: Json, name: str) -> str:
    """The text *name* of *raw*; empty where there is none."""
    value = raw.get(name)
    return value if isinstance(value, str) else ""
