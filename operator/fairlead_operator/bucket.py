"""A token bucket: so much at once, then one now and then. Pure: whoever uses it has the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What floating point leaves of a wait that is over.
EPSILON: Final = 1e-6


@dataclass(slots=True)
class Bucket:
    """Full at first.

    Attributes:
        burst: how many it holds.
        every: seconds until there is room for one more.
    """

    burst: float
    every: float
    _taken: float = 0.0
    _at: float = 0.0

    def take(self, now: float) -> bool:
        """Take one, if there is one. *now* does not go back."""
        if self.wait(now) > 0:
            return False
        self._taken += 1
        return True

    def wait(self, now: float) -> float:
        """Seconds until there is one."""
        self._taken = max(0.0, self._taken - max(0.0, now - self._at) / self.every)
        self._at = now
        left = (self._taken + 1 - self.burst) * self.every
        return left if left > EPSILON else 0.0
