"""Pods that end: what is open stays open until they close it, what is new goes elsewhere, and nothing is left of them."""

from __future__ import annotations

import asyncio
import pathlib
import socket
import struct
from collections.abc import AsyncIterator

import pytest

from tests.support.backends import Backend
from tests.support.http_client import Client, spread
from tests.support.manifests import listener, site
from tests.support.traffic import DRAINING, READY, World

pytestmark = pytest.mark.timeout(60)

UPGRADE = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}


class Chat:
    """A client with a WebSocket (what is upgraded is an echo: Envoy passes bytes)."""

    def __init__(self, client: Client, pod: str) -> None:
        self._client, self.pod = client, pod

    @classmethod
    async def begun(cls, client: Client) -> Chat:
        answer = await client.get("/chat", UPGRADE)
        assert answer.status == 101
        return cls(client, answer.backend)

    async def says(self, text: bytes) -> bool:
        """Whether an echo comes back."""
        reader, writer = self._client.streams
        writer.write(text)
        return await reader.readexactly(len(text)) == text

    async def ended(self) -> None:
        """Wait for its end."""
        reader, _ = self._client.streams
        assert await reader.read() == b""


@pytest.fixture
async def chat(world: World) -> AsyncIterator[tuple[Chat, dict[str, Backend]]]:
    """Three pods, one of which has a WebSocket."""
    backends = {one.name: one for one in await world.service("a", 3)}
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    async with Client(world.port) as client:
        yield await Chat.begun(client), backends


async def _newcomers(world: World, count: int = 10) -> set[str]:
    """Where new WebSockets go."""
    found = set()
    for _ in range(count):
        async with Client(world.port) as client:
            found.add((await Chat.begun(client)).pod)
    return found


async def test_a_websocket_lives_through_the_drain_and_ends_with_its_pod(
    world: World, chat: tuple[Chat, dict[str, Backend]]
) -> None:
    """Exact: it echoes while its pod drains and after that is gone from the slice; 10 of 10 new ones go elsewhere."""
    socket_, backends = chat
    others = {one: READY for name, one in backends.items() if name != socket_.pod}
    mine = backends[socket_.pod]

    world.endpoints("a", {**others, mine: DRAINING})
    await world.settled()
    assert await socket_.says(b"draining")
    assert socket_.pod not in await _newcomers(world)

    world.endpoints("a", others)  # the kubelet has said that it is gone, and its process has a moment left
    await world.settled()
    assert await socket_.says(b"gone from the slice")
    assert socket_.pod not in await _newcomers(world)

    await mine.stop()
    async with asyncio.timeout(5):
        await socket_.ended()


async def test_a_drain_that_is_called_off_costs_nothing(world: World, chat: tuple[Chat, dict[str, Backend]]) -> None:
    """A pod that was in no slice for a moment (a selector edited and put back) keeps what is open."""
    socket_, backends = chat
    others = {one: READY for name, one in backends.items() if name != socket_.pod}
    for states in (others, {**others, backends[socket_.pod]: READY}):
        world.endpoints("a", states)
        await world.settled()
        assert await socket_.says(b"still here")
    assert socket_.pod in await _newcomers(world, 60)


async def test_removal_closes_connections_that_nobody_uses(world: World) -> None:
    """Envoy keeps none of its own to a pod that is gone: its address may be another's tomorrow."""
    a, b = await world.service("a", 2)
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    await spread(world.port, 20)
    assert _established(a) > 0
    assert _established(b) > 0

    world.endpoints("a", [b])
    await world.settled()
    await world.until(lambda: _established(a) == 0)
    assert _established(b) > 0


async def test_who_vanishes_without_a_word_is_noticed_by_keepalive(
    world: World, chat: tuple[Chat, dict[str, Backend]]
) -> None:
    """A node that loses its power sends no FIN: Envoy's kernel asks (timer 2 of /proc/net/tcp), and gives up."""
    socket_, backends = chat
    timers = [timer for _, timer in _connections(backends[socket_.pod]) if timer]
    assert "02" in timers


def _established(backend: Backend) -> int:
    return len(_connections(backend))


def _connections(backend: Backend) -> list[tuple[str, str]]:
    """Connections to it, from the side of those who made them: (state, kind of timer), see proc_net_tcp.txt of Linux."""
    (number,) = struct.unpack("=I", socket.inet_aton(backend.address))
    to = f"{number:08X}:{backend.port:04X}"
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(row[3], row[5][:2]) for row in rows if row[2] == to and row[3] == "01"]
