"""How many proxies the intervals of active checks are made for: over time, and over a restart."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.pods import CAPTURE, MODE
from fairlead_operator.app import Operator, OperatorOptions
from fairlead_operator.crowd import SHRINKS, Crowd, of_statuses, rounded
from fairlead_operator.loop import CLOSE, ControlPlane
from fairlead_operator.replicas.peers import LAG, Peers
from fairlead_operator.replicas.report import FleetReport
from fairlead_operator.status_writer import StatusWriter
from fairlead_xds.auth import Identity
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import DeltaClient
from tests.support.manifests import NAMESPACE, Raw, attached, listener, on_sidecars, pod, policy, site
from tests.support.wire import Wire
from tests.support.worlds import backend, policy_ref, world_of

CHECK: dict[str, Any] = {
    "healthCheck": {"active": {"type": "TCP", "tcp": {}, "interval": "2s", "timeout": "1s", "maxChecksPerSecond": 1}}
}
SITE = policy("site", site(listener(80), "web", **CHECK))
Status = dict[str, Any]


def test_proxies_are_rounded_up_to_a_power_of_two() -> None:
    assert rounded({"a": 1, "b": 2, "c": 3, "d": 64, "e": 65, "f": 0}) == {"a": 1, "b": 2, "c": 4, "d": 64, "e": 128}


# --- over time


def test_it_grows_at_once() -> None:
    crowd = Crowd()

    assert crowd.count({"edge": 1}, 0)
    assert not crowd.count({"edge": 1}, 1)
    assert crowd.count({"edge": 9}, 1)
    assert (crowd.now, crowd.due()) == ({"edge": 16}, None)


def test_it_shrinks_when_it_was_smaller_for_long_enough() -> None:
    crowd = Crowd()
    crowd.count({"edge": 16, "other": 2}, 0)

    assert not crowd.count({"edge": 1, "other": 2}, 10)
    assert (crowd.now["edge"], crowd.due()) == (16, 10 + SHRINKS)
    assert not crowd.count({"edge": 1, "other": 2}, 9.9 + SHRINKS)
    assert crowd.count({"edge": 1, "other": 2}, 10 + SHRINKS)
    assert (crowd.now, crowd.due()) == ({"edge": 1, "other": 2}, None)


def test_nobody_is_forgotten_in_the_end() -> None:
    crowd = Crowd()
    crowd.count({"edge": 3}, 0)
    crowd.count({}, 1)

    assert crowd.count({}, 1 + SHRINKS)
    assert (crowd.now, crowd.due()) == ({}, None)


def test_a_rollout_at_a_border_changes_nothing() -> None:
    """One leaves, another comes, sixteen times; at the border to 32 and at that to 16."""
    for size in (17, 16):
        crowd = Crowd()
        crowd.count({"edge": size}, 0)
        held = dict(crowd.now)

        for turn in range(size):
            assert not crowd.count({"edge": size - 1}, 10 * turn + 1)
            assert not crowd.count({"edge": size}, 10 * turn + 9)
        assert (crowd.now, crowd.due()) == (held, None)


def test_those_that_leave_one_after_another_are_one_change() -> None:
    """Each step down would be another cluster: it waits until there was none for as long."""
    crowd = Crowd()
    crowd.count({"edge": 64}, 0)

    changes = [second for second in range(1, 200) if crowd.count({"edge": max(1, 64 - second)}, second)]

    assert changes == [63 + SHRINKS]
    assert crowd.now == {"edge": 1}


def test_it_never_shrinks_below_what_there_was_meanwhile() -> None:
    crowd = Crowd()
    crowd.count({"edge": 16}, 0)
    crowd.count({"edge": 2}, 1)
    crowd.count({"edge": 7}, 50)

    assert crowd.count({"edge": 7}, 1 + SHRINKS)
    assert crowd.now == {"edge": 8}


def test_where_counts_may_hold_somebody_twice_it_grows_after_that_time() -> None:
    crowd = Crowd()
    crowd.count({"edge": 2}, 0)

    assert not crowd.count({"edge": 3}, 10, lag=3)
    assert not crowd.count({"edge": 2}, 11, lag=3)
    assert crowd.due() is None
    assert not crowd.count({"edge": 3}, 12, lag=3)
    assert not crowd.count({"edge": 5}, 13, lag=3)
    assert crowd.due() == 15
    assert crowd.count({"edge": 5}, 15, lag=3)
    assert crowd.now == {"edge": 8}


# --- what statuses tell


def _connected(**policies: int) -> dict[Ref, Status]:
    return {policy_ref(name): {"proxies": {"connected": count}} for name, count in policies.items()}


def test_a_gateway_has_as_many_as_its_policies_say() -> None:
    over = policy("over", attached("web", loadBalancer={"type": "Random"}))
    world = world_of(*backend("web"), SITE, policy("new", site(listener(81), "web")), over)

    assert of_statuses(world, _connected(site=16, over=50)) == {"edge": 16}


def test_a_group_of_sidecars_has_as_many_as_it_has_pods_and_at_most_what_its_policies_say() -> None:
    world = world_of(
        policy("all", on_sidecars({"app": "x"}, listener(80), "web")),
        policy("some", on_sidecars({"tier": "a"}, listener(81), "web")),
        *[pod(f"x{n}", {"app": "x"}) for n in range(5)],
        *[pod(f"xa{n}", {"app": "x", "tier": "a"}) for n in range(3)],
    )
    both, only = (group.key for group in sorted(world.pods.groups(), key=lambda group: -len(group.policies)))

    assert of_statuses(world, _connected(all=8, some=3)) == {both: 3, only: 5}
    assert of_statuses(world, _connected(all=4, some=1)) == {both: 3, only: 4}
    assert of_statuses(world, {}) == {both: 0, only: 0}


def test_sidecars_that_only_capture_are_told_of_by_attached_policies() -> None:
    over = policy("over", attached("web", loadBalancer={"type": "Random"}))
    world = world_of(*backend("web"), over, pod("x", {}, annotations={MODE: CAPTURE}))
    (group,) = world.pods.groups()

    assert of_statuses(world, _connected(over=4)) == {group.key: 1}


@pytest.mark.parametrize("status", [{}, {"proxies": None}, {"proxies": {"connected": "16"}}, {"proxies": [1]}])
def test_a_status_that_says_nothing_of_proxies_tells_nothing(status: Status) -> None:
    assert of_statuses(world_of(SITE), {policy_ref("site"): status}) == {"edge": 0}


# --- a control plane, and the one after it


class _Clocked(ControlPlane):
    """Its time is ``clock``."""

    clock = 1000.0

    def _time(self) -> float:  # type: ignore[override]
        return self.clock


class _Scene:
    """A control plane with its proxies, in virtual time: its own timer is what makes it run."""

    def __init__(
        self, *objects: Raw, statuses: dict[Ref, Status] | None = None, others: dict[str, int] | None = None
    ) -> None:
        self.store, self.peers = Store(), Peers("here", lasting=15)
        self.wire = Wire(self.store)
        if others is not None:
            self.reported(others)
        self.plane = _Clocked(self.store, self.wire.proxies, move=self.wire.move, peers=self.peers)
        for raw in (*backend("web"), *objects):
            self.plane.apply(raw)
        self.plane.statuses.update(statuses or {})
        self.plane.synced()

    def reported(self, connected: dict[str, int], stamp: str = "") -> None:
        self.peers.heard("there", FleetReport(connected), stamp or str(connected), 0)

    def after(self, seconds: float) -> None:
        end = self.plane.clock + seconds
        self.wire.deliver()
        while (due := self._due()) <= end:
            self.plane.clock = max(self.plane.clock, due)
            self.plane._came()
            self.wire.deliver()
        self.plane.clock = end

    def _due(self) -> float:
        timer = self.plane._timer
        if isinstance(timer, asyncio.TimerHandle):
            return timer.when()
        return float("inf") if timer is None else self.plane.clock + CLOSE

    def connect(self, count: int, first: int = 0) -> None:
        for number in range(first, first + count):
            self.wire.connect(self.plane.answers, DeltaClient(f"edge-{number}", "edge"))

    def connect_sidecar(self, name: str) -> None:
        key = self.plane.sidecar_keys.of_subject(NAMESPACE, name, f"uid-{name}")
        assert key
        identity = Identity(NAMESPACE, "default", name, f"uid-{name}")
        self.wire.connect(self.plane.answers, DeltaClient(name), identity=identity, key=key)

    def disconnect(self, name: str) -> None:
        self.wire.disconnect(self.plane.answers, name)

    def clusters(self) -> dict[tuple[str, str], bytes]:
        return {
            (key, name): resource.body
            for key in sorted(self.store.keys())
            for name, resource in self.store.current(key).resources(TypeUrl.CLUSTER).items()
        }

    def intervals(self) -> set[float]:
        """Of every cluster's check, in seconds."""
        checks = [check for body in self.clusters().values() for check in _checks(body)]
        return {check.interval.seconds + check.interval.nanos / 1e9 for check in checks}


