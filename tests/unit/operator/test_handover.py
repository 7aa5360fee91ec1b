from __future__ import annotations

from fairlead_operator.handover import PATIENCE, Handover
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl
from tests.support.xds_resources import blob

FULL, EMPTY = blob(TypeUrl.ENDPOINT, "b", "one"), blob(TypeUrl.ENDPOINT, "b", "")
OTHER = blob(TypeUrl.ENDPOINT, "a", "one")
CURRENT, WANTED = Snapshot.of([OTHER, FULL]), Snapshot.of([OTHER, EMPTY])


def _held(now: float = 0.0) -> Handover:
    handover = Handover()
    assert _endpoints(handover.hold("edge", WANTED, CURRENT, ["b"], now)) == [OTHER, FULL]
    return handover


def _endpoints(snapshot: Snapshot) -> list[Resource]:
    return [resource for _, resource in sorted(snapshot.resources(TypeUrl.ENDPOINT).items())]


def test_what_does_not_die_goes_at_once() -> None:
    handover = Handover()
    assert handover.hold("edge", WANTED, CURRENT, [], 0.0) is WANTED
    assert handover.keys == []


def test_without_proxies_nothing_is_waited_for() -> None:
    handover = _held()
    assert not handover.wait_for("edge", [], WANTED)
    assert handover.release("edge") == [EMPTY]
    assert handover.keys == []


def test_it_waits_over_another_run_but_no_longer_than_its_patience() -> None:
    handover = _held(now=0.0)
    assert _endpoints(handover.hold("edge", WANTED, CURRENT, [], PATIENCE / 2)) == [OTHER, FULL]
    assert handover.release("edge", PATIENCE * 0.9) == []
    assert handover.release("edge", PATIENCE) == [EMPTY]


def test_a_side_that_returns_waits_for_nothing() -> None:
    handover = _held()
    assert not handover.replace("edge", FULL, useless=False)
    assert handover.keys == []


def test_newer_useless_endpoints_wait_in_place_of_the_older() -> None:
    handover = _held()
    newer = blob(TypeUrl.ENDPOINT, "b", "draining")
    assert handover.replace("edge", newer, useless=True)
    assert not handover.replace("edge", OTHER, useless=True)
    assert handover.release("edge") == [newer]


def test_a_second_death_has_its_own_patience() -> None:
    handover = _held(now=0.0)
    gone = blob(TypeUrl.ENDPOINT, "a", "")
    handover.hold("edge", Snapshot.of([gone, EMPTY]), CURRENT, ["a"], PATIENCE * 0.8)
    assert handover.release("edge", PATIENCE) == [EMPTY]
    assert handover.release("edge", PATIENCE * 1.8) == [gone]
