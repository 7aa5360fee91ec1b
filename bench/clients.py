"""Fake proxies in a process of their own: ``python -m bench.clients``."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from bench import objects, process
from fairlead_xds.testing import DeltaClient, FakeEnvoy

_AT_ONCE = 20


@dataclass
class _Counting(DeltaClient):
    """Counts the messages that came, and their bytes."""

    messages: int = 0
    size: int = 0

    def receive(self, data: bytes) -> list[bytes]:
        self.messages += 1
        self.size += len(data)
        return super().receive(data)


class Clients:
    """The commands."""

    def __init__(self) -> None:
        self._envoys: list[FakeEnvoy] = []
        self._clients: list[_Counting] = []

    async def connect(self, port: int, streams: int) -> None:
        """Open streams until there are that many, each on a connection of its own."""
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(number: int) -> None:
            client = _Counting(f"edge-{number}", objects.GATEWAY, keep=False, record=False)
            envoy = FakeEnvoy(f"127.0.0.1:{port}", client)
            self._clients.append(client)
            self._envoys.append(envoy)
            async with gate:
                await envoy.connect()
                await envoy.wait_for(lambda: client.messages > 0, 60)

        await asyncio.gather(*(one(number) for number in range(len(self._envoys), streams)))

    async def received(self) -> dict[str, int]:
        """What came since this was asked last, by all streams."""
        total = {
            "messages": sum(client.messages for client in self._clients),
            "bytes": sum(client.size for client in self._clients),
        }
        for client in self._clients:
            client.messages = client.size = 0
        return total

    async def close(self) -> None:
        await asyncio.gather(*(envoy.close() for envoy in self._envoys))


async def main() -> None:
    clients = Clients()
    try:
        await process.serve({"connect": clients.connect, "received": clients.received})
    finally:
        await clients.close()


if __name__ == "__main__":
    asyncio.run(main())
