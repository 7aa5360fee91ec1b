"""Fallback backends: when they begin to get requests, and how many."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.backends import Backend
from tests.support.http_client import Client, cookie_pair, spread
from tests.support.manifests import listener, route, site
from tests.support.traffic import DRAINING, NOT_READY, READY, World

pytestmark = pytest.mark.timeout(60)

FALLBACK = {"name": "dr", "port": 80, "fallback": True}


async def _site(world: World, *sides: dict[str, Any], spec: Any = None, **fields: Any) -> None:
    refs = [*sides, FALLBACK]
    only = route("all", "a", retry={"attempts": 0}, **fields) | {"backendRefs": refs}
    world.policy("shop", site(listener(world.port), only, **(spec or {})))
    await world.settled()


async def _share(world: World, backends: list[Backend], count: int = 400) -> float:
    """Percent of the requests that these answer."""
    await world.delivered()
    tally = await spread(world.port, count)
    assert not tally.failures
    return 100 * sum(tally.backends[one.name] for one in backends) / count


@pytest.mark.parametrize(
    ("percent", "shares"),
    [(None, [0, 0, 28.5, 64.25, 100]), (100, [0, 25, 50, 75, 100]), (25, [0, 0, 0, 0, 100])],
    ids=["default, 70", "100", "25"],
)
async def test_it_begins_where_the_policy_says_and_grows_with_the_loss(
    world: World, percent: int | None, shares: list[float]
) -> None:
    """0 to 4 of 4 endpoints not ready; 400 requests each, and four standard deviations (10 points) around what is due."""
    own, dr = await world.service("a", 4), await world.service("dr", 2)
    fields = {} if percent is None else {"activateBelowHealthyPercent": percent}
    await _site(world, {"name": "a", "port": 80}, **fields)

    found = []
    for lost in range(5):
        world.endpoints("a", {one: NOT_READY if i < lost else READY for i, one in enumerate(own)})
        found.append(await _share(world, dr))
    for share, due in zip(found, shares, strict=True):
        assert abs(share - due) <= (10 if 0 < due < 100 else 0), (found, shares)

    world.endpoints("a", own)
    assert await _share(world, dr) == 0


async def test_a_dead_side_gives_its_share_to_the_others_and_all_dead_to_the_fallback(world: World) -> None:
    v1, v2, dr = await world.service("v1", 2), await world.service("v2", 2), await world.service("dr", 1)
    await _site(world, {"name": "v1", "port": 80, "weight": 3}, {"name": "v2", "port": 80})

    world.endpoints("v2", dict.fromkeys(v2, NOT_READY))
    await world.settled()
    assert await _share(world, v1) == 100
    assert "v2" in world.condition("shop", "Degraded")["message"]
    world.endpoints("v1", dict.fromkeys(v1, NOT_READY))
    await world.settled()
    assert await _share(world, dr) == 100
    assert "its fallbacks take its requests" in world.condition("shop", "Degraded")["message"]
    world.endpoints("v2", v2)
    await world.settled()
    assert await _share(world, v2) == 100


async def test_what_active_checks_find_counts_too(world: World) -> None:
    """Kubernetes calls all ready."""
    own, dr = await world.service("a", 2), await world.service("dr", 1)
    check = {"type": "HTTP", "http": {"path": "/up"}, "interval": "100ms", "timeout": "100ms", "jitter": "0s"}
    await _site(world, {"name": "a", "port": 80}, spec={"healthCheck": {"active": check}})
    for one in own:
        one.statuses["/up"] = "500 Internal Server Error"

    async with asyncio.timeout(20):
        while await _share(world, dr, 40) < 100:
            pass
    for one in own:
        one.statuses.clear()
    async with asyncio.timeout(20):
        while await _share(world, dr, 40) > 0:
            pass


async def test_a_session_goes_on_where_it_is_and_a_rollout_spills_nothing(world: World) -> None:
    """Endpoints that terminate are no loss: those that take their place are there."""
    own, dr = await world.service("a", 4), await world.service("dr", 1)
    await _site(world, {"name": "a", "port": 80})

    world.endpoints("a", {one: DRAINING if i < 3 else READY for i, one in enumerate(own)})
    assert await _share(world, dr) == 0


async def test_addresses_outside_the_cluster_may_be_fallbacks(world: World) -> None:
    own, outside = await world.service("a", 1), await world.backend("outside")
    spec = {"endpoints": [{"address": outside.address, "port": outside.port}]}
    metadata = {"name": "outside", "namespace": "shop"}
    world.apply({"apiVersion": "fairlead.dev/v1alpha1", "kind": "Backend", "metadata": metadata, "spec": spec})
    fallback = {"kind": "Backend", "name": "outside", "fallback": True}
    only = route("all", "a") | {"backendRefs": [{"name": "a", "port": 80}, fallback]}
    world.policy("shop", site(listener(world.port), only))
    await world.settled()

    assert await _share(world, own) == 100
    world.endpoints("a", dict.fromkeys(own, NOT_READY))
    assert await _share(world, [outside]) == 100


@pytest.mark.parametrize("spare", [0, 1], ids=["an empty fallback", "a fallback"])
async def test_a_degraded_endpoint_gets_nothing_while_a_healthy_one_is_left(world: World, spare: int) -> None:
    """1 of 4 is ready: it takes all, or its 35.75 percent, give or take ten. The others come when nothing else is left."""
    own, dr = await world.service("a", 4), await world.service("dr", spare)
    await _site(world, {"name": "a", "port": 80}, spec={"endpoints": {"notReady": "Degrade"}})

    world.endpoints("a", {one: READY if i < 1 else NOT_READY for i, one in enumerate(own)})
    assert await _share(world, own[1:]) == 0
    assert abs(await _share(world, own[:1]) - (35.75 if spare else 100)) <= (10 if spare else 0)
    world.endpoints("a", dict.fromkeys(own, NOT_READY))
    assert await _share(world, dr or own) == 100
    world.endpoints("dr", dict.fromkeys(dr, NOT_READY))
    assert await _share(world, own) == 100


@pytest.mark.parametrize("drain", ["KeepSessions", "MoveSessions"])
async def test_a_degraded_endpoint_keeps_its_session_beside_a_fallback(world: World, drain: str) -> None:
    own, _ = await world.service("a", 2), await world.service("dr", 1)
    spec = {"endpoints": {"notReady": "Degrade"}, "sessionPersistence": {"type": "Cookie", "drain": drain}}
    await _site(world, {"name": "a", "port": 80}, spec=spec)

    async with Client(world.port) as client:
        first = await client.get()
        cookie = {"cookie": cookie_pair(first.set_cookies[0])}
        world.endpoints("a", {one: NOT_READY if one.name == first.backend else READY for one in own})
        await world.delivered()
        assert {(await client.get(headers=cookie)).backend for _ in range(10)} == {first.backend}


async def test_panic_reaches_what_is_excluded_once_fallbacks_do_not_help(world: World) -> None:
    """The docs advise against both together: what is excluded is told there, to be counted."""
    own, dr = await world.service("a", 4), await world.service("dr", 1)
    await _site(world, {"name": "a", "port": 80}, spec={"healthCheck": {"panicThreshold": 50}})

    world.endpoints("a", {one: READY if i < 1 else NOT_READY for i, one in enumerate(own)})
    assert await _share(world, own[1:]) == 0
    world.endpoints("dr", dict.fromkeys(dr, NOT_READY))
    assert await _share(world, own[1:]) > 50
