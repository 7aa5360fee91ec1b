"""Asks the proxies of a policy how they see its endpoints, whenever somebody wants to know."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Any, Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import rows
from fairlead_operator.endpoints import view
from fairlead_operator.endpoints.admin import Page
from fairlead_operator.endpoints.pages import Pages
from fairlead_operator.endpoints.targets import Target, Targets
from fairlead_operator.loop import ControlPlane

#: How many proxies are asked: more say the same.
ASKED: Final = 50
#: Seconds: a proxy that has not answered by then is told to be silent.
WHOLE: Final = 10.0


class Scout:
    """One for a process."""

    def __init__(self, plane: ControlPlane, targets: Targets) -> None:
        self._plane, self._targets = plane, targets
        self._pages = Pages()

    async def survey(self, ref: Ref) -> dict[str, Any]:
        """The endpoints of the policy *ref* as Kubernetes and its proxies see them. Raises KeyError: there is no such policy."""
        plane = self._plane
        if ref not in plane.world.policies:
            raise KeyError(ref)
        targets = sorted(self._targets(plane.reconciled.gateways.get(ref, set())))[:ASKED]
        done = plane.reconciled
        found = rows(plane.world, done.clusters.get(ref, ()), done.named.get(ref, ()))
        pick = functools.partial(view.part, view.places(found))
        until = asyncio.get_running_loop().time() + WHOLE
        seen = await asyncio.gather(*(self._ask(one, pick, until) for one in targets))
        told = {one.name: answer for one, answer in zip(targets, seen, strict=True)}
        return view.answer(f"{ref.namespace}/{ref.name}", found, told, slowest=plane.slowest)

    async def _ask(self, one: Target, pick: Callable[[Page], Page], until: float) -> Page | None:
        try:
            async with asyncio.timeout_at(until):
                return await self._pages.clusters(one, pick)
        except TimeoutError:
            return None
