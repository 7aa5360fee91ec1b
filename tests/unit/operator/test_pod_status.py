"""What a pod's status tells: restarts, as they are seen and as they are guessed, and what its containers wait for."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.api.pod_status import KEPT, NONE, PodState, Restarts, read_state

Json = dict[str, Any]
THEN = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def at(seconds: float) -> str:
    return (THEN + datetime.timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def seconds(value: float) -> float:
    return THEN.timestamp() + value


def container(count: int, *, run: float | None = None, last: tuple[float, float] | None = None, **more: Any) -> Json:
    """*run*: since when it runs, absent: it waits; *last*: from when to when it ran before."""
    state: Json = (
        {"running": {"startedAt": at(run)}} if run is not None else {"waiting": {"reason": "CrashLoopBackOff"}}
    )
    found: Json = {"name": "web", "restartCount": count, "state": state, "started": run is not None, **more}
    if last is not None:
        found["lastState"] = {"terminated": {"startedAt": at(last[0]), "finishedAt": at(last[1]), "exitCode": 137}}
    return found


def pod(*containers: Json, **more: Any) -> Json:
    return {"metadata": {}, "spec": {}, "status": {"containerStatuses": list(containers), **more}}


def test_a_pod_that_never_restarted_has_nothing_to_tell() -> None:
    state = read_state(pod(container(0, run=0)))

    assert state.restarts == NONE
    assert not state.notable


def test_a_restart_that_is_seen_is_counted_when_it_was() -> None:
    first = read_state(pod(container(0, run=0)))
    second = read_state(pod(container(1, run=1010, last=(0, 1000))), first)
    third = read_state(pod(container(2, run=5030, last=(1010, 5000))), second)

    assert third.restarts == Restarts((("web", 2),), (seconds(1000), seconds(5000)), seconds(5030), ("web", "web"))
    assert third.restarts.within(600) == 1
    assert third.restarts.within(5000) == 2


def test_of_a_pod_that_is_new_to_us_earlier_runs_were_as_the_last_one() -> None:
    """Ran for 20 s, started again after 10 s: five such restarts, 30 s apart."""
    state = read_state(pod(container(5, run=110, last=(80, 100))))

    assert state.restarts.times == tuple(seconds(100 - 30 * n) for n in (4, 3, 2, 1, 0))
    assert state.restarts.within(70) == 2


def test_a_long_life_with_one_restart_is_one_restart() -> None:
    state = read_state(pod(container(50, run=1_000_010, last=(0, 1_000_000))))

    assert state.restarts.within(600) == 1


def test_while_it_waits_nothing_has_started() -> None:
    state = read_state(pod(container(3, last=(80, 100))))

    assert state.waiting == "CrashLoopBackOff"
    assert state.restarts.started == 0.0
    assert state.restarts.within(3600) == 3


@pytest.mark.parametrize(
    "reason",
    ["ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "ContainerCreating", ""],
)
def test_whatever_a_container_waits_for_it_does_not_run(reason: str) -> None:
    """Of a Service with publishNotReadyAddresses nothing else tells."""
    waits: Json = {"name": "side", "restartCount": 0, "state": {"waiting": {"reason": reason} if reason else {}}}
    assert read_state(pod(container(0, run=0), waits)).waiting == (reason or "Waiting")


def test_a_node_whose_clock_is_ahead_starts_nothing_in_the_future() -> None:
    """An hour; told again later, with other news of the pod, it began when it was told first."""
    raw = pod(container(3, run=3700, last=(3690, 3699)))
    first = read_state(raw, now=seconds(105))
    later = read_state(raw | {"metadata": {"labels": {}}}, first, now=seconds(120))

    assert first.restarts.began == later.restarts.began == seconds(105)
    assert later.restarts.within(600) == 3
    again = read_state(pod(container(4, run=3740, last=(3700, 3735))), later, now=seconds(150))
    assert again.restarts.began == seconds(150)


def test_a_node_whose_clock_is_right_is_believed() -> None:
    assert read_state(pod(container(3, run=100, last=(80, 90))), now=seconds(105)).restarts.began == seconds(100)


def test_the_same_status_again_is_the_same_state() -> None:
    raw = pod(container(2, run=200, last=(100, 190)))
    once = read_state(raw)

    assert read_state(raw, once) == once


def test_all_containers_count_and_init_containers_do_not() -> None:
    other = {**container(2, run=300, last=(0, 290)), "name": "side"}
    state = read_state(pod(container(1, run=200, last=(100, 190)), other, initContainerStatuses=[container(9)]))

    assert state.restarts.counts == (("side", 2), ("web", 1))
    assert len(state.restarts.times) == 3
    assert state.restarts.started == seconds(300)


def test_containers_that_restart_together_are_one_restart() -> None:
    """The node has started again; told of at once, or one after the other."""
    names = ("web", "side", "logs")

    def raw(*restarted: str) -> Json:
        runs = [
            container(1, run=1030 + n, last=(0, 1000 + n)) if name in restarted else container(0, run=0)
            for n, name in enumerate(names)
        ]
        return pod(*({**one, "name": name} for one, name in zip(runs, names, strict=True)))

    assert read_state(raw(*names), read_state(raw())).restarts.within(600) == 1
    state = read_state(raw())
    for told in range(len(names)):
        state = read_state(raw(*names[: told + 1]), state)
    assert state.restarts.within(600) == 1
    assert state.restarts.counts == (("logs", 1), ("side", 1), ("web", 1))


def test_containers_that_restart_one_after_the_other_count_each() -> None:
    other = {**container(1, run=240, last=(0, 230)), "name": "side"}
    assert read_state(pod(container(1, run=210, last=(100, 200)), other)).restarts.within(600) == 2


def test_one_container_that_ends_again_at_once_has_restarted_twice() -> None:
    first = read_state(pod(container(1, run=101, last=(0, 100))))
    second = read_state(pod(container(2, run=113, last=(101, 103))), first)

    assert second.restarts.within(600) == 2


def test_a_startup_probe_that_has_not_passed() -> None:
    assert read_state(pod(container(0, run=0) | {"started": False})).starting
    assert not read_state(pod(container(0, run=0))).starting


def test_when_it_was_asked_to_end_and_how_long_it_has() -> None:
    raw = pod(container(0, run=0), conditions=[{"type": "Ready", "status": "False", "lastTransitionTime": at(50)}])
    raw["metadata"] = {"deletionTimestamp": at(100), "deletionGracePeriodSeconds": 45}

    state = read_state(raw)

    assert (state.deleted, state.grace, state.ready_since) == (seconds(55), 45, seconds(50))


@pytest.mark.parametrize(("since", "status", "joining"), [(1, "False", True), (60, "False", False), (1, "True", False)])
def test_a_pod_that_has_not_been_ready_since_it_started_joins(since: float, status: str, *, joining: bool) -> None:
    ready = {"type": "Ready", "status": status, "lastTransitionTime": at(since)}

    assert read_state(pod(container(0, run=5), conditions=[ready], startTime=at(0))).joining is joining
    assert not read_state(pod(container(0, run=5), conditions=[ready])).joining  # nobody knows


def test_metadata_alone_is_fine() -> None:
    assert read_state({"metadata": {"name": "a"}}) == PodState()


NAMES = [
    "containerStatuses",
    "restartCount",
    "state",
    "running",
    "startedAt",
    "lastState",
    "terminated",
    "finishedAt",
    "name",
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from([at(0), "2026-13-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, json_values)
def test_nothing_that_it_is_told_makes_it_fail(status: Any, before: Any) -> None:
    old = read_state({"status": before})
    new = read_state({"status": status}, old)

    assert len(new.restarts.times) <= KEPT
    assert list(new.restarts.times) == sorted(new.restarts.times)


@pytest.mark.parametrize("count", [1, KEPT, 1000])
def test_so_many_are_kept(count: int) -> None:
    assert len(read_state(pod(container(count, run=110, last=(80, 100)))).restarts.times) == min(count, KEPT)


@pytest.mark.parametrize("grace", [10**11, 2**63 - 1, 10**400, -1, True, None, "30"])
def test_a_grace_that_no_pod_can_have_is_the_usual_one(grace: Any) -> None:
    """The API server takes any 64-bit number."""
    raw = pod()
    raw["metadata"] = {"deletionTimestamp": at(30), "deletionGracePeriodSeconds": grace}
    state = read_state(raw)
    assert (state.grace, state.deleted) == (30, seconds(0))


def test_a_deletion_before_all_time_is_unknown() -> None:
    raw = pod()
    raw["metadata"] = {"deletionTimestamp": "1970-01-01T00:00:10Z", "deletionGracePeriodSeconds": 60}
    assert read_state(raw).deleted == 0
