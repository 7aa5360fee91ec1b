"""An endpoint that flips: kept out for a time that grows, never for ever, and its flips reach proxies ever more seldom."""

from __future__ import annotations

import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_operator.api.slices import read_slice
from fairlead_operator.bindings import load_assignment
from fairlead_operator.flaps import MEMORY, Flaps
from fairlead_operator.health import NEVER, assess, until
from fairlead_operator.loop import ControlPlane
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import World
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.store import Store
from tests.support.manifests import Raw, endpoint, endpoint_slice, listener, policy, service, site
from tests.support.worlds import service_ref

SITE = policy("site", site(listener(80), "web"))
POLICY = Endpoints()


def _slice(*ready: bool) -> Raw:
    return _slice_of("web", *ready)


def _slice_of(name: str, *ready: bool) -> Raw:
    return endpoint_slice(name, 8080, [endpoint(f"10.0.0.{n}", ready=one) for n, one in enumerate(ready, start=1)])


def _world() -> World:
    world = World()
    for raw in (SITE, service("web"), _slice(True, True)):
        world.apply(raw)
    return world


def _says(world: World, now: float) -> tuple[list[Health], float]:
    world.now = now
    web = service_ref("web")
    judged = assess(world.slices(web), "", POLICY, world.facts(web, POLICY))
    return [verdict.health for _, _, verdict in judged], until(judged)


def _flip(world: World, at: float, *, first: bool = True) -> None:
    """The second endpoint turns not ready, and ready again half a second later."""
    world.now = at
    world.apply(_slice(first, False))
    world.now = at + 0.5
    world.apply(_slice(first, True))


def test_twice_is_no_flapping() -> None:
    world = _world()
    for at in (1.0, 2.0):
        _flip(world, at)

    assert _says(world, 2.6) == ([Health.HEALTHY, Health.HEALTHY], NEVER)


def test_the_third_time_keeps_it_out_and_each_one_more_for_twice_as_long() -> None:
    world = _world()
    ends = []
    for at in range(1, 10):
        _flip(world, float(at))
        ends.append(_says(world, at + 0.6)[1] - at)

    assert ends == [NEVER, NEVER, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    assert _says(world, 68.9)[0] == [Health.HEALTHY, Health.EXCLUDED]
    assert _says(world, 69.0) == ([Health.HEALTHY, Health.HEALTHY], NEVER)


def test_the_only_one_that_is_ready_is_not_kept_out() -> None:
    world = _world()
    for at in range(1, 10):
        _flip(world, float(at), first=False)

    assert _says(world, 9.6)[0] == [Health.EXCLUDED, Health.HEALTHY]


def test_a_pod_of_three_services_turns_once_when_it_turns_once() -> None:
    """Its endpoint turns in each of them."""
    world = _world()
    names = ("web", "web-a", "web-b")
    for at in (1.0, 2.0):
        for name in names:
            for ready in (True, False, True):
                world.now = at
                world.apply(_slice_of(name, True, ready))

    assert _says(world, 2.6) == ([Health.HEALTHY, Health.HEALTHY], NEVER)


def test_one_that_flaps_comes_before_one_that_ends() -> None:
    """It is the only one that is ready, so it is taken as it is; the other keeps its sessions and gets no new ones."""
    world = _world()
    for at in range(1, 10):
        _flip(world, float(at))
    leaving = endpoint("10.0.0.1", ready=False, serving=True, terminating=True)
    world.apply(endpoint_slice("web", 8080, [leaving, endpoint("10.0.0.2")]))

    assert _says(world, 9.6)[0] == [Health.DRAINING, Health.HEALTHY]


def test_an_endpoint_that_ends_has_not_flapped() -> None:
    world = _world()
    for at in range(1, 10):
        world.now = float(at)
        leaving = endpoint("10.0.0.2", ready=False, serving=True, terminating=True)
        world.apply(endpoint_slice("web", 8080, [endpoint("10.0.0.1"), leaving]))
        world.apply(_slice(True, True))

    assert _says(world, 10.0) == ([Health.HEALTHY, Health.HEALTHY], NEVER)


def test_an_hour_of_flips_is_few_changes() -> None:
    """3,600 flips; a change is another load assignment. Without damping there were 7,200."""
    world = _world()
    ((binding, _),) = reconcile(world).bindings[service_ref("web")].values()
    changes, last = 0, load_assignment(world, binding)
    for second in range(3600):
        for ready in (False, True):
            world.now = second + 0.5 * ready
            world.apply(_slice(True, ready))
            now = load_assignment(world, binding)
            changes, last = changes + (now != last), now

    assert changes <= 6
    assert _says(world, 3660.0)[0] == [Health.HEALTHY, Health.HEALTHY]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 30), st.lists(st.booleans(), min_size=3, max_size=3)), max_size=40))