def _checks(body: bytes) -> list[Any]:
    return list(cluster_pb2.Cluster.FromString(body).health_checks)


async def test_a_restart_changes_no_cluster_and_who_leaves_makes_checks_more_frequent_later() -> None:
    old = _Scene(SITE)
    old.connect(16)
    old.after(5)
    before = old.clusters()
    assert old.intervals() == {16.0}

    new = _Scene(SITE, statuses=old.plane.statuses)
    assert new.clusters() == before
    for number in range(16):
        new.connect(1, number)
        new.after(2)
        assert new.clusters() == before
    new.after(3600)
    assert new.clusters() == before

    for number in range(1, 16):
        new.disconnect(f"edge-{number}")
        new.after(0)
    new.after(SHRINKS - 1)
    assert new.clusters() == before
    new.after(2)
    assert new.intervals() == {2.0}


async def test_proxies_that_do_not_come_back_after_a_restart_count_for_a_minute() -> None:
    new = _Scene(SITE, statuses=_connected(site=16))
    new.connect(4)
    new.after(SHRINKS - 1)
    assert new.intervals() == {16.0}
    new.after(2)
    assert new.intervals() == {4.0}


async def test_a_restart_changes_no_cluster_of_sidecars() -> None:
    objects = [
        policy("all", on_sidecars({"app": "x"}, listener(8080), "web", **CHECK)),
        policy("some", on_sidecars({"tier": "a"}, listener(8081), "web", **CHECK)),
        *[pod(f"x{n}", {"app": "x"}) for n in range(6)],
        *[pod(f"xa{n}", {"app": "x", "tier": "a"}) for n in range(3)],
    ]
    names = [f"x{n}" for n in range(6)] + [f"xa{n}" for n in range(3)]
    old = _Scene(*objects)
    for name in names:
        old.connect_sidecar(name)
    old.after(5)
    before = old.clusters()
    assert old.intervals() == {12.0}  # 8 and 4

    new = _Scene(*objects, statuses=old.plane.statuses)
    assert new.clusters() == before
    for name in names:
        new.connect_sidecar(name)
        new.after(5)
        assert new.clusters() == before
    new.after(3600)
    assert new.clusters() == before


