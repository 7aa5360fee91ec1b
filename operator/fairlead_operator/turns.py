"""Services with an endpoint that is held back for a time: when each has to be judged again, though nothing is heard of it.

``loop`` asks for those whose time has come; a wall clock tells it, because that is what the API server's times are of.
"""

from __future__ import annotations

from collections.abc import Callable

from fairlead_operator import bindings
from fairlead_operator.api.meta import Ref
from fairlead_operator.health import NEVER
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.world import World

#: Seconds after which the wall clock is looked at again: somebody may have set it.
_LONGEST = 60.0
_SHORTEST = 0.01


def until(at: float, now: float) -> float:
    """Seconds to wait for a moment of the wall clock, or to look at that again."""
    return min(_LONGEST, max(_SHORTEST, at - now))


class Turns:
    """One for a control plane. Times are seconds since the epoch, as *now* tells them."""

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        self._world, self._now = world, now
        self._at: dict[Ref, float] = {}

    def reconciled(self, done: Reconciled) -> None:
        """The config lane has run: everything may be different."""
        self._at.clear()
        for service in done.bindings:
            self.note(service, done)

    def note(self, service: Ref, done: Reconciled) -> None:
        """The endpoints of *service* were judged."""
        found = done.bindings.get(service, {}).values()
        try:
            turn = min((bindings.turns(self._world, binding) for binding, _ in found), default=NEVER)
        except Exception:  # noqa: BLE001 - a mistake of ours, told where the load assignment fails: see faults
            turn = NEVER
        if turn < NEVER:
            self._at[service] = turn
        else:
            self._at.pop(service, None)

    def take(self) -> list[Ref]:
        """Those whose time has come; they are not told of again."""
        if not self._at:
            return []
        now = self._now()
        due = [service for service, turn in self._at.items() if turn <= now]
        for service in due:
            del self._at[service]
        return due

    def wait(self) -> float | None:
        """Seconds until ``take`` may have something; ``None``: nobody is held back."""
        if not self._at:
            return None
        return until(min(self._at.values()), self._now())
