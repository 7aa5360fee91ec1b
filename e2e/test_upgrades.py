"""Rolling replacement of the operators and of the gateways under load, one by one and all at once by ``helm upgrade``."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
import yaml

from e2e.cluster import install
from e2e.support import objects
from e2e.support.installation import GATEWAY, NAMESPACE, OPERATOR, Installation
from e2e.support.report import Report
from e2e.support.site import Site


@pytest.mark.telling
@pytest.mark.timeout(420)
def test_operators_roll_while_pods_come_and_go(
    site: Site, installation: Installation, proved: Callable[[str], None]
) -> None:
    site.app("web", replicas=4, drain=25)
    site.policy({"web": 1})
    running = site.load("--rate", "100")
    running.more(200)
    before = installation.restart(OPERATOR)
    site.scale("web", 6)
    # Ready is not enough: else two pods could go again before anybody had a chance to ask them.
    running.answered_by(site.living("web"))
    site.scale("web", 3)
    installation.replaced(OPERATOR, before)
    running.more(300)
    report = running.stop()

    assert len(before) > 1
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


@pytest.mark.timeout(540)
def test_helm_upgrade_and_rollback_of_everything(
    site: Site, installation: Installation, tmp_path: pathlib.Path, proved: Callable[[str], None]
) -> None:
    """Operators, gateways and their configuration change at once, while the application rolls too, and change back."""
    site.app("web", replicas=3, drain=25)
    site.policy({"web": 1}, route=objects.RETRY)
    kept = site.load("--rate", "50")
    fresh = site.load("--rate", "20", "--new-connections")
    for load in (kept, fresh):
        load.more(100)
    names = (OPERATOR, GATEWAY)
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(_NEXT))
    history = installation.revision()
    replaced = 0
    try:
        before = {name: installation.pods(name) for name in names}
        install.install(site.cluster.kubeconfig, "--values", values)
        site.restart("web")
        for name in names:
            installation.replaced(name, before[name])
            replaced += len(before[name])
    finally:
        before = {name: installation.pods(name) for name in names}
        words = ("rollback", install.RELEASE, str(history), "--namespace", NAMESPACE)
        install.helm(*words, kubeconfig=site.cluster.kubeconfig)
    for name in names:
        installation.replaced(name, before[name])
        replaced += len(before[name])
    for load in (kept, fresh):
        load.more(100)
    reports = kept.stop(), fresh.stop()

    assert not Report.joined(reports).failed, [report.words() for report in reports]
    proved(
        f"helm upgrade and helm rollback under load: {replaced} pods of operators and gateways replaced, and the "
        f"application's; 16 kept connections {reports[0].words()}; a connection for each request {reports[1].words()}"
    )


#: Pods of another form, and another configuration of the operator.
_NEXT = {
    "operator": {"podAnnotations": {"e2e/revision": "next"}},
    "gateways": [{"name": "edge", "podAnnotations": {"e2e/revision": "next"}}],
}
