"""What is tried again, on which endpoint, and what is not."""

from __future__ import annotations

import pytest

from tests.support.http_client import spread
from tests.support.manifests import listener, route, site
from tests.support.traffic import World

pytestmark = pytest.mark.timeout(60)

REQUESTS = 200


async def test_an_endpoint_that_refuses_connections_fails_no_request(world: World) -> None:
    """The default: a retry where the request was not seen, on the other endpoint."""
    dead, alive = await world.service("web", 2)
    world.policy("shop", site(listener(world.port), "web"))
    await world.settled()
    await dead.stop()

    tally = await spread(world.port, REQUESTS)

    assert not tally.failures
    assert tally.backends == {alive.name: REQUESTS}


async def test_without_retries_the_client_sees_the_refusal(world: World) -> None:
    """The same with ``attempts: 0``: the default is what mends it, and can be turned off."""
    dead, _ = await world.service("web", 2)
    world.policy("shop", site(listener(world.port), route("all", "web", retry={"attempts": 0})))
    await world.settled()
    await dead.stop()

    tally = await spread(world.port, REQUESTS)

    assert tally.failures


async def test_gateway_errors_are_tried_again_only_where_it_is_said(world: World) -> None:
    """A 502 of a backend has perhaps done its work: it is passed on, unless the route allows another try."""
    bad, good = await world.service("web", 2)
    bad.status = "502 Bad Gateway"
    eager = {"attempts": 2, "retryOn": ["ConnectFailure", "GatewayError"]}
    routes = [route("plain", "web"), route("eager", "web", matches=[{"path": {"value": "/eager"}}], retry=eager)]
    world.policy("shop", site(listener(world.port), routes))
    await world.settled()

    plain = await spread(world.port, REQUESTS)
    mended = await spread(world.port, REQUESTS, path="/eager")

    assert plain.failures
    assert not mended.failures
    assert mended.backends == {good.name: REQUESTS}
