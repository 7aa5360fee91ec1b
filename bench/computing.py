"""Our own work without any network: from objects to bytes. CPU time of one thread."""

from __future__ import annotations

import asyncio
import time

from bench import objects
from bench.figure import Figure
from fairlead_operator import reconcile
from fairlead_operator.loop import ENDPOINT_WINDOW, ControlPlane
from fairlead_operator.world import World
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.translate import Translator, endpoints


async def measure(services: int, *, quick: bool) -> list[Figure]:
    """Translation from nothing, and each kind of change, with *services*."""
    changes = await _changes(services, runs=20 if quick else 100)
    return [_translation(services, runs=3 if quick else 9), *changes]


def _translation(services: int, *, runs: int) -> Figure:
    """Objects that were read -> ready bytes and versions, nothing remembered; one route a service."""
    world = World()
    for raw in objects.cluster(services):
        world.apply(raw)
    samples = []
    for _ in range(runs):
        endpoints.lb_endpoint.cache_clear()
        start = time.thread_time()
        snapshots = Translator().run(reconcile.reconcile(world).proxies)
        _ready(snapshots[objects.GATEWAY])
        samples.append((time.thread_time() - start) * 1000)
    target = 1000.0 if services == 1000 else None
    return Figure(what="translation from scratch", services=services, unit="ms CPU", samples=samples, target=target)


async def _changes(services: int, *, runs: int) -> list[Figure]:
    store = Store()
    plane = ControlPlane(store, list)
    for raw in objects.cluster(services):
        plane.apply(raw)
    plane.synced()
    _ready(store.current(objects.GATEWAY))
    endpoint, policy, status = [], [], []
    for turn in range(1, runs + 1):
        await asyncio.sleep(2 * ENDPOINT_WINDOW)  # so that each is at the leading edge
        raw = objects.endpoint_slice(0, turn)
        before = store.current(objects.GATEWAY)
        start = time.thread_time()
        plane.apply(raw)
        _ready_again(store, before)
        endpoint.append((time.thread_time() - start) * 1000)
    for turn in range(1, max(3, runs // 10) + 1):
        raw = objects.policy(0, turn + 1)
        before = store.current(objects.GATEWAY)
        start = time.thread_time()
        plane.apply(raw)
        plane.run_config()
        _ready_again(store, before)
        policy.append((time.thread_time() - start) * 1000)
        start = time.thread_time()
        plane.run_status()
        status.append((time.thread_time() - start) * 1000)
    return [
        Figure(
            what=f"endpoint change of {objects.MANY}, event -> bytes ready",
            services=services,
            unit="ms CPU",
            samples=endpoint,
            target=1.0,
        ),
        Figure(what="policy change, event -> bytes ready", services=services, unit="ms CPU", samples=policy),
        Figure(what="status of all policies", services=services, unit="ms CPU", samples=status),
    ]


def _ready(snapshot: Snapshot) -> None:
    for type_url in TypeUrl:
        snapshot.type_version(type_url)
        for resource in snapshot.resources(type_url).values():
            assert resource.delta_wire


def _ready_again(store: Store, before: Snapshot) -> None:
    """Make ready what the first stream makes ready for all."""
    changes, after = store.changes(objects.GATEWAY, before), store.current(objects.GATEWAY)
    assert changes, "the change changed nothing: the figure would mean nothing"
    for type_url, names in changes.before.items():
        after.type_version(type_url)
        for name in names:
            assert after.resources(type_url)[name].delta_wire
