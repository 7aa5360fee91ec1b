"""The endpoint counts of policies for their status, counted anew only where endpoints have changed. Pure.

Used by ``loop``: a change of one endpoint makes every status be looked at, and counting is most of that work.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import count
from fairlead_operator.reconcile import Reconciled
from fairlead_operator.world import World
from fairlead_xds.features.endpoints import Health


class Tally:
    """What ``bindings.count`` says, remembered for each policy until one of its Services changes."""

    def __init__(self) -> None:
        self._done = Reconciled()
        self._counts: dict[Ref, Counter[Health]] = {}
        self._policies: dict[Ref, set[Ref]] = {}

    def reconciled(self, done: Reconciled) -> None:
        """The config lane has run: everything may be different."""
        self._done, self._counts = done, {}
        self._policies = defaultdict(set)
        for ref, bindings in done.clusters.items():
            for source in {source for binding in bindings for source in binding.sources}:
                self._policies[source].add(ref)

    def changed(self, service: Ref) -> Collection[Ref]:
        """The endpoints of *service* have changed; the policies whose counts may differ."""
        policies = self._policies.get(service, set())
        for ref in policies:
            self._counts.pop(ref, None)
        return policies

    def count(self, world: World, ref: Ref) -> Counter[Health]:
        """The endpoints of a policy's backends by health."""
        known = self._counts.get(ref)
        if known is None:
            known = self._counts[ref] = count(world, self._done.clusters.get(ref, ()))
        return known
