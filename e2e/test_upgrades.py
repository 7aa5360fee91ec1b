"""Rolling replacement of the operators and of the gateways under load, as ``helm upgrade`` brings it about."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support.installation import GATEWAY, OPERATOR, Installation
from e2e.support.report import Report
from e2e.support.site import Site


@pytest.mark.telling
@pytest.mark.timeout(420)
def test_operators_roll_while_pods_come_and_go(
    site: Site, installation: Installation, proved: Callable[[str], None]
) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1})
    running = site.load("--rate", "100")
    running.more(200)
    before = installation.restart(OPERATOR)
    site.scale("web", 6)
    site.scale("web", 3)
    installation.replaced(OPERATOR, before)
    running.more(300)
    report = running.stop()

    assert len(before) > 1
    assert len(report.by_pod()) >= 6, report.by_pod()
    assert not report.failed, report.words()
    proved(
        f"{len(before)} operators replaced while the application went 4 -> 6 -> 3, 8 connections each: {report.words()}"
    )


@pytest.mark.timeout(420)
def test_gateways_roll(site: Site, installation: Installation, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=3)
    site.policy({"web": 1})
    # Sidecars have no part in it.
    ways = ("the gateway",)
    kept = site.load("--rate", "100", "--clients", "16", ways=ways)
    fresh = site.load("--rate", "30", "--new-connections", ways=ways)
    for load in (kept, fresh):
        load.more(100)
    before = installation.restart(GATEWAY)
    installation.replaced(GATEWAY, before)
    for load in (kept, fresh):
        load.more(100)
    reports = kept.stop(), fresh.stop()

    assert len(before) > 1
    assert not Report.joined(reports).failed, [report.words() for report in reports]
    proved(
        f"{len(before)} gateways replaced: over 16 kept connections {reports[0].words()}; "
        f"a connection for each request {reports[1].words()}"
    )
