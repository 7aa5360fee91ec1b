"""Which requests a route takes: hostnames, paths, headers, timeouts, upgrades, and policies that share a port."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.http_client import Client, Response
from tests.support.manifests import attached, listener, route, site
from tests.support.traffic import DRAINING, World, free_port

pytestmark = pytest.mark.timeout(60)


def _path(kind: str, value: str, **fields: Any) -> dict[str, Any]:
    return {"path": {"type": kind, "value": value}, **fields}


async def _services(world: World, *names: str) -> None:
    for name in names:
        await world.service(name, 1)


async def _ask(world: World, host: str, path: str = "/", **headers: str) -> str:
    """Who answers: the Service; the status where nobody does."""
    async with Client(world.port) as client:
        answer = await client.get(path, headers, host=host)
    return _who(answer)


def _who(answer: Response) -> str:
    return answer.backend.rpartition("-")[0] or str(answer.status)


async def test_hostnames_the_most_specific_wins(world: World) -> None:
    """Exact. A wildcard covers any number of labels and not the bare name (Gateway API)."""
    await _services(world, "exact", "deep", "wild", "any")
    routes = [
        route("any", "any"),
        route("wild", "wild", hostnames=["*.example.com"]),
        route("deep", "deep", hostnames=["*.eu.example.com"]),
        route("exact", "exact", hostnames=["shop.example.com"]),
    ]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    assert await _ask(world, "shop.example.com") == "exact"
    assert await _ask(world, "SHOP.example.com:8443") == "exact"  # RFC 9110: case and port make no other host
    assert await _ask(world, "shop.example.com.:8443") == "exact"  # nor does the dot of the root
    assert await _ask(world, "www.example.com") == "wild"
    assert await _ask(world, "a.b.example.com") == "wild"
    assert await _ask(world, "a.eu.example.com") == "deep"
    assert await _ask(world, "example.com") == "any"
    assert await _ask(world, "example.org") == "any"


async def test_hostnames_fall_through_to_the_broader(world: World) -> None:
    """Exact: what the routes of a host do not match, routes of broader hostnames get."""
    await _services(world, "exact", "wild", "any")
    routes = [
        route("any", "any"),
        route("wild", "wild", hostnames=["*.example.com"], matches=[_path("PathPrefix", "/b")]),
        route("exact", "exact", hostnames=["shop.example.com"], matches=[_path("PathPrefix", "/a")]),
    ]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    assert await _ask(world, "shop.example.com", "/a/x") == "exact"
    assert await _ask(world, "shop.example.com", "/b") == "wild"
    assert await _ask(world, "shop.example.com", "/c") == "any"
    assert await _ask(world, "www.example.com", "/a") == "any"


async def test_a_listener_serves_its_hostnames_only(world: World) -> None:
    """Exact: 404 for other hosts."""
    await _services(world, "a")
    world.policy("shop", site(listener(world.port, "a.example.com", "*.b.example.com"), "a"))
    await world.settled()

    assert await _ask(world, "a.example.com") == "a"
    assert await _ask(world, "x.b.example.com") == "a"
    assert await _ask(world, "b.example.com") == "404"
    assert await _ask(world, "c.example.com") == "404"


async def test_path_precedence(world: World) -> None:
    """Exact: exact before regular expression before prefix, longer prefixes first, whatever the order in the policy."""
    await _services(world, "root", "short", "long", "regex", "exact")
    routes = [
        route("root", "root"),
        route("short", "short", matches=[_path("PathPrefix", "/api")]),
        route("long", "long", matches=[_path("PathPrefix", "/api/users/")]),
        route("regex", "regex", matches=[_path("RegularExpression", "/api/users/[0-9]+")]),
        route("exact", "exact", matches=[_path("Exact", "/api/users/42")]),
    ]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    expected = {
        "/": "root",
        "/apis": "root",  # PathPrefix takes whole segments
        "/api": "short",
        "/api/": "short",
        "/api?x=/api/users": "short",
        "/api/user": "short",
        "/api/users": "long",
        "/api/users/x": "long",
        "/api/users/7": "regex",
        "/api/users/7/orders": "long",  # an expression matches the whole path
        "/api/users/7?q=1": "regex",
        "/api/users/42": "exact",
        "/api/users/42/": "long",
        "/api//users/42": "exact",  # slashes are merged before the match
        "/api/x/../users/42": "exact",
    }
    assert {path: await _ask(world, "h", path) for path in expected} == expected


async def test_header_matches(world: World) -> None:
    """Exact: every header of a match must fit, one match of several is enough, and more headers come first."""
    await _services(world, "rest", "canary", "both", "present", "pattern")
    routes = [
        route("rest", "rest"),
        route("canary", "canary", matches=[{"headers": [{"name": "X-Env", "value": "canary"}]}]),
        route(
            "both",
            "both",
            matches=[{"headers": [{"name": "x-env", "value": "canary"}, {"name": "x-user", "value": "me"}]}],
        ),
        route("present", "present", matches=[{"headers": [{"type": "Present", "name": "x-debug"}]}]),
        route(
            "pattern",
            "pattern",
            matches=[
                {"headers": [{"type": "RegularExpression", "name": "x-version", "value": "v[0-9]+"}]},
                {"headers": [{"name": "x-other", "value": "1"}]},
            ],
        ),
    ]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    async def ask(**headers: str) -> str:
        return await _ask(world, "h", **{name.replace("_", "-"): value for name, value in headers.items()})

    assert await ask() == "rest"
    assert await ask(x_env="canary") == "canary"
    assert await ask(x_env="canary2") == "rest"
    assert await ask(x_env="canary", x_user="me") == "both"
    assert await ask(x_debug="") == "present"
    assert await ask(x_version="v12") == "pattern"
    assert await ask(x_version="v12-rc") == "rest"
    assert await ask(x_other="1") == "pattern"


async def test_timeouts(world: World) -> None:
    """504 comes for requests that take longer; the bounds of the times are the two timeouts, with much room."""
    (backend,) = await world.service("a", 1)
    routes = [
        route("request", "a", matches=[_path("PathPrefix", "/request")], timeouts={"request": "200ms"}),
        route(
            "try", "a", matches=[_path("PathPrefix", "/try")], timeouts={"request": "30s", "backendRequest": "200ms"}
        ),
        route(
            "once",
            "a",
            matches=[_path("PathPrefix", "/once")],
            timeouts={"request": "30s", "backendRequest": "200ms"},
            retry={"attempts": 0},
        ),
        route("none", "a", matches=[_path("PathPrefix", "/none")], timeouts={"request": "0s"}),
    ]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    assert await _ask(world, "h", "/request?delay=10") == "504"
    assert await _ask(world, "h", "/try?delay=10") == "504"
    assert await _ask(world, "h", "/once?delay=10") == "504"
    assert await _ask(world, "h", "/none?delay=0.5") == "a"
    assert await _ask(world, "h", "/request") == "a"
    assert backend.paths.count("/try?delay=10") == 1  # a request that may have been processed is not tried again


async def test_a_route_without_backend_answers_503_and_the_others_serve(world: World) -> None:
    """Exact: a Service that does not exist is a condition and 503 on its route."""
    await _services(world, "a")
    routes = [route("a", "a"), route("gone", "gone", matches=[_path("PathPrefix", "/gone")])]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    assert await _ask(world, "h", "/gone") == "503"
    assert await _ask(world, "h", "/") == "a"
    assert not world.is_true("shop", "ResolvedRefs")
    assert world.is_true("shop")


async def test_a_websocket_upgrade_passes(world: World) -> None:
    """Exact: 101 from the backend, then bytes in both directions, also while the route changes."""
    await _services(world, "a", "b")
    world.policy("shop", site(listener(world.port), "a"))
    await world.settled()
    async with Client(world.port) as client:
        upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        answer = await client.get("/chat", upgrade)
        assert (answer.status, answer.backend) == (101, "a-1")
        reader, writer = client.streams
        for number in range(3):
            world.policy("shop", site(listener(world.port), "ab"[number % 2]))
            await world.settled()
            writer.write(b"hello %d" % number)
            assert await reader.readexactly(7) == b"hello %d" % number


async def test_two_policies_share_a_port_by_hostname(world: World) -> None:
    """Exact: each has its hosts, and the end of one leaves the other and its connections alone."""
    await _services(world, "a", "b")
    world.policy("one", site(listener(world.port, "a.example.com"), "a"))
    world.policy("two", site(listener(world.port, "b.example.com"), "b"))
    await world.settled()
    assert world.is_true("one")
    assert world.is_true("two")
    assert await _ask(world, "a.example.com") == "a"
    assert await _ask(world, "b.example.com") == "b"

    async with Client(world.port, host="a.example.com") as client:
        assert _who(await client.get()) == "a"
        world.delete("LoadBalancerPolicy", "two")
        await world.settled()
        assert _who(await client.get()) == "a"
        assert client.connections == 1
    assert await _ask(world, "b.example.com") == "404"


async def test_of_two_policies_that_claim_a_host_the_older_has_it(world: World) -> None:
    """Exact: the younger is Conflicted with the older one's name; it takes over when the older is gone."""
    await _services(world, "a", "b")
    world.policy("younger", site(listener(world.port, "a.example.com"), "b"))
    await world.settled()
    world.policy("older", site(listener(world.port, "a.example.com"), "a"), age=10)
    await world.settled()

    assert await _ask(world, "a.example.com") == "a"
    assert world.is_true("older")
    conflict = world.condition("younger", "Accepted")
    assert (conflict["status"], conflict["reason"]) == ("False", "Conflicted")
    assert "shop/older" in conflict["message"]
    assert not world.is_true("younger")

    world.delete("LoadBalancerPolicy", "older")
    await world.settled()
    assert await _ask(world, "a.example.com") == "b"
    assert world.is_true("younger")


