"""A Service all of whose endpoints flap: ever more seldom, never for long, and the others at once. Virtual time."""

from __future__ import annotations

import datetime
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.damping import LONGEST, SHORTEST, Damping
from fairlead_operator.loop import ControlPlane
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from tests.support.manifests import Raw, endpoint, endpoint_slice, listener, policy, service, site
from tests.support.worlds import service_ref

WEB = service_ref("web")
SITE = policy("site", site(listener(80), "web"))


def _published(events: list[float], until: float) -> list[float]:
    """When a Service that flaps was published, if it changed at these times."""
    damping, found = Damping(), []
    times, now = sorted(events), 0.0
    while times or damping.due() is not None:
        due = damping.due()
        now = min([*times[:1], *([due] if due is not None else [])])
        came = bool(damping.take(now))
        if times and times[0] == now:
            del times[0]
            came = True
        if came and not damping.holds(WEB, now):
            damping.passed(WEB, now, flaps=True)
            found.append(now)
        assert now <= until
    return found


def test_the_first_is_not_held_and_the_waits_grow() -> None:
    found = _published([100 + n / 100 for n in range(2000)], 200)

    assert found[0] == 100
    waits = [later - earlier for earlier, later in itertools.pairwise(found)]
    assert max(waits[:2]) < LONGEST / 2
    assert LONGEST / 2 <= max(waits) <= 1.5 * LONGEST
    assert len(found) <= 20 / LONGEST + 8


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200))
def test_the_last_state_is_reached_within_the_longest_wait_and_the_rate_is_bounded(events: list[float]) -> None:
    found = _published(events, 100 + 1.5 * LONGEST)

    assert found[0] == min(events)
    assert max(events) <= found[-1] <= max(events) + 1.5 * LONGEST
    assert all(any(0 <= one - event <= 1.5 * LONGEST for one in found) for event in events)
    for start in range(100):
        assert sum(start <= one < start + 10 for one in found) <= 10 / LONGEST + 8


def test_after_a_rest_it_begins_anew() -> None:
    dense = [n / 100 for n in range(1000)]
    found = _published([*dense, 50.0, 50.01], 60)

    assert 50.0 in found
    assert found[-1] <= 50.0 + 1.5 * SHORTEST


def test_who_does_not_flap_waits_for_nothing() -> None:
    damping = Damping()
    for now in (1.0, 1.001, 1.002):
        assert not damping.holds(WEB, now)
        damping.passed(WEB, now, flaps=False)
    assert damping.due() is None


def test_those_that_wait_come_together_and_those_that_are_gone_never() -> None:
    damping, other = Damping(), service_ref("other")
    for now, one in ((1.01, WEB), (1.02, other)):
        damping.passed(one, now, flaps=True)
    assert damping.holds(WEB, 1.03)
    assert damping.holds(other, 1.03)
    due = damping.due()
    assert due is not None
    assert damping.take(due - 0.001) == []
    damping.retain({WEB})
    assert damping.take(due) == [WEB]
    assert damping.due() is None


# --- in the endpoint lane


def _slice(*ready: bool) -> Raw:
    return endpoint_slice("web", 8080, [endpoint(f"10.0.0.{n}", ready=one) for n, one in enumerate(ready, start=1)])


class _Clocked(ControlPlane):
    """Its time is ``clock``."""

    clock = 1000.0

    def _time(self) -> float:  # type: ignore[override]
        return self.clock


@pytest.mark.parametrize(("others", "least", "most"), [(0, 8, 45), (1, 2, 6)], ids=["all flap", "another is ready"])
async def test_a_minute_of_flips_every_quarter_of_a_second(others: int, least: int, most: int) -> None:
    """240 changes of the slice: load assignments that differ from the one before, counted."""
    then = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    plane = _Clocked(store := Store(), list, now=lambda: then + datetime.timedelta(seconds=plane.clock))
    for raw in (SITE, service("web"), _slice(True, *[True] * others)):
        plane.apply(raw)
    plane.synced()

    def versions() -> list[str]:
        return [one.version for one in store.current("edge").resources(TypeUrl.ENDPOINT).values()]

    good = seen = versions()
    changes, runs = 0, []
    plane.on_config(lambda: runs.append(plane.clock))
    for turn in range(240):
        plane.clock += 0.25
        plane.apply(_slice(bool(turn % 2), *[True] * others))
        plane._run_due()
        changes, seen = changes + (versions() != seen), versions()
    plane.apply(_slice(True, *[True] * others))
    plane.clock += 60 + 2 * LONGEST
    plane._run_due()

    assert least <= changes <= most
    assert len(runs) <= most
    assert versions() == good
