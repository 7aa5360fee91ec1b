"""Rolling replacement of the operators and of the gateways under load, as ``helm upgrade`` brings it about."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from e2e.support.running import RunningCluster
from e2e.support.site import Site

NAMESPACE, OPERATOR, GATEWAY = "fairlead-system", "fairlead-operator", "fairlead-gateway-edge"
OPERATORS, GATEWAYS = "app.kubernetes.io/component=operator", "fairlead.dev/gateway=edge"


@pytest.mark.timeout(420)
def test_operators_roll_while_pods_come_and_go(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1})
    before = _names(site.cluster, OPERATORS)
    running = site.load("--rate", "100")
    running.more(200)
    _restart(site.cluster, OPERATOR)
    site.scale("web", 6)
    site.scale("web", 3)
    _replaced(site.cluster, OPERATOR, OPERATORS, before)
    running.more(300)
    report = running.stop()

    assert len(before) > 1
    assert len(report.by_pod()) >= 6, report.by_pod()
    assert not report.failed, report.words()
    proved(f"{len(before)} operators replaced while the application went 4 -> 6 -> 3, 8 connections: {report.words()}")


@pytest.mark.timeout(420)
def test_gateways_roll(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=3)
    site.policy({"web": 1})
    before = _names(site.cluster, GATEWAYS)
    kept, fresh = site.load("--rate", "100", "--clients", "16"), site.load("--rate", "30", "--new-connections")
    for load in (kept, fresh):
        load.more(100)
    _restart(site.cluster, GATEWAY)
    _replaced(site.cluster, GATEWAY, GATEWAYS, before)
    for load in (kept, fresh):
        load.more(100)
    reports = kept.stop(), fresh.stop()

    assert len(before) > 1
    for report in reports:
        assert not report.failed, report.words()
    proved(
        f"{len(before)} gateways replaced: over 16 kept connections {reports[0].words()}; "
        f"a connection for each request {reports[1].words()}"
    )


def _restart(cluster: RunningCluster, name: str) -> None:
    mark = {"e2e/restarted": secrets.token_hex(4)}
    change = {"spec": {"template": {"metadata": {"annotations": mark}}}}
    cluster.request("PATCH", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}", change)


def _replaced(cluster: RunningCluster, name: str, selector: str, before: set[str]) -> None:
    cluster.rolled_out(NAMESPACE, name)
    cluster.wait_for(lambda: not before & _names(cluster, selector), f"all pods of {name} are new ones", seconds=90)


def _names(cluster: RunningCluster, selector: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE, selector)}
