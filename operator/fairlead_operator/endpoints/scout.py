"""Asks proxies how they see their endpoints: over the socket of an Envoy beside this process, or at port 19001 of a pod."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

import aiohttp

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import rows
from fairlead_operator.endpoints import admin, view
from fairlead_operator.loop import ControlPlane
from fairlead_xds.observer import Proxy

#: Seconds that an answer may take, and how many proxies are asked: more say the same.
PATIENCE: Final = 3.0
ASKED: Final = 50
_AT_ONCE: Final = 10


class Asker(Protocol):
    """How one proxy is asked."""

    def __call__(self, proxy: Proxy) -> tuple[aiohttp.BaseConnector | None, str] | None:
        """A connector (``None``: plain TCP) and the URL without its path; ``None``: it cannot be asked."""


class Scout:
    """One for a process."""

    def __init__(self, plane: ControlPlane, proxies: Callable[[], Iterable[Proxy]], where: Asker) -> None:
        self._plane, self._proxies, self._where = plane, proxies, where

    async def survey(self, ref: Ref) -> dict[str, Any]:
        """The endpoints of the policy *ref* as Kubernetes and its proxies see them. Raises KeyError: there is no such policy."""
        plane = self._plane
        if ref not in plane.world.policies:
            raise KeyError(ref)
        keys = plane.reconciled.gateways.get(ref, set())
        proxies = sorted((one for one in self._proxies() if one.key in keys), key=lambda one: one.node.id)[:ASKED]
        slots = asyncio.Semaphore(_AT_ONCE)
        seen = await asyncio.gather(*(self._ask(one, slots) for one in proxies))
        found = rows(plane.world, plane.reconciled.clusters.get(ref, ()))
        told: Mapping[str, Mapping[str, Sequence[admin.Seen]] | None] = {
            one.node.id: answer for one, answer in zip(proxies, seen, strict=True)
        }
        return view.answer(f"{ref.namespace}/{ref.name}", found, told)

    async def _ask(self, proxy: Proxy, slots: asyncio.Semaphore) -> dict[str, list[admin.Seen]] | None:
        where = self._where(proxy)
        if where is None:
            return None
        connector, url = where
        try:
            async with (
                slots,
                asyncio.timeout(PATIENCE),
                aiohttp.ClientSession(connector=connector) as session,
                session.get(url + admin.PATH) as response,
            ):
                return admin.read(json.loads(await response.read())) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None
