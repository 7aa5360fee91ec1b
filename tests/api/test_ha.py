"""What dies costs no request: replicas of the operator, the API server, all of it, under load through real Envoys.

Each test says how many requests and connections there were. The status is right again within the time of the Lease.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import netns
from tests.support.installations import LEASE, RETRY, Installation, Load, Replica, installed
from tests.support.kube import Cluster
from tests.support.operating import Site, lasting

pytestmark = [pytest.mark.timeout(240), pytest.mark.needs_root]

#: The Lease runs out, a follower looks, and a busy machine computes.
WITHIN = 3 * (LEASE + 1.2 * RETRY + 2)  # a busy machine takes its time; what a run took is printed


@pytest.fixture
async def installation(kube: Cluster, site: Site, tmp_path: Path) -> AsyncIterator[Installation]:
    if why := netns.problem():
        pytest.skip(why)
    with netns.netns() as place:
        async with installed(kube, site, tmp_path, place) as it:
            yield it


def proved(what: str, load: Load, *more: str) -> None:
    print(f"{what}: {load}; {'; '.join(more)}")
    assert load.failures == []
    assert load.done > 300


async def still_works(it: Installation) -> None:
    """Endpoints come and go, and requests follow, without a failure."""
    new = await it.backend()
    await it.until(lambda: _asked(new), True, "a new backend is asked")
    old = it.backends[0]
    await it.retire(old)
    await it.until(lambda: _quiet(old), True, "a backend that is gone is not asked any more")
    await it.site.apply(it._slice(old))


async def _unready(replica: Replica) -> bool:
    said = await replica.page("/readyz")
    assert said in {"ok\n", "not ready: ending\n"} or "Connection refused" in said or "reset" in said
    return said != "ok\n"


async def _asked(backend: object) -> bool:
    return bool(getattr(backend, "count", 0))


async def _quiet(backend: object) -> bool:
    before = getattr(backend, "count", 0)
    await asyncio.sleep(0.3)
    return bool(getattr(backend, "count", 0) == before)


async def test_killing_the_leader_costs_no_request(installation: Installation) -> None:
    it = installation
    async with it.load() as load:
        leader = await it.leader()
        assert leader is not None
        leader.kill()
        generation = await it.change()
        took = await it.right(generation)
        await still_works(it)
        writes = await it.status_writes()
    proved("leader killed", load, f"status right after {took:.1f} s", f"status writes of the others {writes}")
    assert took < WITHIN
    assert (await it.leader()) is not None


async def test_killing_a_follower_costs_no_request(installation: Installation) -> None:
    it = installation
    leader = await it.leader()
    for _ in range(20):  # they choose their replica at random
        busy = [one for one in it.replicas if one is not leader and (await it.connected())[one.name]]
        if busy:
            break
        await it.start_envoy()
        await it.right(1)
    assert busy
    async with it.load() as load:
        busy[0].kill()
        generation = await it.change()
        took = await it.right(generation)
        await still_works(it)
        await asyncio.sleep(LEASE)
        await it.right(generation)  # still: the report of the dead does not count for ever, and nobody counts twice
        assert await it.leader() is leader
    proved("follower killed", load, f"status right after {took:.1f} s")
    assert took < WITHIN


async def test_killing_all_replicas_costs_no_request(installation: Installation) -> None:
    it = installation
    async with it.load() as load:
        for replica in it.replicas:
            replica.kill()
        generation = await it.change()
        await asyncio.sleep(LEASE)
        began = time.monotonic()
        for index in range(len(it.replicas)):
            it.start(index)
        await it.ready()
        started = time.monotonic() - began
        await it.right(generation)
        took = time.monotonic() - began
        await still_works(it)
    proved("all replicas killed", load, f"all ready after {started:.1f} s", f"status right after {took:.1f} s")
    assert took < started + WITHIN + 5  # a replica that starts leaves statuses alone for five seconds


async def test_killing_the_api_server_costs_no_request(installation: Installation) -> None:
    it = installation
    async with it.load() as load:
        it.kube.stop_apiserver()
        await asyncio.sleep(LEASE + 2)  # nobody leads any more
        for replica in it.replicas:
            assert await replica.page("/readyz") == "ok\n"
        await lasting(it.kube.start_apiserver)
        began = time.monotonic()
        generation = await it.change()
        await it.right(generation)
        took = time.monotonic() - began
        await still_works(it)
    proved("API server killed", load, f"status right after {took:.1f} s")
    assert took < WITHIN


async def test_killing_all_of_it_costs_no_request(installation: Installation) -> None:
    it = installation
    async with it.load() as load:
        for replica in it.replicas:
            replica.kill()
        it.kube.stop_apiserver()
        await asyncio.sleep(LEASE)
        began = time.monotonic()
        for index in range(len(it.replicas)):
            it.start(index)
        await asyncio.sleep(1)
        await lasting(it.kube.start_apiserver)
        generation = await it.change()
        await it.ready()
        started = time.monotonic() - began
        await it.right(generation)
        took = time.monotonic() - began
        await still_works(it)
    proved("all of it killed", load, f"all ready after {started:.1f} s", f"status right after {took:.1f} s")
    assert took < started + WITHIN + 5


async def test_a_rolling_upgrade_costs_no_request_and_hands_over_at_once(installation: Installation) -> None:
    it = installation
    async with it.load() as load:
        took = []
        for index, replica in enumerate(list(it.replicas)):
            ended = asyncio.create_task(replica.terminate())
            # Who serves nobody ends too soon to be seen ending.
            await it.until(lambda replica=replica: _unready(replica), True, "it is not ready")
            assert await ended == 0
            assert "Traceback" not in replica.process.log.read_text()
            new = it.start(index)
            await it.ready(new)
            generation = await it.change()
            took.append(await it.right(generation))
        await still_works(it)
        spread = await it.connected()
    proved(
        "operator rolled", load, f"status right after {[f'{t:.1f}' for t in took]} s", f"proxies at replicas {spread}"
    )
    assert max(took) < WITHIN
    assert sum(spread.values()) == len(it.envoys)
