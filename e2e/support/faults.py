"""A hundred faults in an order that a seed decides: what is done to which pod, and when it is over."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from e2e.support.machines import Machines
from e2e.support.nodes import Nodes
from e2e.support.report import Report
from e2e.support.running import is_ready
from e2e.support.site import Site
from tests.support.kube import ApiError

#: How often of a hundred.
SHARES: Final = {
    "not ready": 26,
    "terminated": 24,
    "scaled down": 18,
    "killed": 20,
    "liveness": 10,
    "node lost": 2,
}
#: They leave a ready pod and tell of themselves before anything fails: nobody need lose a request.
GENTLE: Final = frozenset({"not ready", "terminated", "scaled down"})
REPLICAS: Final = 6


@dataclasses.dataclass(frozen=True)
class Fault:
    """One that was done; times are the cluster's wall clock."""

    number: int
    kind: str
    victim: str
    began: float
    ended: float


def plan(seed: int, count: int = 100) -> list[str]:
    """Kinds in their order: each as often as ``SHARES`` says, as near as *count* allows; lost nodes are the last.

    For two minutes after a loss the kernel maps connections of kube-proxy to the gateway's pod that was lost, whenever a
    client takes a port again: that would be counted to other faults.
    """
    exact = {kind: share * count / 100 for kind, share in SHARES.items()}
    counts = {kind: int(number) for kind, number in exact.items()}
    for kind in sorted(exact, key=lambda kind: counts[kind] - exact[kind])[: count - sum(counts.values())]:
        counts[kind] += 1
    kinds = [kind for kind, number in counts.items() for _ in range(number)]
    random.Random(seed).shuffle(kinds)
    return sorted(kinds, key="node lost".__eq__)


