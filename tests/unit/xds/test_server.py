"""The server over real loopback sockets, with fake proxies, honest ones and others."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from fairlead_xds.auth import ANYONE, Identity, NodeClusterAuthenticator, Peer, Refusal
from fairlead_xds.observer import Proxy, SilentObserver, Stuck
from fairlead_xds.protocol.events import Acked, Nacked
from fairlead_xds.protocol.node import Node
from fairlead_xds.server import Options, XdsServer
from fairlead_xds.snapshot import EMPTY, TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import Client, DeltaClient, FakeEnvoy, SotwClient
from tests.support.xds_resources import cluster, endpoints, site

pytestmark = pytest.mark.timeout(20)

CDS, EDS, LDS, RDS = TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE


class Diary(SilentObserver):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.nacks: list[Nacked] = []
        self.stuck_at: list[Stuck] = []
        self.noted = asyncio.Event()

    def note(self, line: str) -> None:
        self.lines.append(line)
        self.noted.set()

    def connected(self, proxy: Proxy) -> None:
        self.note(f"+{proxy.node.id}")

    def disconnected(self, proxy: Proxy) -> None:
        self.note(f"-{proxy.node.id}")

    def acked(self, proxy: Proxy, event: Acked) -> None:
        self.note(f"{proxy.node.id} acked {event.type_url.short}")

    def nacked(self, proxy: Proxy, event: Nacked) -> None:
        self.nacks.append(event)
        self.note(f"{proxy.node.id} nacked {event.type_url.short}")

    def stuck(self, proxy: Proxy, event: Stuck) -> None:
        self.stuck_at.append(event)
        self.note(f"{proxy.node.id} stuck {event.type_url.short}")

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.noted.clear()
                await self.noted.wait()


class Bench:
    def __init__(self) -> None:
        self.store, self.diary = Store(), Diary()
        self.time, self.looked = 0.0, asyncio.Event()
        self.server = XdsServer(
            self.store,
            NodeClusterAuthenticator(),
            observer=self.diary,
            options=Options(stuck_after=0.2),
            clock=self._clock,
            wall_clock=lambda: 1000.0,
        )
        self.address = ""

    def _clock(self) -> float:
        self.looked.set()
        return self.time

    def envoy(self, client: Client | None = None) -> FakeEnvoy:
        return FakeEnvoy(self.address, client)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.address = f"127.0.0.1:{await bench.server.start('127.0.0.1:0')}"
    bench.store.publish("edge", site())
    bench.store.set_open()
    yield bench
    await bench.server.stop(grace=0.5)


def complete(client: Client, names: str = "ab") -> bool:
    return set(client.held[CDS]) == set(client.held[EDS]) == set(names) and set(client.held[RDS]) == {"main"}


@pytest.mark.parametrize("variant", [DeltaClient, SotwClient])
async def test_a_proxy_gets_its_configuration_and_every_change(bench: Bench, variant: type[Client]) -> None:
    async with bench.envoy(variant()) as envoy:
        await envoy.wait_for(lambda: complete(envoy.client))
        bench.store.publish("edge", site("bc"))
        await envoy.wait_for(lambda: complete(envoy.client, "bc"))
        bench.store.publish_resources("edge", [endpoints("c", 1, 2)])
        await envoy.wait_for(lambda: envoy.client.bodies[EDS]["c"] == endpoints("c", 1, 2).body)
        (proxy,) = bench.server.proxies()
        await bench.diary.until(lambda: proxy.has(EDS, "c"))
    await bench.diary.until(lambda: "-envoy-1" in bench.diary.lines)

    assert bench.server.proxies() == []
    assert (proxy.key, proxy.node.id, proxy.connected_at, proxy.stream.variant) == (
        "edge",
        "envoy-1",
        1000.0,
        "delta" if variant is DeltaClient else "sotw",
    )


async def test_r39_a_reconnecting_proxy_that_has_everything_gets_nothing(bench: Bench) -> None:
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: complete(envoy.client))
        arrived = len(envoy.client.arrivals)
        await envoy.disconnect()
        await envoy.connect()
        await bench.diary.until(lambda: bench.diary.lines.count("+envoy-1") == 2)
        bench.store.publish_resources("edge", [endpoints("a", 7)])
        await envoy.wait_for(lambda: len(envoy.client.arrivals) > arrived)
        assert [arrival.names for arrival in envoy.client.arrivals[arrived:]] == [("a",)]


async def test_nothing_is_served_before_the_store_is_open() -> None:
    bench = Bench()
    bench.address = f"127.0.0.1:{await bench.server.start('127.0.0.1:0')}"
    async with bench.envoy() as envoy:
        with pytest.raises(TimeoutError):
            await envoy.wait_for(lambda: bool(envoy.client.arrivals), timeout=0.2)
        bench.store.publish("edge", site())
        bench.store.set_open()
        await envoy.wait_for(lambda: complete(envoy.client))
    await bench.server.stop(grace=0.5)


async def test_a_proxy_that_waits_for_the_store_does_not_hinder_stopping() -> None:
    bench = Bench()
    bench.address = f"127.0.0.1:{await bench.server.start('127.0.0.1:0')}"
    async with bench.envoy() as envoy, asyncio.timeout(3):
        with pytest.raises(TimeoutError):
            await envoy.wait_for(lambda: bool(envoy.client.arrivals), timeout=0.1)
        await bench.server.stop(grace=0.2)
        await envoy.wait_ended()


async def test_a_gateway_that_nothing_concerns_gets_an_empty_configuration(bench: Bench) -> None:
    async with bench.envoy(DeltaClient(cluster="other")) as envoy:
        await envoy.wait_for(lambda: envoy.client.received[LDS] == 1)
        assert not any(envoy.client.held.values())


async def test_removing_a_key_empties_its_proxies(bench: Bench) -> None:
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: complete(envoy.client))
        bench.store.remove("edge")
        await envoy.wait_for(lambda: not any(envoy.client.held.values()))
        assert bench.store.current("edge") is EMPTY


async def test_garbage_ends_its_own_stream_only(bench: Bench) -> None:
    async with bench.envoy(DeltaClient("good")) as good, bench.envoy(DeltaClient("evil")) as evil:
        await evil.wait_for(lambda: complete(evil.client))
        await evil.send(b"\xff\xff\xff\xff garbage")
        assert await evil.wait_ended() is grpc.StatusCode.INVALID_ARGUMENT
        await good.wait_for(lambda: complete(good.client))
        bench.store.publish("edge", site("abc"))
        await good.wait_for(lambda: complete(good.client, "abc"))


async def test_garbage_as_the_first_message(bench: Bench) -> None:
    class Garbage(DeltaClient):
        def start(self) -> list[bytes]:
            return [b"\xff\xff garbage"]

    async with bench.envoy(Garbage()) as envoy:
        assert await envoy.wait_ended() is grpc.StatusCode.INVALID_ARGUMENT
    assert bench.diary.lines == []


async def test_a_proxy_without_a_gateway_is_refused(bench: Bench) -> None:
    async with bench.envoy(DeltaClient(cluster="")) as envoy:
        assert await envoy.wait_ended() is grpc.StatusCode.INVALID_ARGUMENT


async def test_an_authenticator_decides_by_node_and_connection() -> None:
    nodes: list[Node] = []
    peers: list[Peer] = []

    class Picky:
        async def admit(self, peer: Peer) -> Identity | Refusal:
            peers.append(peer)
            return ANYONE

        async def key_of(self, identity: Identity, node: Node) -> str | Refusal:
            nodes.append(node)
            return Refusal("PERMISSION_DENIED", "not you", "not_allowed")

    store = Store()
    store.set_open()
    server = XdsServer(store, Picky())
    async with FakeEnvoy(f"127.0.0.1:{await server.start('127.0.0.1:0')}") as envoy:
        assert await envoy.wait_ended() is grpc.StatusCode.PERMISSION_DENIED
    await server.stop(grace=0.2)
    assert nodes[0].cluster == "edge"
    assert "127.0.0.1" in peers[0].address
    assert "user-agent" in peers[0].metadata
    assert server.gate.refused == {"not_allowed": 1}


async def test_r09_an_unknown_type_leaves_the_stream_open(bench: Bench) -> None:
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: complete(envoy.client))
        request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.service.runtime.v3.Runtime")
        await envoy.send(request.SerializeToString())
        bench.store.publish("edge", site("abc"))
        await envoy.wait_for(lambda: complete(envoy.client, "abc"))
        assert not envoy.ended


async def test_r58_a_request_of_50_mb_is_refused_and_one_of_20_mb_is_read(bench: Bench) -> None:
    def padded(size: int) -> bytes:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=CDS, response_nonce="x" * size)
        return bytes(request.SerializeToString())

    async with bench.envoy(DeltaClient("big")) as big, bench.envoy(DeltaClient("good")) as good:
        await big.wait_for(lambda: complete(big.client))
        await big.send(padded(20_000_000))
        bench.store.publish("edge", site("abc"))
        await big.wait_for(lambda: complete(big.client, "abc"))
        await big.send(padded(50_000_000))
        assert await big.wait_ended() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await good.wait_for(lambda: complete(good.client, "abc"))


async def test_a_refusal_reaches_the_observer_and_nobody_else_is_affected(bench: Bench) -> None:
    picky = DeltaClient("picky", refuse=lambda t, name, _: "no good" if (t, name) == (CDS, "c") else None)
    async with bench.envoy(picky) as one, bench.envoy(DeltaClient("easy")) as other:
        await one.wait_for(lambda: complete(one.client))
        bench.store.publish("edge", site("abc"))
        await other.wait_for(lambda: complete(other.client, "abc"))
        await bench.diary.until(lambda: bool(bench.diary.nacks))
        assert bench.diary.nacks[0].versions == {"c": cluster("c").version}
        assert bench.diary.nacks[0].message == "Error adding/updating cluster(s) c: no good"
        proxies = {proxy.node.id: proxy for proxy in bench.server.proxies()}
        await bench.diary.until(lambda: proxies["easy"].has(CDS, "c"))
        assert not proxies["picky"].has(CDS, "c")


async def test_a_client_that_stops_reading_blocks_nobody(bench: Bench) -> None:
    class Deaf(FakeEnvoy):
        async def _run(self) -> None:
            for request in self.client.start():
                await self._call.write(request)
            await asyncio.Event().wait()

    huge = [cluster(f"huge-{i}-{'x' * 200_000}") for i in range(100)]
    async with Deaf(bench.address, DeltaClient("deaf")), bench.envoy(DeltaClient("good")) as good:
        await good.wait_for(lambda: complete(good.client))
        bench.store.publish("big", site())
        for round_ in range(20):
            bench.store.publish_resources("edge", [huge[round_], endpoints("a", round_ + 1)])
        await good.wait_for(lambda: good.client.bodies[EDS].get("a") == endpoints("a", 20).body)


async def test_an_answer_that_is_overdue_is_reported_and_not_waited_for(bench: Bench) -> None:
    class Mute(DeltaClient):
        def _answer(self, type_url: TypeUrl, nonce: str, error: str | None) -> bytes:
            if type_url is CDS:
                type_url = LDS  # never answers about clusters: the stale nonce counts as nothing
            return super()._answer(type_url, nonce, error)

    async with bench.envoy(Mute("mute")) as envoy:
        await envoy.wait_for(lambda: "a" in envoy.client.held[EDS])
        assert not envoy.client.held[LDS]
        bench.time = 60.0
        await bench.diary.until(lambda: bool(bench.diary.stuck_at))
        await envoy.wait_for(lambda: complete(envoy.client))
    (stuck,) = bench.diary.stuck_at
    assert (stuck.type_url, set(stuck.names), stuck.seconds) == (CDS, {"a", "b"}, 60.0)


@pytest.mark.parametrize("variant", [DeltaClient, SotwClient])
async def test_r44_a_proxy_that_comes_back_and_never_asks_for_clusters_gets_its_routes_late(
    bench: Bench, variant: type[Client]
) -> None:
    async with bench.envoy(variant()) as envoy:
        await envoy.wait_for(lambda: complete(envoy.client))
        await envoy.disconnect()
        envoy.client._cold.add("of-another-time")  # it warms for ever
        bench.store.publish("edge", site("bc"))
        bench.time = 1000.0
        await envoy.connect()
        await envoy.wait_for(lambda: "b" in envoy.client.arrivals[-1].names)
        routes = envoy.client.bodies[RDS]["main"]
        for _ in range(4):  # nothing is written, so it is who looks for what is overdue
            bench.looked.clear()
            async with asyncio.timeout(5):
                await bench.looked.wait()
        assert envoy.client.bodies[RDS]["main"] == routes
        bench.time = 1060.0
        await envoy.wait_for(lambda: envoy.client.bodies[RDS]["main"] != routes)


async def test_r60_stopping_ends_streams_with_ok(bench: Bench) -> None:
    async with bench.envoy() as envoy, bench.envoy(SotwClient("other")) as other:
        await envoy.wait_for(lambda: complete(envoy.client))
        await other.wait_for(lambda: complete(other.client))
        async with asyncio.timeout(3):
            await bench.server.stop(grace=2)
        assert await envoy.wait_ended() is grpc.StatusCode.OK
        assert await other.wait_ended() is grpc.StatusCode.OK
    assert bench.server.proxies() == []


async def _complete(stack: contextlib.AsyncExitStack, bench: Bench, name: str) -> FakeEnvoy:
    envoy = await stack.enter_async_context(bench.envoy(DeltaClient(name)))
    await envoy.wait_for(lambda: complete(envoy.client))
    return envoy


async def test_r60_streams_end_one_by_one_and_each_is_served_until_then(bench: Bench) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first, last = [await _complete(stack, bench, name) for name in ("first", "last")]
        stopping = asyncio.create_task(bench.server.stop(grace=5, spread=2.0))
        assert await first.wait_ended() is grpc.StatusCode.OK
        assert not last.ended
        bench.store.publish("edge", site("bc"))
        await last.wait_for(lambda: complete(last.client, "bc"))
        async with bench.envoy() as late:  # nobody new is taken: it goes to another replica
            assert await late.wait_ended() is grpc.StatusCode.UNAVAILABLE
        assert await last.wait_ended() is grpc.StatusCode.OK
        await stopping


async def test_an_address_in_use_is_an_error(bench: Bench) -> None:
    with pytest.raises(OSError, match="cannot listen"):
        await XdsServer(bench.store, NodeClusterAuthenticator()).start(bench.address)


async def test_unary_fetch_is_not_served(bench: Bench) -> None:
    async with grpc.aio.insecure_channel(bench.address) as channel:
        call = channel.unary_unary("/envoy.service.discovery.v3.AggregatedDiscoveryService/FetchClusters")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
