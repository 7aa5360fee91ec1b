"""Who is held back after a refusal, and what is served instead."""

from __future__ import annotations

from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.conditions import origin
from fairlead_operator.quarantine import Quarantine
from fairlead_operator.world import World
from fairlead_xds.snapshot import Origin
from tests.support.manifests import listener, policy, site
from tests.support.worlds import policy_ref, world_of

A, B, C = policy_ref("a"), policy_ref("b"), policy_ref("c")


def _world(**generations: int) -> World:
    """A policy for each name, in this generation."""
    return world_of(*(policy(name, site(listener(80), "web"), generation=g) for name, g in generations.items()))


def _policy(world: World, name: str) -> LoadBalancerPolicy:
    found = world.policies[policy_ref(name)]
    assert isinstance(found, LoadBalancerPolicy)
    return found


def _origins(world: World, *names: str) -> list[Origin]:
    return [origin(_policy(world, name), "spec.routes") for name in names]


def test_a_single_suspect_is_guilty() -> None:
    world, quarantine = _world(a=1, b=1), Quarantine()

    assert quarantine.refuse(_origins(world, "a"), "bad regex", "edge-1")
    assert quarantine.held(world) == {A: None}
    assert str(quarantine.refused[A, 1]) == "bad regex (spec.routes)"


def test_a_second_proxy_that_refuses_the_same_changes_nothing_but_is_named() -> None:
    world, quarantine = _world(a=1), Quarantine()
    quarantine.refuse(_origins(world, "a"), "bad regex", "edge-1")

    assert not quarantine.refuse(_origins(world, "a"), "bad regex", "edge-2")
    assert quarantine.refused[A, 1].proxies == {"edge-1", "edge-2"}


def test_what_was_accepted_is_no_suspect() -> None:
    """The table held a and b; every proxy had a before b came."""
    world, quarantine = _world(a=1, b=1), Quarantine()
    quarantine.accept(_policy(world, "a"))

    assert quarantine.refuse(_origins(world, "a", "b"), "bad", "edge-1")
    assert quarantine.held(world) == {B: None}


def test_the_last_good_form_stands_in() -> None:
    before, world, quarantine = _world(a=1), _world(a=2), Quarantine()
    good = _policy(before, "a")
    quarantine.accept(good)
    quarantine.refuse(_origins(world, "a"), "bad", "edge-1")

    assert quarantine.held(world) == {A: good}


def test_a_corrected_policy_is_free_at_once() -> None:
    quarantine = Quarantine()
    quarantine.refuse(_origins(_world(a=1), "a"), "bad", "edge-1")
    corrected = _world(a=2)

    assert quarantine.held(corrected) == {}
    quarantine.forget(corrected)
    assert quarantine.refused == {}


def test_several_suspects_are_tried_one_by_one() -> None:
    """Three arrive together and b is bad: a passes, b is refused alone, c passes."""
    world, quarantine = _world(a=1, b=1, c=1), Quarantine()

    assert quarantine.refuse(_origins(world, "c", "a", "b"), "bad", "edge-1")
    assert quarantine.held(world) == {B: None, C: None}  # a is on trial: served alone

    assert quarantine.accept(_policy(world, "a"))
    assert quarantine.held(world) == {C: None}  # now b

    assert quarantine.refuse(_origins(world, "a", "b"), "bad", "edge-1")
    assert quarantine.held(world) == {B: None}  # b is guilty, c is on trial

    assert quarantine.accept(_policy(world, "c"))
    assert quarantine.held(world) == {B: None}
    assert set(quarantine.refused) == {(B, 1)}


def test_a_policy_on_trial_that_vanishes_gives_way_to_the_next() -> None:
    world, quarantine = _world(a=1, b=1, c=1), Quarantine()
    quarantine.refuse(_origins(world, "a", "b", "c"), "bad", "edge-1")
    without = _world(b=1, c=1)

    quarantine.forget(without)

    assert quarantine.held(without) == {C: None}


def test_a_policy_that_waits_and_is_edited_waits_no_more() -> None:
    world, quarantine = _world(a=1, b=1), Quarantine()
    quarantine.refuse(_origins(world, "a", "b"), "bad", "edge-1")

    assert quarantine.held(_world(a=1, b=2)) == {}


def test_a_policy_that_comes_back_under_its_name_is_a_new_one() -> None:
    """Generations start at 1 again: nothing that was known of the old one counts."""
    quarantine = Quarantine()
    quarantine.accept(_policy(_world(a=1), "a"))
    quarantine.refuse(_origins(_world(b=1), "b"), "bad", "edge-1")

    quarantine.forget(World())

    again = _world(a=1, b=1)
    assert quarantine.held(again) == {}
    assert quarantine.refuse(_origins(again, "a"), "bad", "edge-1")


def test_a_refusal_of_nobody_in_particular_holds_nobody() -> None:
    assert not Quarantine().refuse([], "bad", "edge-1")
