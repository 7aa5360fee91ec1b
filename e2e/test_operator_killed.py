"""Operators are killed under load, and the site changes while they are gone: Envoys go on, the change arrives after."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.installation import OPERATOR, Installation
from e2e.support.site import Site


@pytest.mark.timeout(420)
@pytest.mark.parametrize("whom", ["leader", "follower", pytest.param("all", marks=pytest.mark.telling)])
def test_operators_killed_while_a_policy_changes(
    whom: str, site: Site, installation: Installation, proved: Callable[[str], None]
) -> None:
    for name in ("old", "new"):
        site.app(name)
    site.policy({"old": 1})
    running = site.load("--rate", "100")
    running.more(200)
    installation.led()
    leader, everybody = installation.leader(), installation.pods(OPERATOR)
    assert leader in everybody
    assert len(everybody) > 1, everybody
    killed = installation.kill({"leader": {leader}, "follower": everybody - {leader}, "all": everybody}[whom])
    # Operators start, and a dead leader's Lease must run out before another writes the status.
    site.policy({"new": 1}, seconds=90)
    installation.led()
    moved = running.now()
    running.more(200)
    report = running.stop()

    assert not report.failed, report.words()
    assert set(report.after(moved).by_app()) == {"new"}, report.after(moved).by_app()
    proved(
        f"{killed} of {len(everybody)} operators killed ({whom}), a change made meanwhile is programmed and obeyed, "
        f"8 connections each: {report.words()}"
    )


@pytest.mark.timeout(600)
def test_all_operators_are_killed_at_every_step(
    site: Site, installation: Installation, proved: Callable[[str], None]
) -> None:
    """Before each step of a canary with a rollout and a scaling in it, without notice.

    Until one runs again nobody tells the proxies of new endpoints, so the application drains for longer than that takes.
    """
    for name in ("old", "new"):
        site.app(name, drain=25)
    site.policy({"old": 90, "new": 10}, route=objects.RETRY)
    running = site.load("--rate", "60", "--clients", "16")
    running.more(100)
    steps: list[Callable[[], None]] = [
        lambda: site.policy({"old": 50, "new": 50}, route=objects.RETRY, seconds=90),
        lambda: site.scale("new", 4),
        lambda: site.restart("new"),
        lambda: site.policy({"old": 0, "new": 100}, route=objects.RETRY, seconds=90),
    ]
    killed = 0
    for step in steps:
        installation.whole()
        killed += installation.kill(installation.pods(OPERATOR))
        step()
        running.more(100)
    installation.whole()
    last = running.now()
    running.more(200)
    report = running.stop()

    assert killed >= 2 * len(steps)
    assert not report.failed, report.words()
    assert set(report.after(last).by_app()) == {"new"}
    proved(f"{killed} operator pods killed, all at once before each of {len(steps)} steps: {report.words()}")
