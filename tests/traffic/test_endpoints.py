"""What Kubernetes says of endpoints, and who then gets requests: readiness, termination, endpoints that come and go."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.support.backends import Backend
from tests.support.http_client import Client, Tally, load, spread
from tests.support.manifests import endpoint, endpoint_slice, listener, route, site
from tests.support.statistics import binomial_bounds
from tests.support.traffic import DRAINING, NOT_READY, READY, World

pytestmark = pytest.mark.timeout(60)

TERMINATED = {"ready": False, "serving": False, "terminating": True}


async def _site(world: World, count: int, **endpoints: str) -> list[Backend]:
    backends = await world.service("a", count)
    world.policy("shop", site(listener(world.port), "a", endpoints=endpoints))
    await world.settled()
    return backends


async def _got(world: World, requests: int = 200) -> Tally:
    await world.settled()
    return await spread(world.port, requests)


async def test_not_ready_exclude(world: World) -> None:
    """Exact: with 1 of 3 ready, 200 of 200 reach it (Envoy's panic would spread them); none ready: 503 each, at once."""
    a, b, c = await _site(world, 3)
    world.endpoints("a", {a: READY, b: NOT_READY, c: NOT_READY})
    assert (await _got(world)).backends == {a.name: 200}

    world.endpoints("a", {a: NOT_READY, b: NOT_READY, c: NOT_READY})
    tally = await _got(world)
    assert len(tally.failures) == 200
    assert all(failure.startswith("503") for failure in tally.failures)
    assert world.is_true("shop", "Degraded")
    assert world.is_true("shop", "Programmed")

    world.endpoints("a", {a: NOT_READY, b: READY, c: NOT_READY})
    assert (await _got(world)).backends == {b.name: 200}
    assert not world.is_true("shop", "Degraded")


async def test_not_ready_degrade(world: World) -> None:
    """Exact: endpoints that are not ready get nothing while one is ready, and all when none is."""
    a, b, c = await _site(world, 3, notReady="Degrade")
    world.endpoints("a", {a: READY, b: NOT_READY, c: NOT_READY})
    assert (await _got(world)).backends == {a.name: 200}

    world.endpoints("a", {a: TERMINATED, b: NOT_READY, c: NOT_READY})
    tally = await _got(world)
    assert set(tally.backends) == {b.name, c.name}
    assert tally.backends.total() == 200


async def test_terminating_drain_and_exclude(world: World) -> None:
    """Exact: newcomers reach neither a draining nor an excluded endpoint."""
    a, b = await _site(world, 2, terminating="Drain")
    world.endpoints("a", {a: READY, b: DRAINING})
    assert (await _got(world)).backends == {a.name: 200}
    assert world.status("shop")["endpoints"]["draining"] == 1

    world.policy("shop", site(listener(world.port), "a", endpoints={"terminating": "Exclude"}))
    assert (await _got(world)).backends == {a.name: 200}
    assert world.status("shop")["endpoints"]["excluded"] == 1


async def test_all_terminating_serve(world: World) -> None:
    """Exact: endpoints that terminate and serve get all when no other is left; those that serve no longer get nothing."""
    a, b, c = await _site(world, 3)
    world.endpoints("a", {a: DRAINING, b: DRAINING, c: TERMINATED})
    tally = await _got(world)
    assert set(tally.backends) == {a.name, b.name}
    assert tally.failures == []

    world.endpoints("a", {a: DRAINING, b: DRAINING, c: READY})
    assert (await _got(world)).backends == {c.name: 200}


async def test_all_terminating_fail(world: World) -> None:
    """Exact: 503 each."""
    a, b = await _site(world, 2, allTerminating="Fail")
    world.endpoints("a", {a: DRAINING, b: DRAINING})
    tally = await _got(world, 50)
    assert len(tally.failures) == 50
    assert all(failure.startswith("503") for failure in tally.failures)


async def test_an_endpoint_in_two_slices_counts_once(world: World) -> None:
    """Exact ±1 under round robin: an endpoint that two slices hold gets one share, and stays when one of them drops it."""
    a, b = await world.service("a", 2)
    world.policy("shop", site(listener(world.port), "a", loadBalancer={"type": "RoundRobin"}))
    world.apply(endpoint_slice("a", b.port, [endpoint(b.address)], name="a-2"))
    await world.settled()
    counts = (await spread(world.port, 200, concurrency=1)).backends
    assert abs(counts[a.name] - counts[b.name]) <= 1

    world.endpoints("a", [a])
    assert set((await _got(world)).backends) == {a.name, b.name}
    world.delete("EndpointSlice", "a-2")
    assert (await _got(world)).backends == {a.name: 200}


async def test_endpoints_join_and_leave_under_load(world: World) -> None:
    """Exact: no failed request, and each request reached exactly one backend, once.

    Every 50 ms one endpoint is replaced; a leaving backend goes on with what it has in flight and closes soon after Envoy has
    acknowledged that it is gone (its worker hears of that a moment later). Some requests take 80 ms, so that backends leave with
    requests in flight.
    """
    serving = await _site(world, 5)
    everyone, ending, busy = list(serving), [], 0
    async with load(world.port, concurrency=10) as quick, load(world.port, concurrency=4, path="/?delay=0.08") as slow:
        for _ in range(40):
            pause = asyncio.create_task(asyncio.sleep(0.05))
            leaving = serving.pop(0)
            joining = await world.backend("a")
            serving.append(joining)
            everyone.append(joining)
            world.endpoints("a", serving)
            await world.delivered()
            busy += leaving.in_flight > 0
            ending.append(asyncio.create_task(_finish(leaving)))
            await pause
    await asyncio.gather(*ending)

    assert quick.failures == []
    assert slow.failures == []
    answered = quick.backends + slow.backends
    assert answered == Counter({backend.name: backend.count for backend in everyone})
    assert answered.total() > 1000
    assert busy > 5  # else the test did not meet what it is about


async def _finish(leaving: Backend) -> None:
    await asyncio.sleep(0.1)
    await leaving.finish()


async def test_scaling_to_zero_and_back(world: World) -> None:
    """Exact: while there is an endpoint each request gets 200, and while there is none each gets 503; nothing else, no hang."""
    (only,) = await _site(world, 1)
    for _ in range(10):
        world.endpoints("a", [])
        tally = await _got(world, 20)
        assert len(tally.failures) == 20
        world.endpoints("a", [only])
        assert (await _got(world, 20)).backends == {only.name: 20}


async def test_a_side_without_endpoints_gives_its_share_to_the_others(world: World) -> None:
    """Exact: no failure, all of 300 on the living sides, whose proportion stays (binomial interval (300, 3/4), p < 1e-6)."""
    for name in ("a", "b", "c"):
        await world.service(name, 1)
    world.policy("shop", site(listener(world.port), route("all", {"a": 3, "b": 1, "c": 6})))
    world.endpoints("c", [])
    tally = await _got(world, 300)

    low, high = binomial_bounds(300, 3 / 4)
    assert tally.failures == []
    assert low <= tally.backends["a-1"] <= high
    assert set(tally.backends) == {"a-1", "b-2"}
    assert world.is_true("shop", "Degraded")
    assert "shop/c" in world.condition("shop", "Degraded")["message"]


async def test_a_side_that_never_had_a_slice(world: World) -> None:
    """Exact: a Service without any slice is a side without endpoints."""
    await world.service("a", 1)
    await world.service("b", 0)
    world.delete("EndpointSlice", "b")
    world.policy("shop", site(listener(world.port), route("all", {"a": 1, "b": 1})))
    assert (await _got(world, 100)).backends == {"a-1": 100}


async def test_a_side_dies_and_returns_under_load(world: World) -> None:
    """Exact: a side of a split loses its last endpoint and gets it back, 25 times under load, and no request fails."""
    await world.service("a", 1)
    (b,) = await world.service("b", 1)
    world.policy("shop", site(listener(world.port), route("all", {"a": 1, "b": 1})))
    await world.settled()

    async with load(world.port, concurrency=12) as tally:
        for _ in range(25):
            world.endpoints("b", [])
            await world.delivered()
            world.endpoints("b", [b])
            await world.delivered()
    assert tally.failures == []
    assert tally.backends["b-2"] > 0


async def test_a_side_flaps_faster_than_it_is_programmed(world: World) -> None:
    """Exact: 150 deaths and returns, the next before the last is acknowledged, and no request fails."""
    await world.service("a", 1)
    (b,) = await world.service("b", 1)
    world.policy("shop", site(listener(world.port), route("all", {"a": 1, "b": 1})))
    await world.settled()

    async with load(world.port, concurrency=12) as tally:
        for number in range(300):
            world.endpoints("b", [b] * (number % 2))
            await asyncio.sleep(0.001 * (number % 7))
    assert tally.failures == []


async def test_a_dead_endpoint_is_retried_elsewhere(world: World) -> None:
    """Exact: a backend that refuses connections before its slice says so costs no request: another endpoint answers."""
    dead, *_ = await _site(world, 3)
    await dead.stop()
    tally = await _got(world, 300)
    assert tally.failures == []
    assert tally.backends.total() == 300


async def test_a_slice_that_cannot_be_read_changes_nothing(world: World) -> None:
    """Exact: its last good content stays."""
    (a,) = await _site(world, 1)
    world.apply(endpoint_slice("a", 99999, [endpoint("nowhere")]))
    assert (await _got(world, 50)).backends == {a.name: 50}


async def test_an_idle_client_is_not_disturbed_by_endpoint_changes(world: World) -> None:
    """Exact: one client connection lives through 30 changes of the endpoints."""
    a, b = await _site(world, 2)
    async with Client(world.port) as client:
        for number in range(30):
            world.endpoints("a", [a, b][number % 2 : number % 2 + 1])
            await world.delivered()
            assert (await client.get()).backend == (a, b)[number % 2].name
        assert client.connections == 1
