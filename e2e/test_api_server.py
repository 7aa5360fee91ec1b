"""The API server is killed under load: Envoys go on, what changes meanwhile arrives after."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from e2e.support.installation import Installation
from e2e.support.machines import Machines
from e2e.support.nodes import Nodes
from e2e.support.site import Site
from tests.support.kube import ApiError


@pytest.mark.timeout(420)
def test_the_api_server_is_killed(
    site: Site, nodes: Nodes, hosts: Machines, installation: Installation, proved: Callable[[str], None]
) -> None:
    for name in ("old", "new"):
        site.app(name)
    site.policy({"old": 1})
    running = site.load("--rate", "100")
    running.more(200)
    (control,) = nodes.control_planes()
    rounds = 3
    for _ in range(rounds):
        hosts.end_process(control, "kube-apiserver")
        site.cluster.wait_for(lambda: _answers(site), "the API server answers again", seconds=120)
        running.more(100)
    site.policy({"new": 1}, seconds=90)
    installation.led()
    moved = running.now()
    running.more(200)
    report = running.stop()

    assert not report.failed, report.words()
    assert set(report.after(moved).by_app()) == {"new"}, report.after(moved).by_app()
    proved(f"the API server killed {rounds} times; a change right after is programmed and obeyed: {report.words()}")


def _answers(site: Site) -> bool:
    with contextlib.suppress(ApiError, OSError):
        site.cluster.request("GET", f"/api/v1/namespaces/{site.namespace}")
        return True
    return False