async def test_what_other_replicas_report_counts_in_the_first_run() -> None:
    assert _Scene(SITE, others={"edge": 16}).intervals() == {16.0}
    assert _Scene(SITE, others={"edge": 16}, statuses=_connected(site=12)).intervals() == {16.0}


async def test_proxies_that_move_from_one_replica_to_another_change_nothing() -> None:
    """For a moment both count them: reports take their time."""
    scene = _Scene(SITE, others={"edge": 8})
    scene.connect(8)
    scene.after(LAG + 1)
    before = scene.clusters()
    assert scene.intervals() == {16.0}

    for number in range(8):
        scene.connect(1, 8 + number)
        scene.after(LAG / 2)
        assert scene.clusters() == before
        scene.reported({"edge": 7 - number})
        scene.plane.doubt(None)
        scene.after(LAG / 2)
        assert scene.clusters() == before

    scene.connect(1, 16)
    scene.after(LAG + 1)
    assert scene.intervals() == {32.0}


async def test_without_any_status_it_is_as_many_as_are_connected() -> None:
    scene = _Scene(SITE)
    assert scene.intervals() == {2.0}
    scene.connect(5)
    scene.after(1)
    assert scene.intervals() == {8.0}


class _Patcher:
    """An API server that notes what is written."""

    def __init__(self) -> None:
        self.patches: list[Raw] = []

    async def merge_patch(self, _path: str, patch: Raw) -> Raw:
        self.patches.append(patch)
        return SITE


class _Leaving:
    """A server whose proxies go when it stops, which is what a status is computed of."""

    def __init__(self, writer: StatusWriter) -> None:
        self._writer = writer

    async def stop(self, _grace: float, *, spread: float) -> None:
        self._writer.write(policy_ref("site"), {"proxies": {"connected": 0}})
        await asyncio.sleep(spread)


async def test_a_process_that_ends_does_not_write_that_its_proxies_are_gone() -> None:
    """The next one reads it. Of several replicas, who ends gives up the Lease first, and writes no more."""
    operator = Operator.__new__(Operator)  # beside a cluster, and only as much of it as ends
    operator.options, operator.replica = OperatorOptions(), None
    patcher = _Patcher()
    operator.writer = StatusWriter(patcher)
    operator.server = cast("XdsServer", _Leaving(operator.writer))
    operator.writer.seen(policy_ref("site"), {"metadata": {"uid": "u", "resourceVersion": "1"}})

    await operator.drain()
    await asyncio.sleep(0)

    assert patcher.patches == []


def test_who_comes_and_goes_before_it_counts_leaves_nothing_due() -> None:
    """A Job's sidecar: what is due for ever would keep the status lane running without a pause."""
    crowd = Crowd()
    crowd.count({"job": 1}, 100.0, lag=1.0)
    assert crowd.due() == 101.0
    crowd.count({}, 100.5, lag=1.0)

    assert crowd.due() is None
    assert crowd.now == {}


@given(
    st.lists(
        st.tuples(st.dictionaries(st.sampled_from("ab"), st.integers(0, 5)), st.sampled_from((0.5, 2.0, 40.0, 70.0)))
    )
)
def test_after_each_count_what_is_due_is_due_later(steps: list[tuple[dict[str, int], float]]) -> None:
    crowd, now = Crowd(), 0.0
    for connected, pause in steps:
        now += pause
        crowd.count(connected, now, lag=1.0)
        assert (due := crowd.due()) is None or due > now
