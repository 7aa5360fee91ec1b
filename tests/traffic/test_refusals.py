"""What Envoy refuses although our validation passed it: blame, quarantine, and everybody else's traffic."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support import traffic
from tests.support.http_client import Client, load
from tests.support.manifests import Raw, listener, route, secret, site
from tests.support.traffic import World
from tests.support.traffic_tls import Authority, weak

pytestmark = pytest.mark.timeout(60)

#: More than the 1,000 RE2 instructions of the bootstrap, and still RE2.
TOO_LARGE = "/(abc){600}"
#: More than Envoy's own limit of 100, less than ours.
LARGE = "/(abc){100}"
HOSTS = ("a", "b", "c")


def _site(world: World, host: str, *, pattern: str = "/.*", backend: str = "") -> Raw:
    """A site on the shared port; all sites of a plain port are in one route table."""
    match = {"path": {"type": "RegularExpression", "value": pattern}}
    return site(listener(world.port, f"{host}.example.com"), route("all", backend or host, matches=[match]))


async def _three_services(world: World) -> None:
    for host in HOSTS:
        await world.service(host, 1)
    await world.service("new", 1)


async def _who(world: World, host: str, path: str = "/") -> str:
    async with Client(world.port) as client:
        answer = await client.get(path, host=f"{host}.example.com")
    return answer.backend.rpartition("-")[0] or str(answer.status)


def _assert_refused(world: World, name: str) -> None:
    programmed = world.condition(name, "Programmed")
    assert (programmed["status"], programmed["reason"]) == ("False", "Rejected")
    assert re.search("regex.*too large|max program size|program size", programmed["message"]), programmed["message"]
    assert "edge-" in programmed["message"]
    assert world.status(name)["proxies"]["rejected"] == len(world.envoys)


async def test_an_update_that_envoy_refuses_leaves_all_as_it_was(world: World) -> None:
    """Exact: the guilty policy is told Envoy's words and keeps serving as before, others move on, a new Envoy is served."""
    await _three_services(world)
    for host in HOSTS:
        world.policy(host, _site(world, host))
    await world.settled()

    async with load(world.port, host="a.example.com") as a, load(world.port, host="b.example.com") as b:
        world.policy("b", _site(world, "b", pattern=TOO_LARGE, backend="new"))
        await world.settled()
        _assert_refused(world, "b")
        assert world.is_true("a")
        assert world.is_true("c")
        assert await _who(world, "b") == "b"

        world.policy("a", _site(world, "a", backend="new"))
        await world.settled()
        assert world.is_true("a")
        _assert_refused(world, "b")
        assert await _who(world, "a") == "new"
    assert a.failures == b.failures == []

    first = world.envoys[0]
    await world.start_envoy()
    await world.settled()
    await world.stop_envoy(first)
    assert [await _who(world, host) for host in HOSTS] == ["new", "b", "c"]
    assert world.is_true("a")
    assert world.condition("b", "Programmed")["reason"] == "Rejected"

    world.policy("b", _site(world, "b", backend="new"))
    await world.settled()
    assert world.is_true("b")
    assert await _who(world, "b") == "new"


async def test_the_guilty_among_many_new_policies_is_found(world: World) -> None:
    """Exact: three new policies arrive together in one route table; the two good ones serve, the bad one has the blame."""
    await _three_services(world)
    for host in HOSTS:
        world.policy(host, _site(world, host, pattern=TOO_LARGE if host == "b" else "/.*"))
    await world.settled()

    _assert_refused(world, "b")
    assert [await _who(world, host) for host in HOSTS] == ["a", "404", "c"]
    assert world.is_true("a")
    assert world.is_true("c")

    world.policy("b", _site(world, "b"))
    await world.settled()
    assert all(world.is_true(host) for host in HOSTS)
    assert await _who(world, "b") == "b"


async def test_two_guilty_among_many(world: World) -> None:
    """Exact: both are found, and the end of one of them changes nothing for the rest."""
    await _three_services(world)
    for host in HOSTS:
        world.policy(host, _site(world, host, pattern="/.*" if host == "c" else TOO_LARGE))
    await world.settled()
    _assert_refused(world, "a")
    _assert_refused(world, "b")
    assert [await _who(world, host) for host in HOSTS] == ["404", "404", "c"]

    world.delete("LoadBalancerPolicy", "a")
    await world.settled()
    _assert_refused(world, "b")
    assert await _who(world, "c") == "c"


