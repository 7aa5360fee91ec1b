"""Nodes that are lost at the same moment are doubted, those that go one by one are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.nodes import MOMENT, Lost, judge

THEN = 1_770_000_000.0
HOUR, DAY = 3600.0, 86400.0

#: When nodes were lost, seconds after ``THEN``; how many others there are; the share; which of them are believed to be lost.
TABLE: dict[str, tuple[list[float], int, int, list[float]]] = {
    "the only node": ([0], 0, 50, []),
    "one of two": ([0], 1, 50, [0]),
    "both of two": ([0, 1], 0, 50, []),
    "one of three": ([0], 2, 50, [0]),
    "two of three at once": ([0, 1], 1, 50, []),
    "two of three, one after the other": ([0, HOUR], 1, 50, [0, HOUR]),
    "the last of three that went one by one": ([0, HOUR, DAY], 0, 50, [0, HOUR]),
    "half at once": ([0, 1, 2], 3, 50, [0, 1, 2]),
    "three of five in a week": ([0, DAY, 6 * DAY], 2, 50, [0, DAY, 6 * DAY]),
    "three of five at once": ([0, 5, 10], 2, 50, []),
    "a moment is so long": ([0, MOMENT - 1, MOMENT], 2, 50, []),
    "and no longer": ([0, MOMENT - 1, MOMENT + 1], 2, 50, [0, MOMENT - 1, MOMENT + 1]),
    "one every 100 s, six of ten": ([100 * n for n in range(6)], 4, 50, [100 * n for n in range(6)]),
    "one every 100 s, until the last two": ([100 * n for n in range(9)], 1, 50, [100 * n for n in range(7)]),
    "a moment begins wherever it is the worst": ([0, 100, 101, 102], 1, 50, []),
    "a large cluster, a few a second": (list(range(240)), 10, 50, list(range(9))),
    "all that are left of many that went before": ([0, HOUR, 2 * HOUR, DAY, DAY + 1], 0, 50, [0, HOUR, 2 * HOUR]),
    "one that went before the view broke stays out": ([0, DAY, DAY + 1, DAY + 2], 2, 50, [0]),
    "one that goes while the view is broken": ([0, 1, 2, HOUR], 1, 50, [HOUR]),
    "no share at all": ([0], 99, 0, []),
    "every share": ([0, 1], 0, 100, [0, 1]),
}


def _lost(times: list[float]) -> dict[str, Lost]:
    return {f"n{number}": Lost("node is gone", THEN + time) for number, time in enumerate(times)}


@pytest.mark.parametrize(("times", "fine", "share", "believed"), TABLE.values(), ids=TABLE)
def test_the_table(times: list[float], fine: int, share: int, believed: list[float]) -> None:
    lost, doubted = judge(_lost(times), fine, share)

    assert sorted(one.since - THEN for one in lost.values()) == believed
    assert bool(doubted) is (len(believed) < len(times))


def test_what_was_lost_nobody_knows_when_is_one_moment() -> None:
    unknown = {f"n{number}": Lost("node does not exist") for number in range(3)}

    assert judge(unknown, 2, 50).lost == {}
    assert judge(unknown, 3, 50).lost == unknown


def test_words_say_of_how_many() -> None:
    assert judge(_lost([0, DAY, DAY + 1, DAY + 2]), 2, 50).doubted == (
        "3 of 5 nodes are lost at the same moment: their endpoints are kept"
    )
    assert judge(_lost([0, 1, 2, DAY, DAY + 1]), 0, 50).doubted == (
        "5 of 5 nodes are lost, at 2 moments too many at once: their endpoints are kept"
    )


losses = st.dictionaries(
    st.integers(0, 30).map("n{}".format),
    st.builds(Lost, st.just("gone"), st.just(0.0) | st.integers(0, 2000).map(lambda since: THEN + since), st.just(0.0)),
    max_size=20,
)
shares = st.integers(0, 100)


@given(losses, st.integers(0, 20), shares, st.randoms())
def test_the_order_of_arrival_is_nothing(lost: dict[str, Lost], fine: int, share: int, chance: object) -> None:
    names = list(lost)
    chance.shuffle(names)  # type: ignore[attr-defined]

    assert judge({name: lost[name] for name in names}, fine, share) == judge(lost, fine, share)


@given(losses, st.integers(0, 20), st.integers(0, 99))
def test_never_all_of_them(lost: dict[str, Lost], fine: int, share: int) -> None:
    """Not in one moment, and not in many: somebody is left, or it is doubted and said."""
    believed, doubted = judge(lost, fine, share)

    assert believed.items() <= lost.items()
    assert fine + len(lost) - len(believed) > 0 or not lost
    assert bool(doubted) is (len(believed) < len(lost))


@given(losses, st.integers(0, 20), shares, shares)
def test_a_larger_share_believes_no_less(lost: dict[str, Lost], fine: int, one: int, other: int) -> None:
    low, high = sorted((one, other))

    assert judge(lost, fine, low).lost.items() <= judge(lost, fine, high).lost.items()


@given(losses, st.integers(1, 20), shares, st.integers(1, 20))
def test_what_happens_later_changes_nothing_of_before(lost: dict[str, Lost], fine: int, share: int, later: int) -> None:
    """Of those that were fine some are lost long after: what was believed or doubted stays so."""
    more = {f"later{number}": Lost("gone", THEN + DAY) for number in range(min(later, fine))}
    after = judge(lost | more, fine - len(more), share).lost

    assert {name: one for name, one in after.items() if name in lost} == judge(lost, fine, share).lost


def test_who_was_believed_to_be_lost_stays_so_when_it_is_deleted_and_is_not_of_that_moment() -> None:
    lost = _lost([0, DAY])
    lost["n0"] = Lost("node was deleted", THEN, deleted=THEN + DAY)

    assert judge(lost, 1, 50) == judge(_lost([0, DAY]) | {"n0": lost["n0"]}, 1, 50)
    assert judge(lost, 1, 50).lost == lost


def test_who_was_doubted_is_lost_when_it_is_deleted() -> None:
    lost = _lost([0, 1, 2])
    lost["n0"] = Lost("node was deleted", THEN, deleted=THEN + DAY)

    assert judge(_lost([0, 1, 2]), 2, 50).lost == {}
    assert judge(lost, 2, 50).lost == {"n0": Lost("node was deleted", THEN + DAY), "n1": lost["n1"], "n2": lost["n2"]}


@given(losses, st.integers(0, 20), shares, st.integers(0, 4000), st.data())
def test_to_be_deleted_later_brings_nobody_back(
    lost: dict[str, Lost], fine: int, share: int, later: int, data: st.DataObject
) -> None:
    at = THEN + 2000 + later
    deleted = data.draw(st.sets(st.sampled_from(sorted(lost)))) if lost else set()
    after = {name: one._replace(deleted=at) if name in deleted else one for name, one in lost.items()}

    assert judge(lost, fine, share).lost.keys() <= judge(after, fine, share).lost.keys()


chains = st.lists(st.integers(1, round(MOMENT)), max_size=20)


@given(chains, st.integers(1, 20), shares, st.floats(0, 2000))
def test_who_was_lost_longer_ago_than_a_moment_stays_what_it_was(
    gaps: list[int], fine: int, share: int, later: float
) -> None:
    """However soon one followed the other: no believed one comes back because others are lost."""
    lost = _lost([float(sum(gaps[: number + 1])) for number in range(len(gaps))])
    more = lost | {"later": Lost("gone", THEN + later)}
    before, after = judge(lost, fine, share).lost, judge(more, fine - 1, share).lost

    settled = {name for name, one in lost.items() if one.since < THEN + later - MOMENT}
    assert before.keys() & settled == after.keys() & settled


@given(losses, st.integers(0, 20), shares, st.data())
def test_one_that_comes_back_brings_no_new_doubt(
    lost: dict[str, Lost], fine: int, share: int, data: st.DataObject
) -> None:
    if not lost:
        return
    back = data.draw(st.sampled_from(sorted(lost)))
    after = judge({name: one for name, one in lost.items() if name != back}, fine + 1, share).lost

    assert judge(lost, fine, share).lost.keys() - {back} <= after.keys()