async def test_a_listener_that_names_a_host_has_it_before_a_wildcard(world: World) -> None:
    """Exact: Envoy would refuse a port's table that holds a host twice. The closer listener gets it, the other is told so."""
    await _services(world, "a", "b")
    routes = [route("a", "a", hostnames=["a.example.com"]), route("rest", "a")]
    world.policy("wild", site(listener(world.port, "*.example.com"), routes), age=10)
    world.policy("close", site(listener(world.port, "a.example.com"), "b"))
    await world.settled()

    assert await _ask(world, "a.example.com") == "b"
    assert await _ask(world, "b.example.com") == "a"
    assert world.is_true("close")
    assert world.is_true("wild")
    assert world.condition("wild", "Degraded")["reason"] == "HostnameTaken"


async def test_an_attached_policy_speaks_for_its_service_wherever_it_is_used(world: World) -> None:
    """Exact (round robin ±1): loadBalancer and sessionPersistence hold in two policies on two ports, and end with it."""
    await world.service("a", 3)
    await _services(world, "b")
    other = free_port()
    split = route("all", {"a": 1, "b": 1})
    world.policy("one", site(listener(world.port), "a", loadBalancer={"type": "Random"}))
    world.policy("two", site(listener(other), [split, route("b", "b", matches=[_path("PathPrefix", "/b")])]))
    world.policy("for-a", attached("a", loadBalancer={"type": "RoundRobin"}, sessionPersistence={"name": "STICKY"}))
    await world.settled()
    assert world.is_true("for-a")
    assert world.status("for-a")["proxies"]["summary"] == "1/1"

    for port in (world.port, other):
        counts: dict[str, int] = {}
        async with Client(port) as client:
            for _ in range(90):
                answer = await client.get()
                sticky = answer.backend.startswith("a-")
                assert [c.startswith("STICKY=") for c in answer.set_cookies] == ([True] if sticky else [])
                if sticky:
                    counts[answer.backend] = counts.get(answer.backend, 0) + 1
            assert (await client.get("/b")).set_cookies == [] or port == world.port
        assert len(counts) == 3
        assert max(counts.values()) - min(counts.values()) <= 1

    world.delete("LoadBalancerPolicy", "for-a")
    await world.settled()
    async with Client(world.port) as client:
        assert (await client.get()).set_cookies == []


async def test_an_attached_policy_sets_endpoints(world: World) -> None:
    """Exact: allTerminating Fail by the attached policy."""
    (a,) = await world.service("a", 1)
    world.policy("site", site(listener(world.port), "a"))
    world.policy("for-a", attached("a", endpoints={"allTerminating": "Fail"}))
    world.endpoints("a", {a: DRAINING})
    await world.settled()
    assert await _ask(world, "h") == "503"
    world.delete("LoadBalancerPolicy", "for-a")
    await world.settled()
    assert await _ask(world, "h") == "a"
