"""Asks proxies again and again which endpoints they keep out by themselves, for the status of policies.

The leader alone does: every proxy of a policy with health checks, a bounded number at a time. Each is asked for a few
counters; only one that keeps an endpoint out is asked for its whole page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import LISTED, Placed, rows
from fairlead_operator.endpoints.admin import Page
from fairlead_operator.endpoints.pages import Pages
from fairlead_operator.endpoints.targets import Target, Targets
from fairlead_operator.health import FIT
from fairlead_operator.loop import ControlPlane
from fairlead_operator.status import Ejected

#: Seconds between two rounds, and how many proxies are asked in one: others have their turn in the next.
EVERY: Final = 10.0
ASKED: Final = 50

#: How often in a row a proxy is asked in vain until what it said last counts no more: one that has no time to answer has not
#: taken an endpoint back. One that is gone counts no more at once.
SILENCES: Final = 3
#: Endpoints that one proxy may keep out; of more it is not believed. A status lists few, and whoever owns a pod may answer
#: in its sidecar's place: what it says is kept until the next time.
MOST: Final = 3000
LONGEST_NAME: Final = 512

Kept = Mapping[tuple[str, str], tuple[bool, bool]]
"""Cluster, address with port -> active checks have failed, passive checks have ejected. Of one proxy."""


class Ejections:
    """One for a process."""

    def __init__(self, plane: ControlPlane, targets: Targets) -> None:
        self._plane, self._targets = plane, targets
        self._pages = Pages()
        self._answers: dict[Target, Kept] = {}
        self._silent: dict[Target, int] = {}
        self._awaited: set[Target] | None = None
        self._turn = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._plane.served()
        try:
            while True:
                await self.round()
                await asyncio.sleep(EVERY)
        finally:
            self._answers.clear()
            self._silent.clear()
            self._awaited = None
            self._plane.ejected(None)  # the next leader finds out for itself

    async def round(self) -> None:
        """Ask once."""
        targets = sorted(self._targets(self._keys()))
        there = set(targets)  # with their addresses: another pod may have the name of one that is gone
        self._answers = {one: kept for one, kept in self._answers.items() if one in there}
        self._silent = {one: count for one, count in self._silent.items() if one in there}
        awaited = there if self._awaited is None else self._awaited & there
        asked = self._whose_turn(targets)
        for one, kept in zip(asked, await asyncio.gather(*(_ask(self._pages, one) for one in asked)), strict=True):
            self._heard(one, kept)
        # Until each of the first round's was heard, what the leader before this one found out stands.
        self._awaited = {one for one in awaited if one.url and self._unheard(one)}
        if not self._awaited:
            self._plane.ejected(self.found())

    def _heard(self, one: Target, kept: Kept | None) -> None:
        if kept is not None:
            self._answers[one] = kept
            self._silent.pop(one, None)
            return
        self._silent[one] = self._silent.get(one, 0) + 1
        if self._silent[one] >= SILENCES:
            self._answers.pop(one, None)

    def _unheard(self, one: Target) -> bool:
        return one not in self._answers and self._silent.get(one, 0) < SILENCES

    def _keys(self) -> set[str]:
        """Of the proxies that check anything."""
        proxies = self._plane.reconciled.proxies.items()
        return {key for key, config in proxies if any(one.health_check is not None for one in config.backends)}

    def _whose_turn(self, targets: Sequence[Target]) -> list[Target]:
        if len(targets) <= ASKED:
            return list(targets)
        first, self._turn = self._turn % len(targets), self._turn + ASKED
        return [*targets[first:], *targets[:first]][:ASKED]

    def found(self) -> dict[Ref, tuple[Ejected, ...]]:
        """For each policy the endpoints that some of its proxies keep out though Kubernetes calls them fit."""
        done, world = self._plane.reconciled, self._plane.world
        if not any(self._answers.values()):
            return {}
        out: dict[Ref, tuple[Ejected, ...]] = {}
        for ref, keys in done.gateways.items():
            answers = [kept for one, kept in self._answers.items() if one.key in keys]
            kept = {one for answer in answers for one in answer}
            clusters = done.clusters.get(ref, ())
            if {cluster for cluster, _ in kept}.isdisjoint(one.cluster for one in clusters):
                continue
            fit = [one for one in rows(world, clusters) if one.row.health in FIT]
            if told := [_ejected(one, answers) for one in fit if not kept.isdisjoint(_places(one))]:
                out[ref] = tuple(told[:LISTED])
        return out


async def _ask(pages: Pages, target: Target) -> Kept | None:
    unfit = await pages.unfit(target)
    if not unfit:
        return {} if unfit is not None else None
    return await pages.clusters(target, _kept)


def _kept(page: Page) -> Kept:
    found = (
        ((cluster, address), (seen.failed_check, seen.ejected))
        for cluster, addresses in page.items()
        if len(cluster) <= LONGEST_NAME
        for address, seen in addresses.items()
        if seen.failed_check or seen.ejected
    )
    return dict(islice(found, MOST))


def _places(one: Placed) -> list[tuple[str, str]]:
    """Where a proxy's answer may have it."""
    return [(cluster, one.row.address) for cluster in one.clusters]


def _ejected(one: Placed, answers: Sequence[Kept]) -> Ejected:
    row, places = one.row, _places(one)
    kept = [[answer[place] for place in places if place in answer] for answer in answers]
    failed, ejected = (sum(any(flags[which] for flags in some) for some in kept) for which in (0, 1))
    return Ejected(row.backend, row.address, row.pod, row.node, ejected, failed, len(answers))
