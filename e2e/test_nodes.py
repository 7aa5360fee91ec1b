"""A node is drained, or vanishes, with whatever of the application and of Fairlead is on it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.machines import Machines
from e2e.support.nodes import Nodes
from e2e.support.site import Site

#: Seconds after which no request of a sidecar may fail any more: Kubernetes' own grace (50 s), its controllers' rounds, and ours.
BOUND = 75.0


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


@pytest.mark.timeout(600)
def test_a_node_vanishes(site: Site, nodes: Nodes, hosts: Machines, proved: Callable[[str], None]) -> None:
    """Without a word. Nobody can know it at once: Kubernetes calls the node lost after its grace.

    Until then requests that go there wait for an answer that does not come; those that are tried again elsewhere succeed.
    New connections to the gateway go to the pod that is lost until kube-proxy has left it out, and even later where a
    client takes a port again that the kernel's connection tracking still maps to it. So the gateway's failures are told,
    those of sidecars are bounded.
    """
    site.app("web", replicas=4)
    site.policy({"web": 1}, route={"timeouts": {"request": "10s", "backendRequest": "1s"}, **objects.RETRY})
    safe, lost = nodes.workers()[:2]
    there = {pod for pod, node in site.pods("web").items() if node == lost}
    running = site.load("--rate", "50", "--clients", "40", "--timeout", "5", "--new-connections", node=safe)
    running.more(200)
    died = running.now()
    with nodes.vanished(lost, hosts):
        running.more(50)
        site.cluster.wait_for(lambda: running.now() > died + BOUND, f"{BOUND:.0f} s have passed", seconds=BOUND + 60)
        running.more(300)
        report = running.stop()
        told = {
            one["pod"]: one["reason"]
            for one in site.cluster.get(site.policies({})[0])["status"]["unhealthyEndpoints"]
            if one.get("node") == lost
        }
        kept = {pod for pod, node in site.pods("web").items() if node == lost}
    until = {way: max((one.began - died for one in part.failed), default=0.0) for way, part in report.ways().items()}
    late = report.ways()["a sidecar"].after(died + BOUND)
    words = ", ".join(f"{seconds:.0f} s through {way}" for way, seconds in until.items())

    assert there, "nothing ran on the node that is lost"
    assert not report.after(died + 5).by_pod().keys() & there
    assert kept == there, "their endpoints shall leave before Kubernetes evicts the pods"
    assert set(told) == there
    assert all(f"node {lost}" in reason for reason in told.values()), told
    assert late
    assert not late.failed, f"later than {BOUND:.0f} s after the loss: {late.words()}; failures until {words} after it"
    proved(
        f"a node with {len(there)} of 4 pods, a gateway and an operator vanished: failures until {words} after it, "
        f"none of {len(late)} requests of a sidecar after {BOUND:.0f} s, no pod evicted yet; in all {report.words()}"
    )
