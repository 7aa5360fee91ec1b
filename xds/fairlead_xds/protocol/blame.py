"""Which resources a refusal names.

Envoy applies the good clusters and listeners of a response and lists the bad ones as
``Error adding/updating cluster(s) a: why, b: why`` (listeners: one a line). Its other refusals name no resource, or
quote one's text, in which any word may precede a colon. So names are only looked for behind that opening; for all
others the stream finds out by sending halves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_OPENING: Final = "Error adding/updating "
_BEFORE: Final = ("(s) ", ", ", "\n")


def named_in(message: str, names: Iterable[str]) -> frozenset[str]:
    """Those of *names* that *message* holds at fault; empty if it names none."""
    if not message.startswith(_OPENING):
        return frozenset()
    return frozenset(name for name in names if any(f"{before}{name}: " in message for before in _BEFORE))
