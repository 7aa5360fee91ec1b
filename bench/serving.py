"""Serving many proxies: CPU per push, bytes per change, the last ACK, memory. The proxies are fake, the network is real."""

from __future__ import annotations

from typing import Any

from bench.figure import Figure
from bench.process import Child

STREAMS = (1, 100, 500)


async def measure(services: int, *, quick: bool) -> list[Figure]:
    """With *services*, and ever more streams."""
    figures = []
    async with Child.running("server", services, 8080) as server, Child.running("clients") as clients:
        port = (await server.ask("start"))["port"]
        await server.ask("settled", streams=0)
        memory = await server.ask("memory")
        figures += [
            Figure(what="resident memory, modules only", services=0, unit="MB", samples=[memory["modules"]]),
            Figure(what="resident memory", services=services, unit="MB", samples=[memory["now"]]),
        ]
        for streams in STREAMS:
            await clients.ask("connect", port=port, streams=streams)
            await server.ask("settled", streams=streams)
            connected = (await server.ask("memory"))["now"]
            figures.append(
                Figure(
                    what="resident memory, all connected",
                    services=services,
                    streams=streams,
                    unit="MB",
                    samples=[connected],
                )
            )
            figures += await _with(server, clients, services, streams, quick=quick)
    return figures


async def alone(services: int, *, quick: bool) -> list[Figure]:
    """gRPC without us; whatever *services* there are, so once."""
    figures: list[Figure] = []
    if services != 10:
        return figures
    async with Child.running("bare") as server, Child.running("clients") as clients:
        port = (await server.ask("start"))["port"]
        for streams in STREAMS[1:]:
            await clients.ask("connect", port=port, streams=streams)
            await server.ask("push", times=2)
            spent = await server.ask("push", times=12 if quick else 60)
            samples = [cpu / streams * 1e6 for cpu in spent["cpu"]]
            what = "a push and its answer, gRPC alone"
            figures.append(Figure(what=what, services=0, streams=streams, unit="µs CPU", samples=samples))
    return figures


async def _with(server: Child, clients: Child, services: int, streams: int, *, quick: bool) -> list[Figure]:
    runs = {1: 50, 100: 60, 500: 30}[streams] // (5 if quick else 1)

    def figure(what: str, unit: str, samples: Any, target: float | None = None) -> Figure:
        return Figure(what=what, services=services, streams=streams, unit=unit, samples=samples, target=target)

    await clients.ask("received")
    endpoint = await server.ask("endpoint", times=runs)
    received = await clients.ask("received")
    policy = await server.ask("policy", times=max(2, runs // 5))
    policies = await clients.ask("received")
    pushes = [cpu / streams * 1e6 for cpu in endpoint["cpu"]]
    quiet = [cpu / streams * 1e6 for cpu in endpoint["cpu_until_quiet"]]
    figures = [
        figure("CPU per push of an endpoint change", "µs CPU", pushes, 250.0 if streams > 1 else None),
        figure("… with status and all that follows", "µs CPU", quiet),
        figure("endpoint change -> last ACK", "ms", _ms(endpoint["ack"]), 250.0 if streams == 500 else None),
        figure("policy change -> last ACK", "ms", _ms(policy["ack"])),
    ]
    if streams == 1:
        figures += [
            figure("bytes per endpoint change and stream", "bytes", [received["bytes"] / runs]),
            figure("messages per endpoint change and stream", "messages", [received["messages"] / runs]),
            figure("bytes per policy change and stream", "bytes", [policies["bytes"] / max(2, runs // 5)]),
        ]
    if streams == STREAMS[-1] or streams == 1:
        memory = await server.ask("memory")
        target = 150.0 if (services, streams) == (1000, 500) else None
        figures.append(figure("resident memory after the changes", "MB", [memory["now"]], target))
        figures.append(figure("… at most", "MB", [memory["peak"]]))
    return figures


def _ms(seconds: list[float]) -> list[float]:
    return [value * 1000 for value in seconds]
