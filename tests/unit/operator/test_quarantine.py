"""Who is held back after a refusal, and what is served instead."""

from __future__ import annotations

from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.conditions import origin
from fairlead_operator.quarantine import Cluster, Quarantine
from fairlead_operator.world import World
from fairlead_xds.snapshot import Origin, Resource, Snapshot, TypeUrl
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


# --- refused clusters

ONE, TWO = Cluster("web", "1"), Cluster("web", "2")


def test_a_refusal_of_clusters_ends_when_they_are_others_and_begins_again_when_they_are_the_same() -> None:
    world, quarantine = _world(a=1), Quarantine()
    quarantine.refuse(_origins(world, "a"), "bad probe", "edge-1", ONE)
    assert quarantine.of_clusters() == {(A, 1): {ONE}}

    quarantine.settle([(A, 1)], ())
    assert (quarantine.held(world), quarantine.refused) == ({}, {})

    quarantine.settle(quarantine.of_clusters(), [(A, 1)])
    assert quarantine.held(world) == {A: None}
    assert str(quarantine.refused[A, 1]) == "bad probe (spec.routes)"


def test_a_second_chance_that_is_refused_is_told_in_its_own_words_and_adds_up() -> None:
    world, quarantine = _world(a=1), Quarantine()
    quarantine.refuse(_origins(world, "a"), "bad probe", "edge-1", ONE)
    quarantine.settle([(A, 1)], ())

    assert quarantine.refuse(_origins(world, "a"), "worse", "edge-2", TWO)
    assert str(quarantine.refused[A, 1]) == "worse (spec.routes)"
    assert quarantine.refused[A, 1].proxies == {"edge-2"}
    assert quarantine.of_clusters() == {(A, 1): {ONE, TWO}}


def test_what_is_refused_for_something_else_too_waits_for_an_edit() -> None:
    world, quarantine = _world(a=1), Quarantine()
    quarantine.refuse(_origins(world, "a"), "bad probe", "edge-1", ONE)
    quarantine.refuse(_origins(world, "a"), "bad table", "edge-1")
    quarantine.refuse(_origins(world, "a"), "bad probe", "edge-1", TWO)

    assert quarantine.of_clusters() == {}


def test_a_suspect_of_a_refused_table_that_is_guilty_of_a_cluster_only_has_a_second_chance() -> None:
    world, quarantine = _world(a=1, b=1), Quarantine()
    quarantine.refuse(_origins(world, "a", "b"), "bad table", "edge-1")
    assert quarantine.of_clusters() == {}
    quarantine.refuse(_origins(world, "a"), "bad probe", "edge-1", ONE)

    assert quarantine.of_clusters() == {(A, 1): {ONE}}


def test_an_accepted_form_and_a_corrected_one_have_nothing_to_be_tried_again_for() -> None:
    world, quarantine = _world(a=1, b=1), Quarantine()
    for name in "ab":
        quarantine.refuse(_origins(world, name), "bad probe", "edge-1", ONE)
    quarantine.settle([(A, 1)], ())
    quarantine.accept(_policy(world, "a"))
    quarantine.forget(_world(a=1, b=2))

    assert quarantine.of_clusters() == {}


def test_a_suspect_that_waits_is_free_when_what_it_is_suspected_of_is_gone() -> None:
    world, quarantine = _world(a=1, b=1), Quarantine()
    quarantine.refuse(_origins(world, "a", "b"), "bad probe", "edge-1", ONE)
    assert quarantine.of_clusters() == {(B, 1): {ONE}}  # a is on trial

    quarantine.settle([(B, 1)], ())
    assert quarantine.held(world) == {}


def test_whoever_is_on_trial_with_the_same_bytes_is_guilty_of_them() -> None:
    """They are not sent again, so no proxy says it again."""
    world, quarantine = _world(a=1, b=1), Quarantine()
    body = b"bad"
    shared = [Resource(TypeUrl.CLUSTER, "web", body, tuple(_origins(world, *names))) for names in ("ab", "a", "b")]
    cluster = Cluster("web", shared[0].version)
    quarantine.refuse(shared[0].origins, "bad probe", "edge-1", cluster)

    assert quarantine.repeat({"edge": Snapshot.of([shared[1]])}, world)
    assert quarantine.repeat({"edge": Snapshot.of([shared[2]])}, world)
    assert set(quarantine.refused) == {(A, 1), (B, 1)}
    good = Resource(TypeUrl.CLUSTER, "web", b"good", shared[0].origins)
    assert not quarantine.repeat({"edge": Snapshot.of([good])}, world)


def test_a_form_that_is_no_more_and_is_served_still_is_not_refused_again_and_again() -> None:
    world, quarantine = _world(a=1, b=2), Quarantine()
    kept = Resource(TypeUrl.CLUSTER, "web", b"bad", tuple(_origins(_world(b=1), "b")))
    quarantine.refuse(_origins(world, "a"), "bad probe", "edge-1", Cluster("web", kept.version))

    assert not quarantine.repeat({"edge": Snapshot.of([kept])}, world)
