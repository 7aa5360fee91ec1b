"""Each row of the table in ``docs/health.md``, seen by clients: newcomers, and one that has a session with the pod in question.

Of three pods one is in the row's state. What it gets is what the page says of its health.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.support.backends import Backend
from tests.support.health_table import ROWS, Row, spec
from tests.support.http_client import Client, cookie_pair, spread
from tests.support.manifests import listener, node, route, running_pod, site
from tests.support.traffic import DRAINING, NOT_READY, READY, World

pytestmark = pytest.mark.timeout(60)

ENDPOINTS = {
    "any": READY,
    "ready": READY,
    "not ready": NOT_READY,
    "terminating, serving": DRAINING,
    "terminating, not serving": {"ready": False, "serving": False, "terminating": True},
}
PODS: dict[str, dict[str, Any]] = {
    "any": {},
    "flapping": {},
    "a container waits": {"waiting": "CrashLoopBackOff"},
    "starting": {"started_probe": False},
    "restarting": {"restarts": 3},
}


@pytest.fixture
async def pods(world: World) -> list[Backend]:
    found = await world.service("a", 3)
    for one in found:
        world.apply(node(f"node-{one.name}"), running_pod(one.name, started=1.0))
    return found


def _policy(world: World, settings: dict[str, str]) -> None:
    fields: dict[str, Any] = {
        "sessionPersistence": {"type": "Cookie", "name": "SID"},
        "loadBalancer": {"type": "RoundRobin"},
        "endpoints": spec(settings),
    }
    world.policy("shop", site(listener(world.port), route("all", "a", retry={"attempts": 0}), **fields))


async def _session(client: Client, pod: Backend) -> str:
    """The cookie of a session with *pod*."""
    while True:
        answer = await client.get()
        if answer.backend == pod.name:
            return cookie_pair(answer.set_cookies[0])


def _arrange(world: World, row: Row, pod: Backend, others: list[Backend]) -> None:
    """The world as *row* has it."""
    ends = dict.fromkeys(others, NOT_READY if row.others == "none ready" else READY)
    if row.pod == "flapping":
        for _ in range(3):
            world.endpoints("a", {**ends, pod: NOT_READY})
            world.endpoints("a", {**ends, pod: READY})
    world.apply(running_pod(pod.name, **{"started": time.time(), **PODS[row.pod]}))
    if row.node == "lost":
        world.apply(node(f"node-{pod.name}", ready="Unknown"))
    world.endpoints("a", {**ends, pod: ENDPOINTS[row.endpoint]})


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_row(world: World, pods: list[Backend], row: Row) -> None:
    """Exact: of 60 newcomers and one session."""
    *others, pod = pods
    _policy(world, row.named)
    await world.settled()
    async with Client(world.port) as client:
        cookie = await _session(client, pod)
        _arrange(world, row, pod, others)
        await world.settled()
        newcomers = await spread(world.port, 60)
        again = await client.get(headers={"cookie": cookie})

    rest = set() if row.others == "none ready" else {one.name for one in others}
    assert not newcomers.failures
    assert set(newcomers.backends) == (rest | {pod.name} if row.health == "Healthy" else rest)
    assert (again.backend == pod.name) == (row.health != "Excluded")
    assert world.status("shop")["endpoints"]["ready"] == len(rest) + (row.health == "Healthy")
    if row.health == "Degraded":
        world.endpoints("a", {**dict.fromkeys(others, NOT_READY), pod: ENDPOINTS[row.endpoint]})
        await world.settled()
        if "notReady" not in row.named:  # else the others are degraded too
            assert set((await spread(world.port, 30)).backends) == {pod.name}
