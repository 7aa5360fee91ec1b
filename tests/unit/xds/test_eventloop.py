"""The event loop of a serving process: gRPC is recognized, and none of its wake-ups is lost."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import sys

import pytest

from fairlead_xds import eventloop
from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import DeltaClient, FakeEnvoy


def test_the_installed_grpc_is_recognized_and_serves() -> None:
    async def main() -> bool:
        store = Store()
        store.publish("edge", Snapshot.of([Resource(TypeUrl.CLUSTER, "a", b"")]))
        store.set_open()
        server = XdsServer(store, NodeClusterAuthenticator())
        port = await server.start("127.0.0.1:0")
        async with FakeEnvoy(f"127.0.0.1:{port}", DeltaClient("edge-1", "edge")) as envoy:
            await envoy.wait_for(lambda: envoy.client.has(TypeUrl.CLUSTER, "a"))
        await server.stop(0)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, eventloop.EventLoop)
        return loop.gathers and loop.calmed == (sys.platform == "linux")

    assert eventloop.run(main())


def test_bytes_that_piled_up_wake_the_loop_once() -> None:
    class Queue:
        """As gRPC's: one byte for each thing, all things at once."""

        def __init__(self) -> None:
            self.woken = 0

        def _handle_events(self, loop: asyncio.AbstractEventLoop) -> None:
            self.woken += 1
            reader.recv(1)
            loop.stop()

    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.send(bytes(5))
        loop, queue = eventloop.EventLoop(), Queue()
        try:
            loop.add_reader(reader, functools.partial(queue._handle_events, loop))
            loop.run_forever()
            with pytest.raises(BlockingIOError):
                reader.recv(1)
            assert queue.woken == 1
            writer.send(b".")  # what comes later wakes it again
            loop.run_forever()
            assert queue.woken == 2
        finally:
            loop.close()


def test_other_readers_are_left_alone() -> None:
    reader, writer = socket.socketpair()
    with reader, writer:
        writer.send(bytes(3))
        loop = eventloop.EventLoop()
        taken: list[bytes] = []

        def take() -> None:
            taken.append(reader.recv(1))
            loop.stop()

        try:
            loop.add_reader(reader, take)
            for _ in range(3):
                loop.run_forever()
            assert len(taken) == 3
            assert not loop.gathers
        finally:
            loop.close()


def test_the_users_own_experiments_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {})
    eventloop.prepare()
    assert os.environ == {"GRPC_EXPERIMENTS": "-event_engine_listener"}
    monkeypatch.setattr(os, "environ", {"GRPC_EXPERIMENTS": "theirs"})
    eventloop.prepare()
    assert os.environ == {"GRPC_EXPERIMENTS": "theirs"}
