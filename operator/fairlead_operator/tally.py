"""What the endpoints of policies are like, for their status, looked at anew only where endpoints have changed. Pure.

Used by ``loop``: a change of one endpoint makes every status be looked at, and counting is most of that work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import Survey, survey
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.world import World


class Tally:
    """What ``bindings.survey`` says, remembered for each policy until one of its Services changes."""

    def __init__(self) -> None:
        self._done = Reconciled()
        self._surveys: dict[Ref, Survey] = {}
        self._policies: dict[Ref, set[Ref]] = {}

    def reconciled(self, done: Reconciled) -> None:
        """The config lane has run: everything may be different."""
        self._done, self._surveys = done, {}
        self._policies = defaultdict(set)
        for ref, bindings in done.clusters.items():
            for source in {source for binding in bindings for source in binding.sources}:
                self._policies[source].add(ref)

    def changed(self, service: Ref) -> Collection[Ref]:
        """The endpoints of *service* have changed; the policies whose counts may differ."""
        policies = self._policies.get(service, set())
        for ref in policies:
            self._surveys.pop(ref, None)
        return policies

    def survey(self, world: World, ref: Ref) -> Survey:
        """The endpoints of a policy's backends."""
        known = self._surveys.get(ref)
        if known is None:
            known = self._surveys[ref] = survey(world, self._done.clusters.get(ref, ()))
        return known
