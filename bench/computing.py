"""Our own work without any network: from objects to bytes. CPU time of one thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from bench import objects, streams
from bench.figure import Figure
from fairlead_operator import reconcile
from fairlead_operator.loop import ENDPOINT_WINDOW, ControlPlane
from fairlead_operator.world import World
from fairlead_xds.snapshot import Changes, Snapshot, TypeUrl
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
    plane = _Plane(services)
    pairs = [streams.Pair(number, plane.snapshot) for number in range(50)]
    endpoint, push, policy, status = [], [], [], []
    for turn in range(1, runs + 1):
        await asyncio.sleep(2 * ENDPOINT_WINDOW)  # so that each is at the leading edge
        spent, changes = plane.change(objects.endpoint_slice(0, turn))
        endpoint.append(spent)
        push.append(streams.cost(pairs, plane.snapshot, changes))
    for turn in range(1, max(3, runs // 10) + 1):
        policy.append(plane.change(objects.policy(0, turn + 1), plane.run_config)[0])
        start = time.thread_time()
        plane.run_status()
        status.append((time.thread_time() - start) * 1000)

    def figure(what: str, unit: str, samples: list[float], target: float | None = None) -> Figure:
        return Figure(what=what, services=services, unit=unit, samples=samples, target=target)

    return [
        figure(f"endpoint change of {objects.MANY}, event -> bytes ready", "ms CPU", endpoint, 1.0),
        figure("policy change, event -> bytes ready", "ms CPU", policy),
        figure("status of all policies", "ms CPU", status),
        figure("our share of a push and its ACK, without gRPC", "µs CPU", push, 20.0),
    ]


class _Plane(ControlPlane):
    """A control plane without a server."""

    def __init__(self, services: int) -> None:
        self.store = Store()
        super().__init__(self.store, list)
        for raw in objects.cluster(services):
            self.apply(raw)
        self.synced()
        _ready(self.snapshot)

    @property
    def snapshot(self) -> Snapshot:
        return self.store.current(objects.GATEWAY)

    def change(self, raw: dict[str, Any], lane: Callable[[], None] = lambda: None) -> tuple[float, Changes]:
        """ms of CPU from an event until the first stream could be written to, and what changed."""
        before = self.snapshot
        self._damping.retain(set())  # more changes than any Service makes without a rest
        start = time.thread_time()
        self.apply(raw)
        lane()
        changes = self.store.changes(objects.GATEWAY, before)
        for type_url, names in changes.before.items():
            self.snapshot.type_version(type_url)
            for name in names:
                assert self.snapshot.resources(type_url)[name].delta_wire
        spent = time.thread_time() - start
        assert changes, "the change changed nothing: the figure would mean nothing"
        return spent * 1000, changes


def _ready(snapshot: Snapshot) -> None:
    for type_url in TypeUrl:
        snapshot.type_version(type_url)
        for resource in snapshot.resources(type_url).values():
            assert resource.delta_wire