def test_whatever_flips_the_final_state_is_reached_within_a_minute(steps: list[tuple[float, list[bool]]]) -> None:
    """Virtual time. Not ready is obeyed at once, ready within ``flapping.within`` of the last turn; nothing is stuck out."""
    world = World()
    now, ready = 0.0, [True] * 3
    for raw in (SITE, service("web"), _slice(*ready)):
        world.apply(raw)
    for wait, ready in steps:
        now += wait
        world.now = now
        world.apply(_slice(*ready))
        found, turn = _says(world, now)
        assert all(one is Health.EXCLUDED for one, is_ready in zip(found, ready, strict=True) if not is_ready)
        assert turn == NEVER or turn <= now + 60
        assert not any(ready) or Health.HEALTHY in found

    found, turn = _says(world, now + 60)
    assert found == [Health.HEALTHY if one else Health.EXCLUDED for one in ready]
    assert turn == NEVER


async def test_the_lane_takes_it_in_again_when_its_time_has_come() -> None:
    then = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    clock = [then]
    plane = ControlPlane(store := Store(), list, now=lambda: clock[0])
    for raw in (SITE, service("web"), _slice(True, True)):
        plane.apply(raw)
    plane.synced()
    body = store.current("edge")
    for _ in range(3):
        for ready in (False, True):
            plane.apply(_slice(True, ready))
            plane.run_endpoints()
    assert store.current("edge") != body
    clock[0] = then + datetime.timedelta(seconds=2)
    plane._run_due()
    plane.run_endpoints()

    assert store.current("edge") == body
    assert plane._next_turn() is None


def _turns(flaps: Flaps, name: str, address: str, *times: float) -> None:
    ready, not_ready = (
        read_slice(endpoint_slice("web", 8080, [endpoint(address, ready=one)])).endpoints for one in (True, False)
    )
    for at in times:
        flaps.seen(service_ref(name), ready, not_ready, at)


def test_what_is_an_hour_old_is_forgotten_of_every_service() -> None:
    """Of one that was deleted nobody asks any more."""
    flaps = Flaps()
    _turns(flaps, "gone", "10.0.0.1", 1.0, 2.0)
    _turns(flaps, "gone", "10.0.0.2", 3.0)
    assert len(flaps) == 2

    _turns(flaps, "there", "10.0.1.1", MEMORY + 2.5)
    assert len(flaps) == 2
    assert flaps.of(service_ref("gone"), 3.5) == {}
    _turns(flaps, "there", "10.0.1.1", MEMORY + 3.5)
    assert len(flaps) == 1
    assert flaps.of(service_ref("there"), MEMORY + 3.5) == {("10.0.1.1", ""): (MEMORY + 2.5, MEMORY + 3.5)}
    assert flaps.of(service_ref("elsewhere"), 3 * MEMORY) == {}
    assert len(flaps) == 0


def test_who_turns_again_is_remembered_for_longer() -> None:
    flaps = Flaps()
    _turns(flaps, "a", "10.0.0.1", 1.0)
    _turns(flaps, "a", "10.0.0.2", 2.0)
    _turns(flaps, "a", "10.0.0.1", 3.0)

    assert flaps.of(service_ref("a"), MEMORY + 2.5) == {("10.0.0.1", ""): (1.0, 3.0)}
    assert len(flaps) == 1


def test_of_too_many_those_that_turned_last_are_remembered() -> None:
    flaps = Flaps(most=3)
    for number in range(5):
        _turns(flaps, "a", f"10.0.0.{number}", number + 0.1, number + 0.2)

    assert len(flaps) == 3
    assert set(flaps.of(service_ref("a"), 5.0)) == {(f"10.0.0.{one}", "") for one in (2, 3, 4)}
