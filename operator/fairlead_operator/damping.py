"""How often a Service reaches proxies, whatever its endpoints, pods and nodes do. Pure; whoever uses it has the clock.

Endpoints that flap are kept out (``health``) while another one is ready. Where none is, or where something else changes again
and again, each change would be another load assignment for every proxy. So a Service may change ``BURST`` times at once, as
for a rollout of some fifty pods (each pod that replaces another is three or four changes), and then once in ``EVERY``
seconds, each time to its latest state. Whatever takes requests from an endpoint does not wait for that: those that nobody
should ask any more reach proxies within ``URGENT``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from fairlead_operator.api.meta import Ref
from fairlead_operator.bucket import EPSILON, Bucket
from fairlead_operator.health import FIT
from fairlead_xds.model import LoadAssignment

#: Changes at once, and seconds until there may be one more.
BURST: Final = 200
EVERY: Final = 2.0
#: Seconds between two changes that take something from somebody, where all others wait.
URGENT: Final = 0.25


class Held(NamedTuple):
    """A Service that waits until then. *since*: when something urgent began to wait; ``None``: nothing did."""

    until: float
    since: float | None


class Damping:
    """One for a control plane. Times are seconds of whatever clock the caller has."""

    def __init__(self) -> None:
        self._buckets: dict[Ref, Bucket] = {}
        self._last: dict[Ref, float] = {}
        self._held: dict[Ref, Held] = {}

    def free(self, service: Ref, now: float) -> bool:
        """*service* may change at once, whatever it is."""
        bucket = self._buckets.get(service)
        return bucket is None or bucket.wait(now) == 0

    def hold(self, service: Ref, now: float, *, urgent: bool) -> bool:
        """Whether *service* has to wait; ``take`` gives it back."""
        bucket = self._buckets.get(service)
        until = now + bucket.wait(now) if bucket is not None else now
        if urgent:
            until = min(until, self._last[service] + URGENT)
        if until <= now + EPSILON:
            return False
        before = self._held.get(service)
        since = now if urgent else None
        if before is not None:
            until, since = min(until, before.until), before.since if before.since is not None else since
        self._held[service] = Held(until, since)
        return True

    def passed(self, service: Ref, now: float) -> None:
        """*service* has changed for proxies."""
        self._buckets.setdefault(service, Bucket(BURST, EVERY)).take(now)
        self._last[service] = now
        self._held.pop(service, None)

    def take(self, now: float) -> dict[Ref, Held]:
        """Those that have waited long enough."""
        due = {service: held for service, held in self._held.items() if held.until <= now}
        for service in due:
            del self._held[service]
        return due

    def due(self) -> float | None:
        """When ``take`` has something; ``None``: nobody waits."""
        return min((held.until for held in self._held.values()), default=None)

    def retain(self, services: set[Ref]) -> None:
        """All others are no more."""
        for service in self._buckets.keys() - services:
            del self._buckets[service], self._last[service]
            self._held.pop(service, None)


def urgent(before: LoadAssignment | None, after: LoadAssignment) -> bool:
    """An endpoint that proxies may ask is not to be asked any more."""
    if before is None:
        return False
    fit = {one[:2] for one in after.endpoints if one.health in FIT}
    return any(one.health in FIT and one[:2] not in fit for one in before.endpoints)
