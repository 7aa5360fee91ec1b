"""Strong affinity: a session names one endpoint, whatever the algorithm, until the endpoint or the session is gone."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import pytest

from tests.support.backends import Backend
from tests.support.http_client import Client, Response, cookie_pair, load
from tests.support.manifests import listener, site
from tests.support.traffic import DRAINING, NOT_READY, READY, World

pytestmark = pytest.mark.timeout(60)

PERSISTENCE = {"type": "Cookie", "name": "SID"}


async def _site(world: World, count: int = 4, **persistence: Any) -> list[Backend]:
    backends = await world.service("a", count)
    fields: dict[str, Any] = {
        "sessionPersistence": {**PERSISTENCE, **persistence},
        "loadBalancer": {"type": "RoundRobin"},
    }
    world.policy("shop", site(listener(world.port), "a", **fields))
    await world.settled()
    return backends


async def _session(client: Client) -> tuple[str, str]:
    """A new session: its cookie and its endpoint."""
    answer = await client.get()
    assert answer.status == 200
    (set_cookie,) = answer.set_cookies
    return cookie_pair(set_cookie), answer.backend


async def _session_on(world: World, client: Client, backend: Backend) -> str:
    while True:
        cookie, home = await _session(client)
        if home == backend.name:
            return cookie


async def _again(client: Client, cookie: str) -> Response:
    return await client.get(headers={"cookie": cookie})


def _with(backends: list[Backend], changed: Mapping[Backend, Mapping[str, bool]]) -> dict[Backend, Mapping[str, bool]]:
    return {backend: changed.get(backend, READY) for backend in backends}


async def test_a_session_stays(world: World) -> None:
    """Exact: 20 sessions of 30 requests each, on round robin, which alone would move at every request."""
    backends = await _site(world)

    async with Client(world.port) as client:
        homes = set()
        for _ in range(20):
            cookie, home = await _session(client)
            homes.add(home)
            for _ in range(30):
                answer = await _again(client, cookie)
                assert (answer.status, answer.backend, answer.set_cookies) == (200, home, [])
    assert homes == {backend.name for backend in backends}


async def test_a_session_drains_and_then_moves(world: World) -> None:
    """Exact: 50 of 50 stay while the endpoint terminates, 0 of 200 newcomers reach it, and once gone: 200 and a new cookie."""
    leaving, *others = backends = await _site(world)
    async with Client(world.port) as client:
        cookie = await _session_on(world, client, leaving)

        world.endpoints("a", _with(backends, {leaving: DRAINING}))
        await world.settled()
        assert world.status("shop")["endpoints"]["draining"] == 1
        assert {(await _again(client, cookie)).backend for _ in range(50)} == {leaving.name}
        newcomers = {(await _session(client))[1] for _ in range(200)}
        assert newcomers == {backend.name for backend in others}

        world.endpoints("a", others)
        await world.settled()
        answer = await _again(client, cookie)
        assert answer.status == 200
        assert answer.backend != leaving.name
        (moved,) = answer.set_cookies
        assert {(await _again(client, cookie_pair(moved))).backend for _ in range(50)} == {answer.backend}


async def test_move_sessions_moves_them_when_draining_begins(world: World) -> None:
    """Exact: no request of the session reaches the draining endpoint; each is answered with 200."""
    leaving, *_ = backends = await _site(world, drain="MoveSessions")
    async with Client(world.port) as client:
        cookie = await _session_on(world, client, leaving)
        assert (await _again(client, cookie)).backend == leaving.name

        world.endpoints("a", _with(backends, {leaving: DRAINING}))
        await world.settled()
        before = leaving.count
        answer = await _again(client, cookie)
        assert (answer.status, len(answer.set_cookies)) == (200, 1)
        moved = cookie_pair(answer.set_cookies[0])
        assert {(await _again(client, moved)).backend for _ in range(30)} == {answer.backend}
    assert leaving.count == before


async def test_terminating_exclude_moves_sessions_too(world: World) -> None:
    """Exact: an excluded endpoint is not in Envoy at all, so it keeps no session."""
    leaving, *_ = backends = await _site(world)
    world.policy(
        "shop",
        site(listener(world.port), "a", sessionPersistence=PERSISTENCE, endpoints={"terminating": "Exclude"}),
    )
    await world.settled()
    async with Client(world.port) as client:
        cookie = await _session_on(world, client, leaving)
        world.endpoints("a", _with(backends, {leaving: DRAINING}))
        await world.settled()
        answer = await _again(client, cookie)
    assert answer.status == 200
    assert answer.backend != leaving.name


async def test_a_session_leaves_an_endpoint_that_is_not_ready(world: World) -> None:
    """Exact: not ready is gone; the session gets another endpoint and a cookie for it."""
    failing, *_ = backends = await _site(world)
    async with Client(world.port) as client:
        cookie = await _session_on(world, client, failing)
        world.endpoints("a", _with(backends, {failing: NOT_READY}))
        await world.settled()
        answer = await _again(client, cookie)
    assert (answer.status, len(answer.set_cookies)) == (200, 1)
    assert answer.backend != failing.name


async def test_fail_answers_503_until_the_session_expires(world: World) -> None:
    """Exact, but for when: draining keeps the session; once gone each answer is 503 until the lifetime is over, then 200.

    Newcomers are not affected. The end of the lifetime is waited for, not timed.
    """
    leaving, *others = backends = await _site(world, onUnavailable="Fail", ttl="4s")
    async with Client(world.port) as client:
        cookie = await _session_on(world, client, leaving)
        world.endpoints("a", _with(backends, {leaving: DRAINING}))
        await world.settled()
        assert (await _again(client, cookie)).backend == leaving.name

        cookie = await _renewed(world, client, backends, leaving)
        world.endpoints("a", others)
        await world.settled()
        assert {(await _again(client, cookie)).status for _ in range(20)} == {503}
        assert (await client.get()).status == 200

        answer = await _again(client, cookie)
        while answer.status == 503:
            answer = await _again(client, cookie)
    assert (answer.status, len(answer.set_cookies)) == (200, 1)


async def _renewed(world: World, client: Client, backends: list[Backend], on: Backend) -> str:
    """A session with its whole lifetime before it."""
    world.endpoints("a", backends)
    await world.settled()
    return await _session_on(world, client, on)


@pytest.mark.parametrize(
    ("persistence", "attributes"),
    [
        ({}, {"Path=/", "HttpOnly"}),
        ({"ttl": "1h30m", "path": "/app"}, {"Max-Age=5400", "Path=/app", "HttpOnly"}),
        ({"secure": True, "sameSite": "None"}, {"Path=/", "HttpOnly", "Secure", "SameSite=None"}),
        ({"sameSite": "Lax"}, {"Path=/", "HttpOnly", "SameSite=Lax"}),
        ({"sameSite": "Strict", "secure": True}, {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"}),
    ],
    ids=["defaults", "ttl-path", "none-secure", "lax", "strict-secure"],
)
async def test_the_attributes_of_the_cookie(world: World, persistence: dict[str, Any], attributes: set[str]) -> None:
    """Exact: the attributes that were asked for, each once, and no others."""
    await _site(world, count=1, **persistence)

    async with Client(world.port) as client:
        (set_cookie,) = (await client.get("/app/x")).set_cookies
        outside = (await client.get("/other")).set_cookies

    pair, *parts = (part.strip() for part in set_cookie.split(";"))
    assert pair.startswith("SID=")
    assert sorted(parts) == sorted(attributes)
    assert len(outside) == (0 if "path" in persistence else 1)


async def test_a_cookie_cannot_name_an_endpoint_outside_of_the_backend(world: World) -> None:
    """Exact: a forged cookie for a server of another Service reaches none of it, and is balanced as a newcomer's."""
    (foreign,) = await world.service("other", 1)
    await _site(world)
    address = f"{foreign.address}:{foreign.port}".encode()
    forged = base64.b64encode(b"\x0a" + bytes([len(address)]) + address).decode()

    async with Client(world.port) as client:
        answer = await _again(client, f'SID="{forged}"')

    assert answer.status == 200
    assert foreign.count == 0


async def test_other_sessions_stay_while_endpoints_come_and_go(world: World) -> None:
    """Exact: endpoints join and leave 20 times under load; not one of the sessions elsewhere moves or fails."""
    home, *others = await _site(world)
    async with Client(world.port) as client, load(world.port, concurrency=4) as tally:
        cookie = await _session_on(world, client, home)
        for round_ in range(20):
            world.endpoints("a", [home, *others[round_ % 3 :]])
            await world.delivered()
            answers = [await _again(client, cookie) for _ in range(5)]
            assert {(answer.status, answer.backend) for answer in answers} == {(200, home.name)}
    assert tally.failures == []
