"""When lanes run, in seconds of a clock that is just a number."""

from __future__ import annotations

from fairlead_operator.lanes import HoldOff, LeadingEdge


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
    lane.ran()

    assert lane.due() is None
    lane.mark(5.0)
    assert lane.due() == 5.02


def test_after_a_rest_a_hold_off_is_short() -> None:
    lane = HoldOff(quiet=0.02, longest=0.1, eager=0.002)
    lane.mark(1.0)
    lane.mark(1.001)

    assert lane.due() == 1.0 + 0.002


def test_a_burst_is_two_runs_and_not_one_for_each_change() -> None:
    """Rest is counted from the end of a run: one that takes long does not make the next one eager."""
    lane = HoldOff(quiet=0.02, longest=0.1, eager=0.002)
    lane.mark(1.0)
    lane.ran()
    lane.ended(1.3)
    lane.mark(1.31)
    lane.mark(1.32)

    assert lane.due() == 1.32 + 0.02
    lane.ran()
    lane.ended(1.35)
    lane.mark(1.5)
    assert lane.due() == 1.5 + 0.002


def test_leading_edge_runs_at_once() -> None:
    lane = LeadingEdge(window=0.025)
    assert lane.due() is None
    lane.mark(1.0)

    assert lane.due() == 1.0


def test_leading_edge_collects_behind_a_run() -> None:
    """Everything that comes within the window of a run is one more run at its end; later, at once again."""
    lane = LeadingEdge(window=0.025)
    lane.mark(1.0)
    lane.ran(1.0)
    lane.mark(1.01)
    lane.mark(1.02)

    assert lane.due() == 1.025
    lane.ran(1.025)
    assert lane.due() is None
    lane.mark(2.0)
    assert lane.due() == 2.0
