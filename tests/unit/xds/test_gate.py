"""Who comes in, over real loopback sockets, and what holds for clients that are not known yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import grpc
import pytest

from fairlead_xds.auth import Identity, Peer, Refusal
from fairlead_xds.gate import Gate, Limits, Refused
from fairlead_xds.protocol.node import Node
from fairlead_xds.server import Options, XdsServer
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import DeltaClient, FakeEnvoy
from tests.support.mute import Mute
from tests.support.xds_resources import site

pytestmark = pytest.mark.timeout(20)

EDGE = Identity("system", "edge", "edge-1", "uid-1")
BAD = Refusal("UNAUTHENTICATED", "no valid token", "invalid")


class Guard:
    """Knows clients by their token; ``says`` may be changed at any time."""

    def __init__(self, **says: Identity | Refusal) -> None:
        self.says = says
        self.asked = 0
        self.slow: asyncio.Event | None = None

    async def admit(self, peer: Peer) -> Identity | Refusal:
        self.asked += 1
        if self.slow is not None:
            await self.slow.wait()
        return self.says.get(str(peer.metadata.get("authorization", "")).removeprefix("Bearer "), BAD)

    async def key_of(self, identity: Identity, node: Node) -> str | Refusal:
        return identity.service_account


@contextlib.asynccontextmanager
async def serving(guard: Guard, *, now: float = 1000.0, **limits: float) -> AsyncIterator[tuple[XdsServer, str]]:
    store = Store()
    store.publish("edge", site())
    store.set_open()
    options = Options(limits=replace(Limits(spread=0.0, again=0.01), **limits))  # type: ignore[arg-type]
    server = XdsServer(store, guard, options=options, wall_clock=lambda: now)
    try:
        yield server, f"127.0.0.1:{await server.start('127.0.0.1:0')}"
    finally:
        await server.stop(grace=0.2)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0)


async def complete(envoy: FakeEnvoy) -> None:
    await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]))


async def test_what_a_node_says_counts_nowhere() -> None:
    async with serving(Guard(good=EDGE)) as (server, address):
        liar = DeltaClient(node_id="someone-else", cluster="another-gateway")
        async with FakeEnvoy(address, liar, token="good") as envoy:
            await complete(envoy)
            (proxy,) = server.proxies()
            assert (proxy.key, proxy.node.id, proxy.identity) == ("edge", "edge-1", EDGE)


async def test_a_client_is_refused_before_it_has_said_anything(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Guard()) as (server, address):
        for _ in range(3):
            async with FakeEnvoy(address, Mute(), token="s3cret-token") as envoy:
                assert await envoy.wait_ended() is grpc.StatusCode.UNAUTHENTICATED
                assert envoy.details == "no valid token"
        assert server.gate.refused == {"invalid": 3}
    told = [record.getMessage() for record in caplog.records if "refused" in record.getMessage()]
    assert len(told) == 1  # once a minute for one host
    assert "UNAUTHENTICATED: no valid token" in told[0]
    assert "s3cret-token" not in caplog.text


async def test_one_identity_has_few_streams_and_others_their_own() -> None:
    other = replace(EDGE, pod="edge-2", pod_uid="uid-2")
    async with serving(Guard(one=EDGE, two=other), streams=2) as (server, address):
        envoys = [FakeEnvoy(address, token=token) for token in ("one", "one", "two")]
        async with contextlib.AsyncExitStack() as stack:
            for envoy in envoys:
                await stack.enter_async_context(envoy)
                await complete(envoy)
            async with FakeEnvoy(address, Mute(), token="one") as third:
                assert await third.wait_ended() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await envoys[0].disconnect()
            await until(lambda: len(server.proxies()) == 2)
            async with FakeEnvoy(address, token="one") as again:
                await complete(again)
        assert server.gate.refused == {"streams": 1}


async def test_unproven_clients_wait_in_limited_number_and_time() -> None:
    guard = Guard(good=EDGE)
    guard.slow = asyncio.Event()
    peer = Peer("ipv4:10.0.0.1:5", {"authorization": "Bearer good"}, {})
    gate = Gate(guard, lambda: 0.0, Limits(waiting=2, patience=0.05))
    waiting = [asyncio.create_task(gate.admit(peer)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Refused, match="come again"):
        await gate.admit(peer)
    for task in waiting:
        with pytest.raises(Refused, match="too long"):
            await task
    guard.slow.set()
    assert await gate.admit(peer) == EDGE


async def test_the_stream_of_a_token_that_expired_ends_and_comes_back_with_nothing_lost() -> None:
    guard = Guard(old=replace(EDGE, expires=1000.05), new=EDGE)
    async with serving(guard) as (server, address), FakeEnvoy(address, token="old") as envoy:
        await complete(envoy)
        guard.says["old"] = Refusal("UNAUTHENTICATED", "the token has expired", "expired")
        server.gate.wall_clock = lambda: 1001.0
        assert await envoy.wait_ended() is grpc.StatusCode.UNAUTHENTICATED
        assert envoy.details == "the token has expired"
        arrived = sum(envoy.client.received.values())
        await envoy.disconnect()
        envoy.token = "new"
        await envoy.connect()
        await until(lambda: bool(server.proxies()) and not server.proxies()[0].stream.lacking(TypeUrl.ROUTE))
        assert sum(envoy.client.received.values()) == arrived
        assert server.gate.refused == {}


async def test_while_nobody_can_judge_an_expired_token_its_stream_goes_on() -> None:
    guard = Guard(old=replace(EDGE, expires=1000.0))
    async with serving(guard, now=1001.0) as (_, address), FakeEnvoy(address, token="old") as envoy:
        await complete(envoy)
        guard.says["old"] = Refusal("UNAVAILABLE", "the API server is away", "unavailable")
        before = guard.asked
        await until(lambda: guard.asked >= before + 3)
        assert not envoy.ended
        guard.says["old"] = BAD
        assert await envoy.wait_ended() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_proof_that_never_ends_is_asked_for_once() -> None:
    guard = Guard(good=EDGE)
    async with serving(guard) as (_, address), FakeEnvoy(address, token="good") as envoy:
        await complete(envoy)
        assert guard.asked == 1
