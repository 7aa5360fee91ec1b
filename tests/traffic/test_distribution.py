"""How requests are spread over the sides of a split and over the endpoints of one backend."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.support.http_client import Client, Response, spread
from tests.support.manifests import listener, route, site
from tests.support.statistics import binomial_bounds, chi_square, chi_square_bound_of_three
from tests.support.traffic import World

pytestmark = pytest.mark.timeout(60)


def _by_service(backends: Counter[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for name, count in backends.items():
        total[name.rpartition("-")[0]] += count
    return total


async def test_a_90_to_10_split(world: World) -> None:
    """The canary's count is within the exact binomial interval (3000, 0.1) that chance leaves with p < 1e-6."""
    await world.service("v1", 2)
    await world.service("v2", 1)
    world.policy("shop", site(listener(world.port), route("all", {"v1": 90, "v2": 10})))
    await world.settled()

    tally = await spread(world.port, 3000)

    low, high = binomial_bounds(3000, 0.1)
    assert not tally.failures
    assert low <= tally.backends["v2-3"] <= high
    assert set(tally.backends) == {"v1-1", "v1-2", "v2-3"}


async def test_a_5_3_1_split(world: World) -> None:
    """Pearson's chi-square of the three counts stays below 27.6, which chance exceeds with p = 1e-6."""
    for name in ("a", "b", "c"):
        await world.service(name, 1)
    world.policy("shop", site(listener(world.port), route("all", {"a": 5, "b": 3, "c": 1})))
    await world.settled()

    tally = await spread(world.port, 3000)

    counts = _by_service(tally.backends)
    assert not tally.failures
    assert chi_square([counts["a"], counts["b"], counts["c"]], [5, 3, 1]) < chi_square_bound_of_three()


async def test_a_weight_of_zero_gets_nothing(world: World) -> None:
    """Exact: none of 300."""
    await world.service("a", 1)
    await world.service("b", 1)
    world.policy("shop", site(listener(world.port), route("all", {"a": 1, "b": 0})))
    await world.settled()

    assert (await spread(world.port, 300)).backends == {"a-1": 300}


async def test_a_service_named_twice_gets_both_shares(world: World) -> None:
    """Binomial interval (2000, 0.75), p < 1e-6."""
    await world.service("a", 1)
    await world.service("b", 1)
    refs = [{"name": name, "port": 80, "weight": weight} for name, weight in (("a", 1), ("b", 1), ("a", 2))]
    world.policy("shop", site(listener(world.port), {"name": "all", "backendRefs": refs}))
    await world.settled()

    tally = await spread(world.port, 2000)

    low, high = binomial_bounds(2000, 0.75)
    assert low <= tally.backends["a-1"] <= high


async def test_changed_weights_act_when_they_are_programmed(world: World) -> None:
    """Exact: with 1:0 none, with 0:1 all of 200."""
    await world.service("a", 1)
    await world.service("b", 1)
    for weights, winner in (({"a": 1, "b": 0}, "a-1"), ({"a": 0, "b": 1}, "b-2")):
        world.policy("shop", site(listener(world.port), route("all", weights)))
        await world.settled()
        assert world.is_true("shop")
        assert (await spread(world.port, 200)).backends == {winner: 200}


async def test_round_robin_is_even(world: World) -> None:
    """Exact: one worker and one request at a time, so the counts differ by one at most."""
    await world.service("a", 4)
    world.policy("shop", site(listener(world.port), "a", loadBalancer={"type": "RoundRobin"}))
    await world.settled()

    counts = (await spread(world.port, 402, concurrency=1)).backends

    assert len(counts) == 4
    assert max(counts.values()) - min(counts.values()) <= 1


async def test_random_is_roughly_even(world: World) -> None:
    """Each of four counts is within the binomial interval (2000, 1/4); p < 1e-6 for the four together."""
    await world.service("a", 4)
    world.policy("shop", site(listener(world.port), "a", loadBalancer={"type": "Random"}))
    await world.settled()

    counts = (await spread(world.port, 2000)).backends

    low, high = binomial_bounds(2000, 1 / 4, looks=4)
    assert len(counts) == 4
    assert all(low <= count <= high for count in counts.values())


async def test_least_request_avoids_the_busy_endpoint(world: World) -> None:
    """An endpoint that answers nothing is picked only where both choices of two fall on it: 1/9 with three endpoints.

    So it gets no more than the binomial interval (500, 1/9) leaves (p < 1e-6), 94. A choice that is blind to load gives it
    167, and fewer than 111 with p < 1e-6. No clock: its requests hang until the count is taken.
    """
    stalled, *_ = await world.service("a", 3)
    world.policy("shop", site(listener(world.port), "a"))  # LeastRequest is the default
    await world.settled()
    stalled.gate.clear()
    hanging: list[asyncio.Task[Response]] = []
    clients = [Client(world.port)]

    async def ask() -> None:
        before = stalled.count
        request = asyncio.ensure_future(clients[-1].get())
        await world.until(lambda: request.done() or stalled.count > before)
        if not request.done():
            hanging.append(request)
            clients.append(Client(world.port))

    while not hanging:
        await ask()
    for _ in range(500):
        await ask()
    got = len(hanging) - 1
    stalled.gate.set()
    answers = await asyncio.gather(*hanging)
    for client in clients:
        await client.close()

    assert {answer.status for answer in answers} == {200}
    assert got <= binomial_bounds(500, 1 / 9)[1]