class Faults:
    """Does them. Everything is as before when a fault returns, but for pods that the kubelet makes wait."""

    def __init__(self, site: Site, nodes: Nodes, machines: Machines, lost: str, seed: int) -> None:
        self._site, self._nodes, self._machines, self._lost = site, nodes, machines, lost
        self._random = random.Random(seed)
        self.done: list[Fault] = []

    def do(self, kind: str) -> Fault:
        victim = self._lost if kind == "node lost" else self._random.choice(self._ready())
        began = time.time()
        acts: dict[str, Callable[[str], None]] = {
            "not ready": self._not_ready,
            "terminated": self._terminated,
            "scaled down": self._scaled_down,
            "killed": self._killed,
            "liveness": self._liveness,
            "node lost": self._node_lost,
        }
        acts[kind](victim)
        self._settle()
        self.done.append(Fault(len(self.done) + 1, kind, victim, began, time.time()))
        return self.done[-1]

    def _ready(self) -> list[str]:
        found = self._site.cluster.pods(self._site.namespace, "app=web")
        return sorted(
            pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"] and is_ready(pod)
        )

    def _settle(self) -> None:
        """A pod that crashed too often waits for minutes before the kubelet starts it again: two may."""
        wait = self._site.cluster.wait_for
        wait(lambda: len(self._ready()) >= REPLICAS - 2, "four of six pods are ready", seconds=360)
        time.sleep(1)

    def _not_ready(self, pod: str) -> None:
        """It says so, and fails a second later: a pod that loses what it depends on."""
        wait = self._site.cluster.wait_for
        self._site.call(pod, "fail?what=ready")
        wait(lambda: not self._site.ready(pod), f"{pod} is not ready")
        time.sleep(1)
        self._site.call(pod, "fail?what=requests")
        time.sleep(2)
        self._site.call(pod, "heal")
        wait(lambda: self._site.ready(pod), f"{pod} is ready again")

    def _terminated(self, pod: str) -> None:
        path = f"/api/v1/namespaces/{self._site.namespace}/pods/{pod}"
        self._site.cluster.request("DELETE", path)
        self._gone([pod])

    def _scaled_down(self, _: str) -> None:
        before = self._alive()
        self._replicas(REPLICAS - 1)
        ending = functools.partial(self._ending, before)
        self._gone(self._site.cluster.wait_for(ending, "a pod ends"))
        self._replicas(REPLICAS)
        self._site.cluster.wait_for(lambda: len(self._site.pods("web")) == REPLICAS, "there are six pods again")

    def _ending(self, before: Iterable[str]) -> list[str]:
        return sorted(set(before) - self._alive())

    def _alive(self) -> set[str]:
        found = self._site.cluster.pods(self._site.namespace, "app=web")
        return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}

    def _replicas(self, count: int) -> None:
        path = f"/apis/apps/v1/namespaces/{self._site.namespace}/deployments/web"
        self._site.cluster.request("PATCH", path, {"spec": {"replicas": count}})

    def _gone(self, pods: Sequence[str]) -> None:
        for pod in pods:
            gone = functools.partial(self._site.cluster.gone, self._site.namespace, pod)
            self._site.cluster.wait_for(gone, f"{pod} is gone")

    def _killed(self, pod: str) -> None:
        """As by SIGKILL: the process is away between two instructions."""
        before = self._site.restarts(pod)
        with contextlib.suppress(ApiError):  # it cannot answer any more
            self._site.call(pod, "crash")
        # Started again at once the first time, later by and by; either way nobody listens for a while.
        deadline = time.monotonic() + 5
        while self._site.restarts(pod) == before and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)

    def _liveness(self, pod: str) -> None:
        """The kubelet ends the container, with its grace, and starts it again."""
        before = self._site.restarts(pod)
        self._site.call(pod, "fail?what=live")
        self._site.cluster.wait_for(lambda: self._site.restarts(pod) > before, f"{pod} is restarted", seconds=360)
        self._site.cluster.wait_for(lambda: self._site.ready(pod), f"{pod} is ready again")

    def _node_lost(self, node: str) -> None:
        """Until Kubernetes knows, and all have acted on it; then it is back."""
        with self._nodes.vanished(node, self._machines):
            self._site.cluster.wait_for(lambda: not self._nodes.ready(node), f"{node} is lost", seconds=180)
            time.sleep(10)
        self._site.cluster.rolled_out(self._site.namespace, "web")


@dataclasses.dataclass(frozen=True)
class Row:
    """Requests and failures of one kind of fault through one way."""

    kind: str
    times: int
    way: str
    requests: int
    failed: int


def rows(faults: Sequence[Fault], report: Report) -> list[Row]:
    """Every request belongs to the fault that was the last to begin before it."""
    found = []
    for way, part in report.ways().items():
        counts = dict.fromkeys(SHARES, (0, 0))
        ordered = sorted(part.requests, key=lambda one: one.began)
        index = -1
        for one in ordered:
            while index + 1 < len(faults) and faults[index + 1].began <= one.began:
                index += 1
            if index >= 0:
                requests, failed = counts[faults[index].kind]
                counts[faults[index].kind] = (requests + 1, failed + (not one.good))
        found += [
            Row(kind, sum(fault.kind == kind for fault in faults), way, *numbers) for kind, numbers in counts.items()
        ]
    return found


def table(found: Sequence[Row]) -> str:
    """For the docs: a row a kind, a column a way."""
    ways = list(dict.fromkeys(row.way for row in found))
    lines = [["fault", "times", *(f"{way}: failed of" for way in ways)]]
    for kind in SHARES:
        of_kind = {row.way: row for row in found if row.kind == kind}
        if of_kind and next(iter(of_kind.values())).times:
            cells = [f"{of_kind[way].failed:,} of {of_kind[way].requests:,}" for way in ways]
            lines.append([kind, str(next(iter(of_kind.values())).times), *cells])
    text = ["| " + " | ".join(line) + " |" for line in lines]
    text.insert(1, "|" + "---|" * len(lines[0]))
    return "\n".join(text)
