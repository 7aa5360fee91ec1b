"""An Envoy for each gateway that the manifests name, also for those that they name later, and none for others.

``standalone`` looks every half second. A gateway may be gone for a moment only, while a file is being written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from fairlead_operator.envoy import Envoy

#: Looks in a row that must not find a gateway before its Envoy ends.
PATIENCE = 6


class Envoys:
    """The Envoys of one run, by gateway."""

    def __init__(self, start: Callable[[str], Awaitable[Envoy]]) -> None:
        self._start = start
        self._now: dict[str, Envoy] = {}
        self._absent: dict[str, int] = {}
        self._turn = asyncio.Lock()
        self._ended = False

    @property
    def now(self) -> list[Envoy]:
        """Those that run, in the order of their start."""
        return list(self._now.values())

    def wanted(self, envoy: Envoy) -> bool:
        """It should be running: its end would be a fault."""
        return self._now.get(envoy.name) is envoy

    async def follow(self, gateways: Iterable[str]) -> tuple[list[Envoy], list[Envoy]]:
        """Look: these are the *gateways* now. What was started for that, and what has ended. Raises EnvoyError."""
        async with self._turn:
            if self._ended:
                return [], []
            wanted = set(gateways)
            self._absent = {name: self._absent.get(name, 0) + 1 for name in self._now.keys() - wanted}
            idle = [self._now.pop(name) for name, looks in sorted(self._absent.items()) if looks >= PATIENCE]
            for envoy in idle:
                del self._absent[envoy.name]
            await asyncio.gather(*(envoy.stop() for envoy in idle))
            started = []
            for name in sorted(wanted - self._now.keys()):
                self._now[name] = await self._start(name)
                started.append(self._now[name])
            return started, idle

    async def end(self) -> None:
        """End all, also one that is being started now."""
        async with self._turn:
            self._ended = True
            ending, self._now = self.now, {}
            await asyncio.gather(*(envoy.stop() for envoy in ending))
