"""A node vanishes without a word, with a part of everything on it.

Nobody can know it at once: Kubernetes calls the node lost after its grace (40 to 50 s), and until then requests that go
there time out. What must hold: the other pods serve meanwhile, and once Kubernetes knows, nothing goes there any more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from e2e.cluster import engine
from e2e.support import objects
from e2e.support.site import Site

#: Seconds after which no request may fail any more: Kubernetes' own grace, its controllers' rounds, and ours.
BOUND = 75.0


@pytest.fixture
def node_ends(site: Site) -> Iterator[Callable[[str], None]]:
    """Stops the container that a node is; it runs again after the test, its pods with it."""
    found = engine.running()
    if found is None or os.environ.get("CLUSTER") == "current":
        pytest.skip("only a node that this machine's container engine runs can be stopped")
    stopped: list[str] = []

    def end(node: str) -> None:
        stopped.append(node)
        found.docker("kill", node)

    yield end
    for node in stopped:
        found.docker("start", node)
        path = f"/api/v1/nodes/{node}"
        site.cluster.wait_for(
            lambda path=path: any(  # type: ignore[misc] # mypy cannot infer a lambda with a default
                condition["type"] == "Ready" and condition["status"] == "True"
                for condition in site.cluster.request("GET", path)["status"]["conditions"]
            ),
            f"{node} is Ready again",
            seconds=120,
        )
    for name in ("fairlead-operator", "fairlead-gateway-edge"):
        site.cluster.rolled_out("fairlead-system", name)


@pytest.mark.timeout(600)
def test_a_node_vanishes(site: Site, node_ends: Callable[[str], None], proved: Callable[[str], None]) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1}, route={"timeouts": {"request": "10s", "backendRequest": "1s"}, **objects.RETRY})
    safe, lost = site.workers()[:2]
    there = {pod for pod, node in site.pods("web").items() if node == lost}
    running = site.load("--rate", "50", "--clients", "40", "--timeout", "5", "--new-connections", node=safe)
    running.more(200)
    died = running.now()
    node_ends(lost)
    running.more(50)
    site.cluster.wait_for(lambda: running.now() > died + BOUND, f"{BOUND:.0f} s have passed", seconds=BOUND + 60)
    running.more(300)
    report = running.stop()
    late = report.after(died + BOUND)
    last = max((request.began for request in report.failed), default=died) - died

    assert there, "nothing ran on the node that is lost"
    assert not report.after(died + 5).by_pod().keys() & there
    assert not late.failed, f"later than {BOUND:.0f} s after the loss: {late.words()}"
    proved(
        f"a node with {len(there)} of 4 pods, a gateway and an operator vanished: the last failure {last:.0f} s after it "
        f"(bound {BOUND:.0f} s), none of {len(late)} afterwards; in all {report.words()}"
    )
