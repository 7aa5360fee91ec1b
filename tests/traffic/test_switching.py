"""Make before break: what changes while requests run costs none of them."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead_xds.snapshot import TypeUrl
from tests.support.http_client import Client, load
from tests.support.manifests import Raw, attached, listener, route, site
from tests.support.traffic import World, free_port

pytestmark = pytest.mark.timeout(60)


async def _rotate(world: World, specs: list[Raw], *, rounds: int = 3) -> None:
    """Every spec in turn under load; Exact: no request fails."""
    world.policy("shop", specs[0])
    await world.settled()
    async with load(world.port, concurrency=10) as tally:
        for _ in range(rounds):
            for spec in specs:
                world.policy("shop", spec)
                await world.settled()
                assert world.is_true("shop")
    assert tally.failures == []
    assert tally.total > 300


async def test_a_route_switches_to_a_service_that_envoy_does_not_know_yet(world: World) -> None:
    """Exact: 12 switches between three Services, whose clusters come and go, and no failed request."""
    for name in ("a", "b", "c"):
        await world.service(name, 2)
    await _rotate(world, [site(listener(world.port), name) for name in ("a", "b", "c")], rounds=4)


async def test_a_route_switches_to_a_service_whose_pods_are_asked_first(world: World) -> None:
    """Exact: 12 switches between Services with active checks, whose clusters wait for the first of them; no failed request."""
    for name in ("a", "b", "c"):
        await world.service(name, 2)
    asked = {"type": "HTTP", "http": {"path": "/healthz"}, "interval": "100ms", "timeout": "100ms", "jitter": "0s"}
    check = {"active": asked}
    await _rotate(world, [site(listener(world.port), name, healthCheck=check) for name in ("a", "b", "c")], rounds=4)


async def test_r44_another_server_while_a_new_cluster_waits_for_its_checks(world: World) -> None:
    """Exact: Envoy asks the next server for routes, but not for clusters while one warms; the route waits, no failed request."""
    await world.service("a", 2)
    asked = await world.service("b", 2)
    for backend in asked:
        backend.gate.clear()
    check = {"active": {"type": "HTTP", "http": {"path": "/healthz"}, "interval": "15s", "timeout": "15s"}}
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    async with load(world.port) as tally:
        world.policy("shop", site(listener(world.port), "b", healthCheck=check))
        await world.until(lambda: all(backend.count for backend in asked))
        await world.another_server()
        await world.until(lambda: _waiting_routes(world) > 0)
        seen = tally.total
        await world.until(lambda: tally.total > seen + 200)
        assert _waiting_routes(world) > 0, "the first check was not waited for"
        for backend in asked:
            backend.gate.set()
        await world.settled()
        seen = tally.total
        await world.until(lambda: tally.total > seen + 50)
    assert tally.failures == []
    assert all(backend.count > 5 for backend in asked)


def _waiting_routes(world: World) -> int:
    """How many routes the proxy has asked for and not got."""
    states = [state for proxy in world.server.proxies() for state in proxy.stream.unsettled()]
    return sum(state.dirty for state in states if state.type_url is TypeUrl.ROUTE)


async def test_the_algorithm_changes(world: World) -> None:
    """Exact: each algorithm is another cluster over the same endpoints; 12 changes, no failed request."""
    await world.service("a", 3)
    balancers: list[dict[str, Any]] = [
        {"type": "RoundRobin"},
        {"type": "ConsistentHash", "consistentHash": {"hashOn": [{"type": "SourceIP"}]}},
        {"type": "Random"},
        {"type": "LeastRequest"},
    ]
    await _rotate(world, [site(listener(world.port), "a", loadBalancer=balancer) for balancer in balancers])


async def test_sessions_come_and_go(world: World) -> None:
    """Exact: sessionPersistence on, changed and off, on a split too; no failed request."""
    await world.service("a", 2)
    await world.service("b", 1)
    specs = [
        site(listener(world.port), "a"),
        site(listener(world.port), "a", sessionPersistence={"name": "one"}),
        site(listener(world.port), route("all", {"a": 1, "b": 2}), sessionPersistence={"drain": "MoveSessions"}),
    ]
    await _rotate(world, specs)


async def test_an_attached_policy_comes_and_goes(world: World) -> None:
    """Exact: 10 changes of how a Service is balanced, no failed request."""
    await world.service("a", 3)
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    async with load(world.port) as tally:
        for number in range(10):
            if number % 2:
                world.delete("LoadBalancerPolicy", "for-a")
            else:
                world.policy("for-a", attached("a", loadBalancer={"type": "RoundRobin"}))
            await world.settled()
    assert tally.failures == []


async def test_changes_faster_than_they_are_programmed(world: World) -> None:
    """Exact: 100 changes of Service, weights and endpoints without waiting for any; no failed request, the last one counts."""
    backends = {name: await world.service(name, 2) for name in ("a", "b", "c")}
    splits: list[dict[str, int]] = [{"a": 1}, {"b": 1, "c": 1}, {"c": 3, "a": 1}, {"b": 1}]
    world.policy("shop", site(listener(world.port), route("all", splits[0])))
    await world.settled()
    async with load(world.port, concurrency=10) as tally:
        for number in range(100):
            world.policy("shop", site(listener(world.port), route("all", splits[number % 4])))
            name = "abc"[number % 3]
            world.endpoints(name, backends[name][number % 2 :])
            async with Client(world.port) as client:
                await client.get()
        await world.settled()
        async with Client(world.port) as client:
            assert {(await client.get()).backend[0] for _ in range(20)} == {"b"}
    assert tally.failures == []


async def test_a_listener_comes_and_another_stays(world: World) -> None:
    """Exact: opening and closing a second port does not touch a connection of the first."""
    other = free_port()
    await world.service("a", 1)
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    async with Client(world.port) as client:
        for _ in range(3):
            world.policy("second", site(listener(other), "a"))
            await world.settled()
            async with Client(other) as there:
                assert (await there.get()).status == 200
            world.delete("LoadBalancerPolicy", "second")
            await world.settled()
            assert (await client.get()).status == 200
        assert client.connections == 1
    async with Client(other) as there:
        with pytest.raises(OSError, match="Connect call failed"):
            await there.get()


async def test_the_control_plane_goes_away(world: World) -> None:
    """Exact: without a server Envoy goes on with what it has; 200 of 200."""
    await world.service("a", 2)
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    await world.server.stop(0.1)
    async with Client(world.port) as client:
        assert [(await client.get()).status for _ in range(200)] == [200] * 200