async def test_a_new_policy_that_envoy_refuses_on_a_port_that_serves(world: World) -> None:
    """Exact: the port's other hosts serve without a failed request, and their later changes reach Envoy."""
    await _three_services(world)
    world.policy("a", _site(world, "a"))
    await world.settled()
    async with load(world.port, host="a.example.com") as tally:
        world.policy("b", _site(world, "b", pattern=TOO_LARGE))
        await world.settled()
        _assert_refused(world, "b")
        world.policy("c", _site(world, "c"))
        await world.settled()
        assert world.is_true("c")
        assert await _who(world, "c") == "c"
        _assert_refused(world, "b")
    assert tally.failures == []


async def test_two_proxies_refuse(world: World) -> None:
    """Exact: both have the good policies, and the bad one names both."""
    await _three_services(world)
    await world.start_envoy()
    world.policy("a", _site(world, "a"))
    world.policy("b", _site(world, "b", pattern=TOO_LARGE))
    await world.settled()
    assert world.is_true("a")
    assert world.status("a")["proxies"]["summary"] == "2/2"
    programmed = world.condition("b", "Programmed")
    assert programmed["reason"] == "Rejected"
    assert world.status("b")["proxies"]["summary"] == "0/2"


async def test_the_bootstrap_raises_the_limit_of_regular_expressions() -> None:
    """Exact: a pattern between Envoy's limit and ours is served with our bootstrap, and refused without its runtime layer."""

    def without_runtime(config: dict[str, Any]) -> None:
        del config["layered_runtime"]

    for change, programmed in ((None, True), (without_runtime, False)):
        async with traffic.world(envoy=False) as world:
            await world.start_envoy(change=change)
            await _three_services(world)
            world.policy("a", _site(world, "a", pattern=LARGE))
            await world.settled()
            assert world.is_true("a") is programmed
            if programmed:
                assert await _who(world, "a", "/" + "abc" * 100) == "a"
                assert await _who(world, "a", "/" + "abc" * 99) == "404"
            else:
                _assert_refused(world, "a")


async def test_what_one_envoy_refuses_though_another_has_it(world: World) -> None:
    """Exact: an Envoy with a lower limit comes later; the policy has its words and its name, and who serves goes on."""

    def without_runtime(config: dict[str, Any]) -> None:
        del config["layered_runtime"]

    await _three_services(world)
    world.policy("a", _site(world, "a", pattern=LARGE))
    world.policy("b", _site(world, "b"))
    await world.settled()
    assert world.is_true("a")

    async with load(world.port, path="/" + "abc" * 100, host="a.example.com") as tally:
        late = await world.start_envoy(change=without_runtime)
        await world.settled()
        programmed = world.condition("a", "Programmed")
        assert (programmed["status"], programmed["reason"]) == ("False", "Rejected")
        assert f"refused by {late.name}: " in programmed["message"]
        assert "program size" in programmed["message"]
        await world.stop_envoy(late)
        await world.settled()
    assert world.is_true("a")
    assert tally.failures == []


async def test_a_certificate_that_envoy_refuses(world: World) -> None:
    """Exact: the host keeps its certificate, its policy has Envoy's words, the other host is not touched, nor a new Envoy's."""
    authority = Authority()
    pairs = {host: authority.issue(f"{host}.example.com") for host in "ab"}
    for host, pair in pairs.items():
        await world.service(host, 1)
        world.apply(secret(host, pair.certificate, pair.key))
        world.policy(host, site(listener(world.port, f"{host}.example.com", secret=host), host))
    await world.settled()

    bad = weak("a.example.com")
    world.apply(secret("a", bad.certificate, bad.key))
    await world.settled()

    async def shown(host: str) -> bytes:
        async with Client(world.port, host=f"{host}.example.com", tls=authority.client()) as client:
            assert (await client.get()).backend.startswith(host)
            return client.certificate

    def told() -> str:
        conditions = world.status("a")["conditions"]
        return " ".join(entry["message"] for entry in conditions if entry["status"] == "False")

    assert await shown("a") == pairs["a"].der
    assert await shown("b") == pairs["b"].der
    assert "2048" in told()
    assert world.is_true("b")

    first = world.envoys[0]
    await world.start_envoy()
    await world.settled()
    await world.stop_envoy(first)
    assert await shown("b") == pairs["b"].der
    assert await shown("a") == pairs["a"].der

    good = authority.issue("a.example.com")
    world.apply(secret("a", good.certificate, good.key))
    await world.settled()
    assert world.is_true("a")
    assert await shown("a") == good.der
