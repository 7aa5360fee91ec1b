"""A proxy whose key changes while its stream stays open: nothing is lost, nothing equal is sent again, order is kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from fairlead_xds.auth import Identity, Peer
from fairlead_xds.observer import Proxy, SilentObserver
from fairlead_xds.protocol.node import Node
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import Client, DeltaClient, FakeEnvoy, SotwClient
from tests.support.xds_resources import cluster, endpoints, listener, route, site

pytestmark = pytest.mark.timeout(20)

CDS, EDS, LDS, RDS = TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE
POD = Identity("shop", "default", "web-1", "uid-1")
both = pytest.mark.parametrize("variant", [DeltaClient, SotwClient])


class ByPod:
    """Whoever asks is pod ``uid-1``; which key it has is up to the test."""

    key = ""

    async def admit(self, peer: Peer) -> Identity:
        return POD

    async def key_of(self, identity: Identity, node: Node) -> str:
        return self.key


class Moves(SilentObserver):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        self.gone = asyncio.Event()

    def moved(self, proxy: Proxy, before: str) -> None:
        self.seen.append((before, proxy.key))

    def disconnected(self, proxy: Proxy) -> None:  # called when the server has forgotten it or is about to
        self.gone.set()


class Bench:
    def __init__(self) -> None:
        self.store, self.moves, self.pods = Store(), Moves(), ByPod()
        self.server = XdsServer(self.store, self.pods, observer=self.moves)
        self.address = ""

    def envoy(self, client: Client | None = None) -> FakeEnvoy:
        return FakeEnvoy(self.address, client)

    @property
    def proxy(self) -> Proxy:
        (found,) = self.server.proxies()
        return found


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.address = f"127.0.0.1:{await bench.server.start('127.0.0.1:0')}"
    bench.store.publish("one", site("ab"))
    bench.store.publish("two", site("bc"))
    bench.store.set_open()
    yield bench
    await bench.server.stop(grace=0.5)


def holds(client: Client, snapshot: Snapshot) -> bool:
    return all(
        client.held[type_url].keys() == snapshot.resources(type_url).keys()
        and all(client.bodies[type_url][name] == wanted.body for name, wanted in snapshot.resources(type_url).items())
        for type_url in TypeUrl
    )


@both
async def test_it_ends_with_what_the_new_key_has(bench: Bench, variant: type[Client]) -> None:
    bench.pods.key = "one"
    async with bench.envoy(variant()) as envoy:
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))
        bench.server.move(bench.proxy, "two")
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("two")))

    assert bench.moves.seen == [("one", "two")]


async def test_nothing_that_both_keys_have_is_sent_again(bench: Bench) -> None:
    """Cluster b and the listener are equal; the route and cluster c are not, cluster a goes."""
    bench.pods.key = "one"
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))
        before = len(envoy.client.arrivals)
        bench.server.move(bench.proxy, "two")
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("two")))

        news = [(entry.type_url, entry.names, entry.removed) for entry in envoy.client.arrivals[before:]]
    sent = {(type_url, name) for type_url, names, _ in news for name in names}
    assert sent == {(CDS, "c"), (EDS, "c"), (RDS, "main")}
    assert news[-1] == (CDS, (), ("a",))


async def test_what_is_new_comes_before_what_leads_to_it_and_what_is_gone_goes_last(bench: Bench) -> None:
    other = Snapshot.of(
        [cluster("z"), endpoints("z", 9000), listener("other", route="side", port=10001), route("side", "z")]
    )
    bench.store.publish("three", other)
    bench.pods.key = "one"
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))
        before = len(envoy.client.arrivals)
        bench.server.move(bench.proxy, "three")
        await envoy.wait_for(lambda: holds(envoy.client, other))

        news = envoy.client.arrivals[before:]
    steps = [(entry.type_url, bool(entry.names)) for entry in news if entry.names or entry.removed]
    assert steps[0] == (CDS, True)
    assert steps.index((LDS, True)) > steps.index((EDS, True))
    assert steps[-1] == (CDS, False)


async def test_changes_of_the_old_key_are_nothing_to_it_any_more(bench: Bench) -> None:
    bench.pods.key = "one"
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))
        bench.server.move(bench.proxy, "two")
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("two")))
        arrived = len(envoy.client.arrivals)
        bench.store.publish_resources("one", [endpoints("b", 1)])
        bench.store.remove("one")
        bench.store.publish_resources("two", [endpoints("c", 2)])
        await envoy.wait_for(lambda: envoy.client.bodies[EDS]["c"] == endpoints("c", 2).body)

        assert [entry.names for entry in envoy.client.arrivals[arrived:] if entry.names] == [("c",)]
    assert bench.store.keys() == ["two"]


async def test_a_proxy_without_a_key_is_told_nothing_until_it_gets_one(bench: Bench) -> None:
    """An empty answer would count as configured: the application would start against nothing."""
    async with bench.envoy() as envoy:
        with pytest.raises(TimeoutError):
            await envoy.wait_for(lambda: bool(envoy.client.arrivals), timeout=0.2)
        assert (bench.proxy.key, bench.proxy.identity) == ("", POD)
        bench.server.move(bench.proxy, "one")
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))


async def test_a_proxy_that_loses_its_key_keeps_what_it_has(bench: Bench) -> None:
    bench.pods.key = "one"
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))
        bench.server.move(bench.proxy, "")
        bench.store.remove("one")
        bench.server.move(bench.proxy, "two")
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("two")))

        assert all(entry.removed in ((), ("a",)) for entry in envoy.client.arrivals)


async def test_a_proxy_that_moves_while_an_answer_is_out_ends_right(bench: Bench) -> None:
    """Three moves at once, with every response of the first key still unanswered."""
    bench.pods.key = "one"
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: bool(envoy.client.arrivals))
        for key in ("two", "one", "two"):
            bench.server.move(bench.proxy, key)
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("two")))


async def test_moving_a_proxy_that_is_gone_is_no_matter(bench: Bench) -> None:
    bench.pods.key = "one"
    async with bench.envoy() as envoy:
        await envoy.wait_for(lambda: holds(envoy.client, bench.store.current("one")))
        gone = bench.proxy
    await bench.moves.gone.wait()
    bench.server.move(gone, "two")

    assert bench.moves.seen == []


async def test_a_refused_resource_of_the_old_key_does_not_come_back(bench: Bench) -> None:
    """What was refused under one key is parked; the same bytes under another key are not sent again either."""
    bad = endpoints("b", 7)
    bench.store.publish_resources("one", [bad])
    bench.store.publish_resources("two", [bad])
    bench.pods.key = "one"

    def refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
        return "no" if type_url is EDS and name == "b" and body == bad.body else None

    async with bench.envoy(DeltaClient(refuse=refuse, warming=False)) as envoy:
        await envoy.wait_for(lambda: any(entry.error for entry in envoy.client.arrivals))
        await envoy.wait_for(lambda: "main" in envoy.client.held[RDS])
        bench.server.move(bench.proxy, "two")
        await envoy.wait_for(lambda: "c" in envoy.client.held[EDS])

        tried = [entry for entry in envoy.client.arrivals if entry.type_url is EDS and entry.names == ("b",)]
    assert len(tried) <= 1
