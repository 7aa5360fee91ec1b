"""Operators are killed under load, and a policy changes while they are gone: Envoys go on, the change arrives after."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.running import RunningCluster
from e2e.support.site import Site

NAMESPACE, OPERATORS = "fairlead-system", "app.kubernetes.io/component=operator"


@pytest.mark.timeout(420)
@pytest.mark.parametrize("whom", ["leader", "follower", "all"])
def test_operators_killed_while_a_policy_changes(whom: str, site: Site, proved: Callable[[str], None]) -> None:
    for name in ("old", "new"):
        site.app(name)
    site.policy({"old": 1})
    running = site.load("--rate", "100")
    running.more(200)
    leader, everybody = _leader(site.cluster), _operators(site.cluster)
    assert leader in everybody
    assert len(everybody) > 1, everybody
    victims = {"leader": {leader}, "follower": everybody - {leader}, "all": everybody}[whom]
    for victim in victims:
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{victim}?gracePeriodSeconds=0"
        site.cluster.request("DELETE", path)
    changed = objects.policy(site.namespace, {"new": 1}, hostname=site.hostname)
    site.cluster.apply(changed)
    # Operators start, and a dead leader's Lease must run out before another writes the status.
    site.cluster.wait_for(
        lambda: site.cluster.condition(changed, "Programmed") == "True", "the change is programmed", seconds=90
    )
    site.cluster.wait_for(lambda: _leader(site.cluster) in _operators(site.cluster), "a living leader", seconds=60)
    moved = running.now()
    running.more(200)
    report = running.stop()
    site.cluster.rolled_out(NAMESPACE, "fairlead-operator")

    assert not report.failed, report.words()
    assert set(report.after(moved).by_app()) == {"new"}, report.after(moved).by_app()
    proved(
        f"{len(victims)} of {len(everybody)} operators killed ({whom}), a change made meanwhile is programmed and obeyed, "
        f"8 connections: {report.words()}"
    )


def _leader(cluster: RunningCluster) -> str:
    """Name of the pod that holds the Lease, dead or alive."""
    found = cluster.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/fairlead-leader")
    return str(found["spec"].get("holderIdentity") or "")


def _operators(cluster: RunningCluster) -> set[str]:
    return {pod["metadata"]["name"] for pod in cluster.pods(NAMESPACE, OPERATORS)}
