"""What the benchmarks measure is what they say: counted, not timed."""

from __future__ import annotations

import asyncio

import pytest

from bench import objects, streams
from bench.figure import Figure, table
from fairlead_operator.loop import ENDPOINT_WINDOW, ControlPlane
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.translate import endpoints


@pytest.fixture
async def world() -> tuple[Store, ControlPlane]:
    store = Store()
    plane = ControlPlane(store, list)
    for raw in objects.cluster(3):
        plane.apply(raw)
    plane.synced()
    await asyncio.sleep(2 * ENDPOINT_WINDOW)  # the endpoint lane runs at its leading edge again
    return store, plane


def _snapshot(store: Store) -> Snapshot:
    return store.current(objects.GATEWAY)


async def test_the_measured_cluster_is_served_whole(world: tuple[Store, ControlPlane]) -> None:
    snapshot = _snapshot(world[0])
    assert [len(snapshot.resources(type_url)) for type_url in TypeUrl] == [3, 3, 0, 1, 1]


async def test_an_endpoint_change_is_one_message_of_equal_bytes_for_each_stream(
    world: tuple[Store, ControlPlane],
) -> None:
    store, plane = world
    before = _snapshot(store)
    pairs = [streams.Pair(number, before) for number in range(3)]
    plane.apply(objects.endpoint_slice(0, 1))
    changes = store.changes(objects.GATEWAY, before)
    assert {t: list(names) for t, names in changes.before.items()} == {TypeUrl.ENDPOINT: ["bench/service-0000:80"]}
    pushed = [pair.push(_snapshot(store), changes) for pair in pairs]
    assert [len(responses) for responses in pushed] == [1, 1, 1]
    assert len({responses[0] for responses in pushed}) == 1
    for pair, responses in zip(pairs, pushed, strict=True):
        pair.take(pair.answer(responses))
        assert pair.stream.has(TypeUrl.ENDPOINT, "bench/service-0000:80")
        assert not pair.stream.unsettled()


async def test_an_endpoint_change_encodes_the_changed_endpoint_only(world: tuple[Store, ControlPlane]) -> None:
    _, plane = world
    endpoints.lb_endpoint.cache_clear()
    plane.apply(objects.endpoint_slice(0, 1))
    before = endpoints.lb_endpoint.cache_info()
    plane.apply(objects.endpoint_slice(0, 2))
    plane.run_endpoints()
    after = endpoints.lb_endpoint.cache_info()
    assert after.misses - before.misses == 1
    assert after.hits == before.hits  # the others are not looked at


async def test_an_equal_slice_changes_nothing(world: tuple[Store, ControlPlane]) -> None:
    store, plane = world
    before = _snapshot(store)
    plane.apply(objects.endpoint_slice(0))
    assert _snapshot(store) is before


def test_a_missed_target_is_shown() -> None:
    met = Figure(what="a", services=1, unit="ms", samples=[1, 2, 9], target=2)
    missed = Figure(what="b", services=1, unit="ms", samples=[1, 3, 3], target=2)
    free = Figure(what="c", services=1, unit="ms", samples=[4])
    assert [figure.row()["met"] for figure in (met, missed, free)] == [True, False, None]
    lines = table([met, missed, free]).splitlines()
    assert "met" in lines[1]
    assert "MISSED" in lines[2]
    assert len(lines) == 4
