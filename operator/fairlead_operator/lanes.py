"""When a lane runs: pure bookkeeping of deadlines, in seconds of whatever clock the caller has (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class HoldOff:
    """Waits for quiet, but not for ever: due *quiet* after the last mark, *longest* after the first at the latest."""

    quiet: float
    longest: float
    _first: float | None = None
    _last: float = 0.0

    def mark(self, now: float) -> None:
        self._last = now
        if self._first is None:
            self._first = now

    def due(self) -> float | None:
        """When to run; None: nothing waits."""
        return None if self._first is None else min(self._last + self.quiet, self._first + self.longest)

    def ran(self) -> None:
        self._first = None


@dataclass(slots=True)
class LeadingEdge:
    """Runs at once, then collects: due at the mark, or *window* after the run before it."""

    window: float
    _ready_at: float = float("-inf")
    _marked: float | None = None

    def mark(self, now: float) -> None:
        if self._marked is None:
            self._marked = now

    def due(self) -> float | None:
        """When to run; None: nothing waits."""
        return None if self._marked is None else max(self._marked, self._ready_at)

    def ran(self, now: float) -> None:
        self._marked = None
        self._ready_at = now + self.window
