"""What went wrong on one policy's way through the pure core, which should never raise. Pure.

A mistake of ours that one policy's values bring to light must cost that policy alone: it is caught there, the others go on, and
whoever has a log (``loop``) tells it.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fairlead_operator.api.meta import Ref
from fairlead_operator.conditions import Problem

#: The reason of a condition that tells of one.
REASON: Final = "InternalError"


class Fault(NamedTuple):
    """An exception, and the policy whose it is."""

    policy: Ref
    error: Exception

    def problem(self, instead: str) -> Problem:
        """In words; *instead*: what the proxies have meanwhile."""
        kind = type(self.error).__name__
        return Problem(
            REASON, "", f"a mistake in Fairlead ({kind}), whose log has more of it: please report it; {instead}"
        )
