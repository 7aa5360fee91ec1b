"""How often a Service reaches proxies when all that are ready of it flap, so that nothing keeps its flips from them. Pure.

Endpoints that flap are kept out (``health``) while another one is ready. Where none is they are taken as they come: one that
flips every second would be two changes a second for every proxy, a hundred of them as many as the endpoint lane can make,
and each time that the last one goes the routes are computed too. So such a Service waits after each change, twice as long as
before, at most ``LONGEST``; then its latest state counts. All that wait come together: what follows is computed once.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from fairlead_operator.api.meta import Ref

#: Seconds of the first wait and of the longest.
SHORTEST: Final = 0.125
LONGEST: Final = 2.0
#: Where a wait may end is no round time: an endpoint that flips by the clock would always be met in the same state.
_UNEVEN: Final = (math.sqrt(5) - 1) / 2
#: A Service that did not change for so many of its waits begins anew.
_RESTS: Final = 4


class _Wait(NamedTuple):
    seconds: float
    until: float


class Damping:
    """One for a control plane. Times are seconds of whatever clock the caller has."""

    def __init__(self) -> None:
        self._waits: dict[Ref, _Wait] = {}
        self._held: dict[Ref, None] = {}

    def holds(self, service: Ref, now: float) -> bool:
        """Whether *service* has to wait; ``take`` gives it back."""
        wait = self._waits.get(service)
        if wait is None or now >= wait.until:
            return False
        self._held[service] = None
        return True

    def passed(self, service: Ref, now: float, *, flaps: bool) -> None:
        """*service* was published; *flaps*: nothing keeps its flips from proxies."""
        before = self._waits.pop(service, None)
        self._held.pop(service, None)
        if not flaps:
            return
        rested = before is None or now > before.until + _RESTS * before.seconds
        seconds = SHORTEST if before is None or rested else min(LONGEST, 2 * before.seconds)
        self._waits[service] = _Wait(seconds, _end(now, seconds))

    def take(self, now: float) -> list[Ref]:
        """Those that have waited long enough."""
        due = [service for service in self._held if self._until(service) <= now]
        for service in due:
            del self._held[service]
        return due

    def due(self) -> float | None:
        """When ``take`` has something; ``None``: nobody waits."""
        return min(map(self._until, self._held), default=None)

    def retain(self, services: set[Ref]) -> None:
        """All others are no more."""
        self._waits = {service: wait for service, wait in self._waits.items() if service in services}
        self._held = {service: None for service in self._held if service in services}

    def _until(self, service: Ref) -> float:
        return self._waits[service].until


def _end(now: float, seconds: float) -> float:
    """The next moment at which waits of so many *seconds* end, the same for all."""
    first = math.floor(now / seconds)
    ends = ((number + 0.5 * (number * _UNEVEN % 1)) * seconds for number in range(first, first + 3))
    return next(end for end in ends if end > now)
