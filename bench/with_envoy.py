"""From an event to the ACK of a real Envoy."""

from __future__ import annotations

import socket

from bench import objects
from bench.figure import Figure
from bench.process import Child
from fairlead_operator.bootstrap import bootstrap
from fairlead_operator.envoy import Envoy


async def measure(services: int, *, quick: bool) -> list[Figure]:
    """One Envoy that has *services*, and one change after the other."""
    runs = 20 if quick else 100
    async with Child.running("server", services, _free_port()) as server:
        port = (await server.ask("start"))["port"]
        config = bootstrap(gateway=objects.GATEWAY, node="edge-1", xds_host="127.0.0.1", xds_port=port)
        envoy = await Envoy.start(config, name="edge-1")
        try:
            await server.ask("settled", streams=1)
            endpoint = await server.ask("endpoint", times=runs)
            policy = await server.ask("policy", times=max(5, runs // 4))
        finally:
            await envoy.stop()

    def figure(what: str, seconds: list[float], target: float | None = None) -> Figure:
        samples = [value * 1000 for value in seconds]
        return Figure(what=what, services=services, streams=1, unit="ms", samples=samples, target=target)

    return [
        figure("endpoint change -> ACK of Envoy", endpoint["ack"], 5.0),
        figure("policy change -> ACK of Envoy", policy["ack"]),
        figure("… without the hold-off", policy["ack_without_hold_off"]),
    ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
