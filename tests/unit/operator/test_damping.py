"""A Service that changes again and again: ever more seldom, never for long; what takes requests away at once. Virtual time."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.damping import BURST, EVERY, URGENT, Damping, urgent
from fairlead_operator.lanes import STREAK
from fairlead_operator.loop import ENDPOINT_WINDOW, ControlPlane
from fairlead_operator.reconciled import Reconciled
from fairlead_xds.features.endpoints import Health
from fairlead_xds.model import Endpoint, LoadAssignment
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from tests.support.manifests import Raw, endpoint, endpoint_slice, listener, policy, service, site
from tests.support.worlds import service_ref

WEB = service_ref("web")
SITE = policy("site", site(listener(80), "web"))
DRAINING = {"ready": False, "serving": True, "terminating": True}


def _published(events: list[tuple[float, bool]], until: float) -> list[float]:
    """When a Service was published that changed at these times, urgently or not."""
    damping, found, pressing = Damping(), [], False
    changes, now = sorted(events), 0.0
    while changes or damping.due() is not None:
        due = damping.due()
        now = min([*(at for at, _ in changes[:1]), *([due] if due is not None else [])])
        damping.take(now)
        while changes and changes[0][0] == now:
            pressing |= changes.pop(0)[1]
        if damping.free(WEB, now) or not damping.hold(WEB, now, urgent=pressing):
            damping.passed(WEB, now)
            found.append(now)
            pressing = False
        assert now <= until
    return found


@pytest.mark.parametrize("apart", [0.01, 0.25, 0.5, 1.0, 1.5])
def test_so_many_at_once_and_then_one_now_and_then(apart: float) -> None:
    """However far apart, as long as it is less than what is allowed for ever."""
    many = 8 * BURST
    found = _published([(100 + n * apart, False) for n in range(many)], 100 + many * apart + EVERY)

    assert found[: BURST - 1] == [100 + n * apart for n in range(BURST - 1)]
    assert len(found) <= BURST + many * apart / EVERY + 1
    assert len(found) < many


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), min_size=1, max_size=300))
def test_the_last_state_is_reached_within_the_longest_wait_and_the_rate_is_bounded(
    events: list[tuple[float, bool]],
) -> None:
    found = _published(events, 100 + EVERY + 0.01)

    assert all(any(0 <= one - at <= EVERY + 0.01 for one in found) for at, _ in events)
    assert all(any(0 <= one - at <= URGENT + 0.01 for one in found) for at, pressing in events if pressing)
    assert len(found) <= BURST + 100 / EVERY + 100 / URGENT + 1


def test_after_a_rest_it_may_change_at_once_again() -> None:
    dense = [(n / 100, False) for n in range(1000)]
    later = [(200 + n / 100, False) for n in range(10)]

    assert _published([*dense, *later], 300)[-10:] == [at for at, _ in later]


def test_those_that_are_gone_are_forgotten() -> None:
    damping, other = Damping(), service_ref("other")
    for one in (WEB, other):
        for _ in range(BURST):
            damping.passed(one, 1.0)
        assert damping.hold(one, 1.1, urgent=False)
    damping.retain({WEB})

    due = damping.due()
    assert due is not None
    assert list(damping.take(due)) == [WEB]
    assert damping.free(other, 1.1)


def test_urgent_is_what_takes_requests_from_somebody() -> None:
    def of(**health: Health) -> LoadAssignment:
        return LoadAssignment("web", tuple(Endpoint(name, 80, health=one) for name, one in health.items()))

    one = of(a=Health.HEALTHY)
    assert urgent(one, of(a=Health.DRAINING))
    assert urgent(one, of())
    assert not urgent(one, of(a=Health.DEGRADED))
    assert not urgent(one, of(a=Health.HEALTHY, b=Health.HEALTHY))
    assert not urgent(of(a=Health.DRAINING), of())
    assert not urgent(None, one)


# --- in the endpoint lane


def _slice(*ready: bool) -> Raw:
    return endpoint_slice("web", 8080, [endpoint(f"10.0.0.{n}", ready=one) for n, one in enumerate(ready, start=1)])


class _Clocked(ControlPlane):
    """Its time is ``clock``."""

    clock = 1000.0

    def _time(self) -> float:  # type: ignore[override]
        return self.clock


class _Scene:
    """A Service and how often its load assignment, or the whole, was computed anew."""

    def __init__(self, *objects: Raw) -> None:
        then = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
        self.plane = _Clocked(
            store := Store(), list, now=lambda: then + datetime.timedelta(seconds=self.plane.clock - 1000)
        )
        self._store, self.changes, self.runs = store, 0, 0
        for raw in objects:
            self.plane.apply(raw)
        self.plane.synced()
        self.plane.on_config(self._ran)

    def _ran(self) -> None:
        self.runs += 1

    def has(self) -> list[str]:
        return [one.version for one in self._store.current("edge").resources(TypeUrl.ENDPOINT).values()]

    def after(self, seconds: float, *objects: Raw) -> None:
        before = self.has()
        self.plane.clock += seconds
        for raw in objects:
            self.plane.apply(raw)
        self.plane._run_due()
        self.changes += self.has() != before


@pytest.mark.parametrize("apart", [0.25, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("others", [0, 1])
async def test_minutes_of_flips(apart: float, others: int) -> None:
    """Load assignments that differ from the one before, counted. Another that is ready keeps the one that flips out."""
    scene = _Scene(SITE, service("web"), _slice(True, *[True] * others))
    good = scene.has()
    for turn in range(round(200 / apart)):
        scene.after(apart, _slice(bool(turn % 2), *[True] * others))
    scene.after(apart, _slice(True, *[True] * others))
    flips, runs = scene.changes, scene.runs
    scene.after(60 + EVERY)

    assert flips <= (6 if others else BURST + 200 / EVERY * 2)
    assert runs <= flips + 1
    assert scene.has() == good


@pytest.mark.parametrize(
    "change",
    [
        lambda n: [endpoint_slice("web", 8080, [endpoint("10.0.0.2"), *[endpoint("10.0.0.1")] * (n % 2)])],
        lambda n: [endpoint_slice("web", 8080, [endpoint("10.0.0.2"), endpoint("10.0.0.1") | {"zone": f"z{n % 2}"}])],
        lambda n: [
            endpoint_slice("web", 8080, [endpoint(f"10.0.0.{one}", ready=bool((n + one) % 2)) for one in range(1, 9)])
        ],
    ],
    ids=["it comes and goes", "its zone changes", "all by turns"],
)
async def test_whatever_changes_without_end_is_bounded(change: Callable[[int], list[Raw]]) -> None:
    scene = _Scene(SITE, service("web"), _slice(True, True))
    for turn in range(800):
        scene.after(0.05, *change(turn))

    assert scene.changes <= BURST + 40 / EVERY + 40 / URGENT + 1


async def test_who_ends_meanwhile_is_left_alone_at_once() -> None:
    scene = _Scene(SITE, service("web"), _slice(True, True))
    turns = itertools.count()
    while scene.plane._damping.due() is None:
        two = [endpoint("10.0.0.1") | {"zone": f"z{next(turns)}"}, endpoint("10.0.0.2")]
        scene.after(0.05, endpoint_slice("web", 8080, two))
    both = scene.has()
    scene.after(URGENT, _slice(True, True, True))
    assert scene.has() == both  # a newcomer waits
    ending = [endpoint("10.0.0.1"), endpoint("10.0.0.2", **DRAINING), endpoint("10.0.0.3")]
    scene.after(ENDPOINT_WINDOW, endpoint_slice("web", 8080, ending))

    assert scene.has() != both
    assert scene.plane._damping.due() is None


async def test_statuses_are_computed_though_the_configuration_changes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change always waits while the config lane rests: the status lane has its turn right after each run."""
    scene = _Scene(SITE, service("web"), _slice(True))
    runs: list[float] = []

    def run(_done: Reconciled) -> bool:
        runs.append(scene.plane.clock)
        return False

    monkeypatch.setattr(scene.plane._statuses, "run", run)
    scene.plane._config._streak, scene.plane._config._began = STREAK, scene.plane._config._ended - 0.3
    for turn in range(200):
        scene.after(0.09, service(f"x{turn}"))
        scene.plane._config._streak = STREAK
    assert scene.runs > 10
    assert len(runs) > 5
