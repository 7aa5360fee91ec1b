"""A node is drained under load, with whatever of the application and of Fairlead is on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.nodes import Nodes
from e2e.support.site import Site


@pytest.mark.timeout(420)
def test_a_node_is_drained(site: Site, nodes: Nodes, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=6)
    site.policy({"web": 1}, route=objects.RETRY)
    first, second = nodes.workers()[:2]
    running = site.load("--rate", "100", "--clients", "16", node=first)
    running.more(200)
    with nodes.cordoned(second):
        evicted = nodes.drain(second)
        running.more(300)
        assert set(site.pods("web").values()) == {first}
    report = running.stop()

    assert not report.failed, report.words()
    proved(f"a node drained, {evicted} pods evicted: {report.words()}")
