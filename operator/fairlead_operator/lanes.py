"""When a lane runs: pure bookkeeping of deadlines, in seconds of whatever clock the caller has (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

STREAK: Final = 16
SHARE: Final = 0.25
#: Seconds: whatever waits (a certificate, a side of a split that died) waits no longer than that.
REST: Final = 3.0


@dataclass(slots=True)
class HoldOff:
    """Waits for quiet, but not for ever: due *quiet* after the last mark, *longest* after the first at the latest.

    With *eager*, whoever comes after a rest (no run ended within *longest* before) waits that long only: a single change is
    not held up for others that do not come, and a burst costs one run more. Unless all marks say that nobody is in a hurry.

    Runs that follow each other without a rest, ``STREAK`` of them, take ``SHARE`` of the time at most from then on: something
    that changes for ever, and makes each run long, must not take it all.
    """

    quiet: float
    longest: float
    eager: float | None = None
    _first: float | None = None
    _last: float = 0.0
    _hurry: bool = False
    _began: float = float("-inf")
    _ended: float = float("-inf")
    _streak: int = 0

    def mark(self, now: float, *, hurry: bool = True) -> None:
        self._last = now
        self._hurry |= hurry
        if self._first is None:
            self._first = now

    def due(self) -> float | None:
        """When to run; None: nothing waits."""
        if self._first is None:
            return None
        if self.eager is not None and self._hurry and self._first - self._ended >= self.longest:
            return max(self._first + self.eager, self.rested_at)
        return max(min(self._last + self.quiet, self._first + self.longest), self.rested_at)

    @property
    def rested_at(self) -> float:
        """Before that there should be no run."""
        if self._streak < STREAK:
            return float("-inf")
        return self._ended + min(REST, (self._ended - self._began) * (1 / SHARE - 1))

    def ran(self, now: float) -> None:
        """What was marked is in the run that begins."""
        rest, last = now - self._ended, self._ended - self._began
        self._streak = self._streak + 1 if rest < last / SHARE else 0
        self._first, self._hurry, self._began = None, False, now

    def ended(self, now: float) -> None:
        """The run is over."""
        self._ended = now


@dataclass(slots=True)
class LeadingEdge:
    """Runs at once, then collects: due at the mark, or *window* after the end of the run before it."""

    window: float
    _ready_at: float = float("-inf")
    _marked: float | None = None

    def mark(self, now: float) -> None:
        if self._marked is None:
            self._marked = now

    def due(self) -> float | None:
        """When to run; None: nothing waits."""
        return None if self._marked is None else max(self._marked, self._ready_at)

    def ran(self) -> None:
        """What was marked is in the run that begins."""
        self._marked = None

    def ended(self, now: float) -> None:
        """The run is over."""
        self._ready_at = now + self.window
