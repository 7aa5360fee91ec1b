"""What Kubernetes knows beyond ready, seen by clients: restarts, startup probes, containers that wait, nodes that vanish."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.endpoints.ejections import Ejections
from fairlead_operator.endpoints.scout import Scout
from fairlead_operator.endpoints.targets import Target
from tests.support.backends import Backend
from tests.support.http_client import Client, cookie_pair, spread
from tests.support.manifests import listener, node, route, running_pod, site
from tests.support.traffic import READY, World, free_port

pytestmark = pytest.mark.timeout(60)

#: Held back for one second after the third restart.
HOLD = {"threshold": 3, "within": "1h", "hold": "1s"}


async def _site(world: World, **spec: Any) -> list[Backend]:
    backends = await world.service("a", 3)
    for backend in backends:
        world.apply(node(f"node-{backend.name}"), running_pod(backend.name))
    only = route("all", "a", retry={"attempts": 0})
    world.policy("shop", site(listener(world.port), only, **({"loadBalancer": {"type": "RoundRobin"}} | spec)))
    await world.settled()
    return backends


async def _names(world: World, count: int = 60) -> set[str]:
    await world.delivered()
    tally = await spread(world.port, count)
    assert not tally.failures
    return set(tally.backends)


async def test_an_endpoint_that_restarts_again_and_again_is_held_back_though_it_is_ready(world: World) -> None:
    a, b, c = await _site(world, endpoints={"restarting": HOLD})
    world.apply(running_pod(c.name, restarts=2, started=time.time()))
    assert await _names(world) == {a.name, b.name, c.name}  # twice is not again and again

    world.apply(running_pod(c.name, restarts=3, started=time.time() + 0.5))
    assert await _names(world) == {a.name, b.name}
    await world.settled()
    assert world.status("shop")["endpoints"]["degraded"] == 1

    await world.until(lambda: world.status("shop")["endpoints"]["degraded"] == 0)  # nothing was heard of it meanwhile
    assert await _names(world) == {a.name, b.name, c.name}


async def test_held_back_is_better_than_nothing(world: World) -> None:
    a, b, c = await _site(world, endpoints={"restarting": HOLD | {"hold": "1h"}})
    world.apply(running_pod(c.name, restarts=4, started=time.time()))
    assert await _names(world) == {a.name, b.name}

    world.endpoints("a", {a: {"ready": False}, b: {"ready": False}, c: READY})
    assert await _names(world) == {c.name}


async def test_it_comes_back_by_slow_start(world: World) -> None:
    """Of 300 requests right after the hold it has well under its third."""
    balancing = {"type": "RoundRobin", "slowStart": {"window": "3s"}}
    *_, c = await _site(world, endpoints={"restarting": HOLD | {"hold": "2s"}}, loadBalancer=balancing)
    await asyncio.sleep(3.2)  # all three are warm
    world.apply(running_pod(c.name, restarts=3, started=time.time()))
    await world.settled()
    await world.until(lambda: world.status("shop")["endpoints"]["degraded"] == 0)
    await world.delivered()
    first = (await spread(world.port, 300)).backends[c.name]
    await asyncio.sleep(3.2)
    last = (await spread(world.port, 300)).backends[c.name]

    assert first < 70
    assert abs(last - 100) <= 15


@pytest.mark.parametrize("drain", ["KeepSessions", "MoveSessions"])
async def test_a_session_stays_where_slow_start_is_to_come(world: World, drain: str) -> None:
    """On an endpoint that is held back for two seconds, and after that."""
    balancing = {"type": "RoundRobin", "slowStart": {"window": "3s"}}
    spec = {"loadBalancer": balancing, "sessionPersistence": {"type": "Cookie", "drain": drain}}
    await _site(world, endpoints={"restarting": HOLD | {"hold": "2s"}}, **spec)

    async with Client(world.port) as client:
        first = await client.get()
        cookie = {"cookie": cookie_pair(first.set_cookies[0])}
        world.apply(running_pod(first.backend, restarts=3, started=time.time()))
        await world.settled()
        assert world.status("shop")["endpoints"]["degraded"] == 1
        assert first.backend not in await _names(world)
        assert {(await client.get(headers=cookie)).backend for _ in range(10)} == {first.backend}
        await world.until(lambda: world.status("shop")["endpoints"]["degraded"] == 0)
        await world.delivered()
        assert {(await client.get(headers=cookie)).backend for _ in range(10)} == {first.backend}


@pytest.mark.parametrize(
    "state",
    [{"waiting": "CrashLoopBackOff"}, {"started_probe": False, "started": 1.0}],
    ids=["waits", "starting"],
)
async def test_a_pod_that_cannot_serve_is_out_though_its_address_is_published(world: World, state: Any) -> None:
    """publishNotReadyAddresses: the slice says ready."""
    a, b, c = await _site(world)

    world.apply(running_pod(c.name, **state))
    assert await _names(world) == {a.name, b.name}

    world.apply(running_pod(c.name, started=1.0))
    assert await _names(world) == {a.name, b.name, c.name}


@pytest.mark.parametrize(
    "fault",
    [{"ready": "Unknown"}, {"ready": "False"}, {"taint": "node.kubernetes.io/out-of-service"}, None],
    ids=["unreachable", "not ready", "out of service", "deleted"],
)
async def test_endpoints_of_a_node_that_vanished_leave_before_their_slice_says_so(world: World, fault: Any) -> None:
    a, b, c = await _site(world)
    name = f"node-{c.name}"

    if fault is None:
        world.delete_node(name)
    else:
        world.apply(node(name, **fault))
    assert await _names(world) == {a.name, b.name}

    world.apply(node(name))
    assert await _names(world) == {a.name, b.name, c.name}


async def test_when_too_many_nodes_are_lost_all_stay_and_it_is_said(world: World) -> None:
    a, b, c = await _site(world)
    for backend in (a, b):
        world.apply(node(f"node-{backend.name}", ready="Unknown"))

    assert await _names(world) == {a.name, b.name, c.name}
    await world.settled()
    condition = world.condition("shop", "Degraded")
    assert condition["reason"] == "NodesInDoubt"
    assert "2 of 3 nodes are lost at the same moment" in condition["message"]


async def test_whoever_wants_kubernetes_alone_to_decide_says_so(world: World) -> None:
    a, b, c = await _site(world, endpoints={"nodeLost": {"action": "Keep"}, "restarting": {"action": "Ignore"}})
    world.apply(node(f"node-{c.name}", ready="Unknown"))
    world.apply(running_pod(b.name, restarts=9, started=time.time()))

    assert await _names(world) == {a.name, b.name, c.name}


async def test_what_proxies_found_out_stands_beside_what_kubernetes_says(world: World) -> None:
    """A real Envoy is asked: one endpoint of three is ejected, one is not ready, and requests are counted."""
    passive = {"consecutive5xxErrors": 3, "interval": "100ms", "baseEjectionTime": "60s"}
    a, b, c = await _site(world, healthCheck={"passive": passive})
    b.status = "500 Internal Server Error"
    world.endpoints("a", {a: READY, b: READY, c: {"ready": False}})
    await world.settled()
    tally = await spread(world.port, 60)
    envoy = world.envoys[0]
    targets = [Target(envoy.name, "edge", "http://envoy", envoy.admin)]
    scout, ejections = Scout(world.plane, lambda _keys: targets), Ejections(world.plane, lambda _keys: targets)
    policy = Ref("LoadBalancerPolicy", "shop", "shop")

    async with asyncio.timeout(10):
        said = await scout.survey(policy)
        while not any(one["ejected"] for one in said["endpoints"]):
            await spread(world.port, 30)
            said = await scout.survey(policy)

    first, second, third = said["endpoints"]
    assert [one["pod"] for one in said["endpoints"]] == [a.name, b.name, c.name]
    assert [one["health"] for one in said["endpoints"]] == ["Healthy", "Healthy", "Excluded"]
    assert [one["ejected"] for one in said["endpoints"]] == [0, 1, 0]
    assert first["requests"] >= tally.backends[a.name]
    assert second["errors"] >= 3
    assert (third["proxies"], third["reason"]) == (0, "not ready")
    assert said["proxies"] == {"asked": 1, "answered": 1, "silent": []}

    await ejections.round()
    await world.settled()
    of_status = {"backend": "shop/a", "address": f"{b.address}:{b.port}", "pod": b.name, "node": f"node-{b.name}"}
    counts = {"ejectedBy": 1, "failedChecksBy": 0, "proxies": 1}
    why = {"reason": "passive checks of 1 proxy eject it"}
    assert world.status("shop")["ejectedEndpoints"] == [{**of_status, **counts, **why}]
    world.endpoints("a", {a: READY, c: READY})
    await world.settled()
    await ejections.round()
    await world.settled()
    assert world.status("shop")["ejectedEndpoints"] == []
    with pytest.raises(KeyError):
        await scout.survey(policy._replace(name="other"))


async def test_a_newcomer_that_has_not_answered_yet_is_not_told_as_one_that_fails(world: World) -> None:
    check = {"type": "HTTP", "http": {"path": "/up"}, "interval": "10s", "timeout": "10s", "unhealthyThreshold": 1}
    a, b, c = await _site(world, healthCheck={"active": check})
    world.endpoints("a", [a, b])
    await world.settled()
    c.gate.clear()
    world.endpoints("a", [a, b, c])
    await world.settled()
    envoy = world.envoys[0]
    ejections = Ejections(world.plane, lambda _keys: [Target(envoy.name, "edge", "http://envoy", envoy.admin)])
    async with asyncio.timeout(10):
        while not c.in_flight:  # noqa: ASYNC110 - it lives in another process
            await asyncio.sleep(0.02)
    await ejections.round()
    await world.settled()
    assert world.status("shop")["ejectedEndpoints"] == []
    assert c.name not in (await spread(world.port, 30)).backends

    c.status = "500 Internal Server Error"
    c.gate.set()
    async with asyncio.timeout(10):
        while not world.status("shop")["ejectedEndpoints"]:
            await ejections.round()
            await world.settled()
    (told,) = world.status("shop")["ejectedEndpoints"]
    assert (told["pod"], told["failedChecksBy"]) == (c.name, 1)


async def test_a_hostname_is_told_as_the_proxies_resolve_it(world: World) -> None:
    here_only = await Backend("far", "127.0.0.1", free_port()).start()
    hostnames = [{"hostname": "localhost", "port": here_only.port}, {"hostname": "nowhere.invalid", "port": 80}]
    backend = {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "far", "namespace": "shop"},
        "spec": {"endpoints": hostnames},
    }
    world.apply(backend)
    only = {"name": "all", "backendRefs": [{"kind": "Backend", "name": "far"}]}
    world.policy("shop", site(listener(world.port), only))
    await world.settled()
    envoy = world.envoys[0]
    scout = Scout(world.plane, lambda _keys: [Target(envoy.name, "edge", "http://envoy", envoy.admin)])

    try:
        async with asyncio.timeout(20):
            while not (await spread(world.port, 10)).backends:
                pass  # Envoy has not resolved it yet
        here, nowhere = (await scout.survey(Ref("LoadBalancerPolicy", "shop", "shop")))["endpoints"]
    finally:
        await here_only.stop()

    assert here["requests"] > 0
    assert (here["backend"], here["address"], here["health"]) == ("shop/far", f"localhost:{here_only.port}", "Healthy")
    assert (here["reason"], here["proxies"]) == ("a hostname, which Envoy resolves", 1)
    assert (nowhere["health"], nowhere["proxies"]) == ("Excluded", 0)
    assert nowhere["reason"] == "a hostname, which Envoy resolves: no proxy has an address of it"
