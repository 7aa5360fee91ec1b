"""The protocol against a real Envoy, in both variants: what it accepts, how soon, and what it says when it does not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from envoy.config.cluster.v3 import cluster_pb2

from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.connection import Connection
from fairlead_xds.observer import Proxy, SilentObserver
from fairlead_xds.protocol.events import Acked, Nacked
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl
from fairlead_xds.store import Store
from tests.support import real_envoy
from tests.support.real_envoy import eventually
from tests.support.xds_resources import cluster, endpoints, listener, route

pytestmark = pytest.mark.timeout(60)


class Witness(SilentObserver):
    def __init__(self) -> None:
        self.acks: list[Acked] = []
        self.nacks: list[Nacked] = []

    def acked(self, proxy: Proxy, event: Acked) -> None:
        self.acks.append(event)

    def nacked(self, proxy: Proxy, event: Nacked) -> None:
        self.nacks.append(event)

    def types(self) -> list[TypeUrl]:
        return [event.type_url for event in self.acks]


@dataclass
class Bench:
    store: Store
    server: XdsServer
    witness: Witness
    admin_port: int
    listener_port: int = field(default_factory=real_envoy.free_port)

    @property
    def proxy(self) -> Proxy:
        (proxy,) = self.server.proxies()
        return proxy

    def snapshot(self, *, target: str = "a", connect_timeout: int = 1) -> Snapshot:
        return Snapshot.of(
            [
                cluster("a", connect_timeout=connect_timeout),
                endpoints("a", 9),
                cluster("b"),
                endpoints("b"),
                listener("http", route="main", port=self.listener_port),
                route("main", target),
            ]
        )

    async def has_all(self, snapshot: Snapshot, *, seconds: float) -> None:
        wanted = [(t, name) for t in TypeUrl for name in snapshot.resources(t)]

        def complete() -> bool:
            return bool(self.server.proxies()) and all(self.proxy.has(t, name) for t, name in wanted)

        await eventually(complete, seconds=seconds)

    async def came_back(self, ended: Connection) -> None:
        """Envoy has another stream."""
        await eventually(
            lambda: bool(self.server.proxies()) and self.proxy.stream is not ended.proxy.stream, seconds=10
        )


@pytest.fixture(params=["DELTA_GRPC", "GRPC"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    store, witness = Store(), Witness()
    store.set_open()
    server = XdsServer(store, NodeClusterAuthenticator(), observer=witness)
    port = await server.start("127.0.0.1:0")
    bench = Bench(store, server, witness, real_envoy.free_port())
    store.publish("edge", bench.snapshot())
    config = real_envoy.bootstrap(
        xds_port=port, admin_port=bench.admin_port, node_id="gw-1", cluster="edge", api_type=request.param
    )
    async with real_envoy.running(config, tmp_path / "envoy.log"):
        await bench.has_all(bench.snapshot(), seconds=20)
        yield bench
    await server.stop(grace=1)


async def test_r43_a_new_envoy_accepts_clusters_endpoints_listeners_routes_in_order(bench: Bench) -> None:
    order = [TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE]
    first = [bench.witness.types().index(t) for t in order]

    # Envoy answers for clusters when they are warm: after their endpoints.
    assert first == sorted(first) or first == [1, 0, 2, 3]
    assert not bench.witness.nacks
    assert bench.proxy.node.id == "gw-1"
    assert bench.proxy.node.metadata == {"pod": "p1"}
    assert bench.proxy.node.user_agent_version == "1.40.0"
    assert bench.proxy.stream.unsettled() == []


async def test_r45_an_updated_cluster_is_accepted_at_once(bench: Bench) -> None:
    updated = bench.snapshot(connect_timeout=2)

    began = time.monotonic()
    bench.store.publish("edge", updated)
    await bench.has_all(updated, seconds=10)

    # Without its load assignment it would warm for 15 s.
    assert time.monotonic() - began < 3
    assert "a::127.0.0.1:9::" in await real_envoy.admin(bench.admin_port, "/clusters")


async def test_r44_a_route_to_a_new_cluster_and_the_removal_of_the_old(bench: Bench) -> None:
    target = Snapshot.of(
        [
            cluster("c"),
            endpoints("c", 9),
            listener("http", route="main", port=bench.listener_port),
            route("main", "c"),
        ]
    )
    bench.witness.acks.clear()
    bench.store.publish("edge", target)
    await bench.has_all(target, seconds=10)
    await eventually(lambda: not bench.proxy.stream.unsettled(), seconds=5)

    changes = [(event.type_url, set(event.versions.items())) for event in bench.witness.acks]
    added = next(i for i, (t, v) in enumerate(changes) if t is TypeUrl.CLUSTER and any(version for _, version in v))
    routed = next(i for i, (t, _) in enumerate(changes) if t is TypeUrl.ROUTE)
    removed = next(i for i, (t, v) in enumerate(changes) if t is TypeUrl.CLUSTER and ("a", None) in v)
    assert added < routed < removed
    clusters = await real_envoy.admin(bench.admin_port, "/clusters")
    assert "c::" in clusters
    assert "a::127.0.0.1" not in clusters


async def test_r43_a_cluster_keeps_its_endpoints_though_its_load_assignment_is_gone(bench: Bench) -> None:
    """The fact that the server relies on, where it says that before the cluster goes: Envoy takes it for no news."""
    whole, gone = bench.snapshot(), (TypeUrl.ENDPOINT, "a")
    parts = [one for type_url in TypeUrl for one in whole.resources(type_url).values()]
    bench.witness.acks.clear()
    bench.store.publish("edge", Snapshot.of(one for one in parts if (one.type_url, one.name) != gone))
    if bench.proxy.stream.variant == "delta":  # state of the world says it by silence
        await eventually(lambda: any("a" in event.versions for event in bench.witness.acks), seconds=5)
    await eventually(lambda: not bench.proxy.stream.unsettled(), seconds=5)
    assert "a::127.0.0.1:9::" in await real_envoy.admin(bench.admin_port, "/clusters")


async def test_r15_a_bad_cluster_is_blamed_and_delays_no_other(bench: Bench) -> None:
    # A static cluster with a host name for an address: refused by Envoy's own checks, not by proto constraints.
    bad = cluster_pb2.Cluster(name="bad", type="STATIC", connect_timeout={"seconds": 1})
    bad.load_assignment.cluster_name = "bad"
    address = bad.load_assignment.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
    address.address, address.port_value = "not-an-address", 80
    refused = Resource(TypeUrl.CLUSTER, "bad", bad.SerializeToString())

    bench.store.publish_resources("edge", [refused, cluster("d"), endpoints("d", 9)])
    await eventually(lambda: bench.proxy.has(TypeUrl.CLUSTER, "d"), seconds=5)
    await eventually(lambda: not any(state.nonce for state in bench.proxy.stream.unsettled()), seconds=5)

    (nack,) = [event for event in bench.witness.nacks if event.certain]
    assert nack.versions == {"bad": refused.version}
    assert "not-an-address" in nack.message
    assert not bench.proxy.has(TypeUrl.CLUSTER, "bad")


async def test_r15_a_response_refused_as_a_whole_is_searched_for_the_bad_one(bench: Bench) -> None:
    # Port 70000 violates a proto constraint: Envoy applies nothing of the response and names no resource.
    bad = endpoints("b", 70000)
    fine = endpoints("a", 10)

    bench.store.publish_resources("edge", [bad, fine])
    await eventually(lambda: bench.proxy.has(TypeUrl.ENDPOINT, "a"), seconds=5)
    await eventually(lambda: any(event.certain for event in bench.witness.nacks), seconds=5)

    assert [event.versions for event in bench.witness.nacks if event.certain] == [{"b": bad.version}]
    assert "a::127.0.0.1:10::" in await real_envoy.admin(bench.admin_port, "/clusters")


async def test_r39_a_reconnecting_envoy_that_has_everything_gets_what_its_variant_needs(bench: Bench) -> None:
    variant = bench.proxy.stream.variant
    (connection,) = bench.server._connections.values()
    bench.witness.acks.clear()
    connection.end()
    await bench.came_back(connection)
    await bench.has_all(bench.snapshot(), seconds=10)
    await asyncio.sleep(0.3)

    # State of the world cannot say which endpoints and routes it has; clusters and listeners it can, by version.
    resent = set() if variant == "delta" else {TypeUrl.ENDPOINT, TypeUrl.ROUTE}
    assert set(bench.witness.types()) == resent
    assert not bench.witness.nacks


async def test_r46_a_stream_that_breaks_while_a_cluster_warms_is_mended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated = bench.snapshot(connect_timeout=3)
    (connection,) = bench.server._connections.values()
    with monkeypatch.context() as patched:
        patched.setattr(Stream, "_owe_endpoints", lambda self, clusters: None)  # the load assignment gets lost
        bench.store.publish("edge", updated)
        await asyncio.sleep(0.5)
        assert not bench.proxy.has(TypeUrl.CLUSTER, "a")  # Envoy has it and waits
        connection.end()
    began = time.monotonic()
    await bench.came_back(connection)
    await bench.has_all(updated, seconds=14)

    # The fact that the server relies on: what Envoy pauses while warming it does not ask on a new stream either.
    asked = list(bench.proxy.stream._ledgers)
    assert asked.index(TypeUrl.ENDPOINT) < asked.index(TypeUrl.CLUSTER)
    stats = await real_envoy.admin(bench.admin_port, "/stats?filter=warming_clusters")
    assert "warming_clusters: 0" in stats
    assert time.monotonic() - began < 8


async def test_r46_a_cluster_that_is_gone_when_its_stream_comes_back_warms_no_longer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Incremental: Envoy is told at once that its load assignment is gone. State of the world cannot say so: 15 s."""
    without = Snapshot.of(
        [cluster("b"), endpoints("b"), listener("http", route="main", port=bench.listener_port), route("main", "b")]
    )
    (connection,) = bench.server._connections.values()
    with monkeypatch.context() as patched:
        patched.setattr(Stream, "_owe_endpoints", lambda self, clusters: None)  # the load assignment gets lost
        bench.store.publish("edge", bench.snapshot(connect_timeout=3))
        await asyncio.sleep(0.5)
        assert not bench.proxy.has(TypeUrl.CLUSTER, "a")  # Envoy has it and waits
        bench.store.publish("edge", without)
        connection.end()
    began = time.monotonic()
    await bench.came_back(connection)
    await bench.has_all(without, seconds=30)
    await eventually(lambda: not bench.proxy.stream.unsettled(), seconds=10)

    assert "a::" not in await real_envoy.admin(bench.admin_port, "/clusters")
    assert not bench.witness.nacks
    assert bench.proxy.stream.variant == "sotw" or time.monotonic() - began < 8
