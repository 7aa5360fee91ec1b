"""The control plane in a process of its own, as the product runs it: ``python -m bench.server SERVICES PORT``.

It makes the changes itself, so that the clock that starts is the clock that stops. *PORT* is the gateway's.
"""

from __future__ import annotations

import asyncio
import sys
import time
from typing import Any

import fairlead_operator.standalone  # noqa: F401 - what the product has loaded counts as memory
from bench import objects, process
from fairlead_operator import collector
from fairlead_operator.loop import ENDPOINT_WINDOW, ControlPlane
from fairlead_operator.progress import Report
from fairlead_xds import eventloop
from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store

_PATIENCE = 30.0


class _Timed(ControlPlane):
    """Notes when the config lane ran: what comes before is hold-off."""

    config_ran = 0.0

    def run_config(self) -> None:
        self.config_ran = self._time()
        super().run_config()

    def rest(self) -> None:
        """As if nothing had changed for a while: there are more changes here than any Service makes at once."""
        self._damping.retain(set())

    def busy(self) -> bool:
        """Something is still to be computed."""
        return any(lane.due() is not None for lane in (self._endpoints, self._config, self._status))


class Server:
    """The commands."""

    def __init__(self, services: int, port: int) -> None:
        self._port = port
        self._turn = 1
        self._store = Store()
        self._reports: asyncio.Queue[Report] = asyncio.Queue()
        self._plane = _Timed(
            self._store, lambda: self._xds.proxies(), address="127.0.0.1", on_report=self._reports.put_nowait
        )
        self._xds = XdsServer(self._store, NodeClusterAuthenticator(), observer=self._plane.answers)
        self._before = process.resident()
        for raw in objects.cluster(services, port=port):
            self._plane.apply(raw)

    async def start(self) -> dict[str, Any]:
        port = await self._xds.start("127.0.0.1:0")
        self._plane.synced()
        return {"port": port}

    async def stop(self) -> None:
        await self._xds.stop(0)

    async def settled(self, streams: int) -> None:
        """Wait until that many proxies have everything, and nothing is left to compute."""
        async with asyncio.timeout(_PATIENCE):
            while not self._all_have(streams) or self._plane.busy():  # noqa: ASYNC110 - looked at from outside
                await asyncio.sleep(0.02)

    def _all_have(self, streams: int) -> bool:
        proxies = self._xds.proxies()
        return len(proxies) == streams and all(
            not proxy.stream.unsettled()
            and all(
                proxy.has(type_url, next(iter(self._store.current(proxy.key).resources(type_url))))
                for type_url in (TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE)
            )
            for proxy in proxies
        )

    async def endpoint(self, times: int) -> dict[str, list[float]]:
        """Change one endpoint of the great Service, each time when all is quiet."""
        return await self._change(lambda turn: objects.endpoint_slice(0, turn), times)

    async def policy(self, times: int) -> dict[str, list[float]]:
        """Change the policy of the great Service."""
        return await self._change(lambda turn: objects.policy(0, turn, port=self._port), times)

    async def _change(self, make: Any, times: int) -> dict[str, list[float]]:
        """Seconds from the event to the last ACK, the same without hold-off, and CPU time until then and until quiet."""
        found: dict[str, list[float]] = {"ack": [], "ack_without_hold_off": [], "cpu": [], "cpu_until_quiet": []}
        for _ in range(times):
            await asyncio.sleep(2 * ENDPOINT_WINDOW)  # so that each is at the leading edge
            self._turn += 1
            raw = make(self._turn)
            self._plane.rest()
            start = time.process_time()
            self._plane.config_ran, begun = 0.0, self._plane._time()
            self._plane.apply(raw)
            report = await asyncio.wait_for(self._reports.get(), _PATIENCE)
            assert len(report.proxies) == len(self._xds.proxies())
            found["ack"].append(report.seconds)
            found["ack_without_hold_off"].append(report.seconds - max(0.0, self._plane.config_ran - begun))
            found["cpu"].append(time.process_time() - start)
            await self.settled(len(self._xds.proxies()))
            found["cpu_until_quiet"].append(time.process_time() - start)
        return found

    async def memory(self) -> dict[str, float]:
        """MB: of the modules alone, now, and the most there was."""
        return {"modules": self._before, "now": process.resident(), "peak": process.peak()}


async def main() -> None:
    collector.tune()
    server = Server(int(sys.argv[1]), int(sys.argv[2]))
    names = ("start", "settled", "endpoint", "policy", "memory")
    try:
        await process.serve({name: getattr(server, name) for name in names})
    finally:
        await server.stop()


if __name__ == "__main__":
    eventloop.run(main())
