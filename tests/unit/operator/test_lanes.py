"""When lanes run, in seconds of a clock that is just a number."""

from __future__ import annotations

from fairlead_operator.lanes import REST, SHARE, STREAK, HoldOff, LeadingEdge


def test_hold_off_waits_for_quiet() -> None:
    lane = HoldOff(quiet=0.02, longest=0.1)
    lane.mark(1.0)
    lane.mark(1.01)

    assert lane.due() == 1.01 + 0.02


def test_hold_off_does_not_wait_for_ever() -> None:
    """A change every 10 ms never lets 20 ms of quiet pass."""
    lane = HoldOff(quiet=0.02, longest=0.1)
    for step in range(50):
        lane.mark(1.0 + step * 0.01)

    assert lane.due() == 1.0 + 0.1


def test_hold_off_forgets_what_it_ran_for() -> None:
    lane = HoldOff(quiet=0.02, longest=0.1)
    lane.mark(1.0)
    lane.ran(1.02)

    assert lane.due() is None
    lane.mark(5.0)
    assert lane.due() == 5.02


def test_after_a_rest_a_hold_off_is_short() -> None:
    lane = HoldOff(quiet=0.02, longest=0.1, eager=0.002)
    lane.mark(1.0)
    lane.mark(1.001)

    assert lane.due() == 1.0 + 0.002


def test_whoever_is_in_no_hurry_waits_for_quiet_after_a_rest_too() -> None:
    lane = HoldOff(quiet=0.02, longest=0.1, eager=0.002)
    lane.mark(1.0, hurry=False)
    assert lane.due() == 1.0 + 0.02
    lane.ran(1.02)
    lane.ended(1.02)

    lane.mark(2.0, hurry=False)
    lane.mark(2.001)
    assert lane.due() == 2.0 + 0.002
    lane.ran(2.002)
    lane.ended(2.002)

    lane.mark(3.0, hurry=False)
    assert lane.due() == 3.0 + 0.02


def test_a_burst_is_two_runs_and_not_one_for_each_change() -> None:
    """Rest is counted from the end of a run: one that takes long does not make the next one eager."""
    lane = HoldOff(quiet=0.02, longest=0.1, eager=0.002)
    lane.mark(1.0)
    lane.ran(1.002)
    lane.ended(1.3)
    lane.mark(1.31)
    lane.mark(1.32)

    assert lane.due() == 1.32 + 0.02
    lane.ran(1.34)
    lane.ended(1.35)
    lane.mark(1.5)
    assert lane.due() == 1.5 + 0.002


def test_leading_edge_runs_at_once() -> None:
    lane = LeadingEdge(window=0.025)
    assert lane.due() is None
    lane.mark(1.0)

    assert lane.due() == 1.0


def test_leading_edge_collects_behind_a_run() -> None:
    """Everything that comes within the window after a run is one more run at its end; later, at once again."""
    lane = LeadingEdge(window=0.025)
    lane.mark(1.0)
    lane.ran()
    lane.mark(1.01)
    lane.ended(1.02)  # the window is a rest, however long the run took
    lane.mark(1.03)

    assert lane.due() == 1.02 + 0.025
    lane.ran()
    lane.ended(1.05)
    assert lane.due() is None
    lane.mark(2.0)
    assert lane.due() == 2.0


def test_runs_that_follow_each_other_without_end_leave_most_of_the_time_to_others() -> None:
    """Something changes for ever, and each run takes 0.4 s."""
    lane, now, spent = HoldOff(quiet=0.02, longest=0.1, eager=0.002), 0.0, 0.0
    ends = []
    while now < 100:
        lane.mark(now)
        due = lane.due()
        assert due is not None
        now = max(now, due)
        lane.ran(now)
        now, spent = now + 0.4, spent + 0.4
        lane.ended(now)
        ends.append(now)

    assert ends[STREAK - 1] < STREAK * 0.55  # not the first ones
    assert spent < 100 * SHARE + STREAK * 0.4


def test_after_a_rest_nobody_waits_for_long_runs_of_before() -> None:
    lane, now = HoldOff(quiet=0.02, longest=0.1, eager=0.002), 0.0
    for _ in range(3 * STREAK):
        lane.mark(now)
        now = max(now, lane.due() or 0.0)
        lane.ran(now)
        now += 0.4
        lane.ended(now)
    lane.mark(now + 5)

    assert lane.due() == now + 5 + 0.002


def test_a_run_that_took_very_long_is_not_rested_from_for_long() -> None:
    """The process was stopped meanwhile: what waits then, waits a few seconds."""
    lane, now = HoldOff(quiet=0.02, longest=0.1, eager=0.002), 0.0
    for _ in range(STREAK + 2):
        lane.mark(now)
        lane.ran(now)
        now += 0.05
        lane.ended(now)
    lane.mark(now)
    lane.ran(now)
    lane.ended(now + 20)

    assert lane.rested_at == now + 20 + REST
