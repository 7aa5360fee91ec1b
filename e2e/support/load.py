"""Continuous load from inside the cluster, every request of it counted (``e2e/app/load.py`` sends and counts)."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

from e2e.support import objects
from e2e.support.running import RunningCluster

PORT = 9000


@dataclasses.dataclass(frozen=True)
class Request:
    """One request: when it began (seconds since the load's start), what it got, how long it took, how it failed."""

    began: float
    status: int
    pod: str
    milliseconds: float
    failure: str
    client: int

    @property
    def good(self) -> bool:
        return self.status == 200 and not self.failure


@dataclasses.dataclass(frozen=True)
class Report:
    """What a load has seen, or a part of it."""

    requests: tuple[Request, ...]

    def __len__(self) -> int:
        return len(self.requests)

    def after(self, began: float) -> Report:
        return Report(tuple(request for request in self.requests if request.began >= began))

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if not request.good]

    def by_app(self) -> collections.Counter[str]:
        """Good answers for each Deployment."""
        return collections.Counter(request.pod.rsplit("-", 2)[0] for request in self.requests if request.good)

    def by_pod(self) -> collections.Counter[str]:
        return collections.Counter(request.pod for request in self.requests if request.good)

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the requests was answered."""
        times = sorted(request.milliseconds for request in self.requests if request.good)
        return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0

    def words(self) -> str:
        """`1,234 requests, 0 failed, p99 4 ms`, with what failed named."""
        text = f"{len(self):,} requests, {len(self.failed)} failed, p99 {self.percentile(0.99):.0f} ms"
        kinds = collections.Counter((request.failure or str(request.status)) for request in self.failed)
        return text + (f" ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())})" if kinds else "")


class Load:
    """A load pod while it sends. ``stop`` gives the report of everything."""

    def __init__(
        self,
        cluster: RunningCluster,
        namespace: str,
        name: str,
        arguments: list[str],
        *,
        node: str = "",
        labels: dict[str, str] | None = None,
    ) -> None:
        self._cluster, self._namespace, self._name = cluster, namespace, name
        cluster.apply(objects.load(namespace, name, arguments, node=node, labels=labels))
        cluster.wait_for(self._ready, f"load pod {name} is ready", seconds=60)

    def _ready(self) -> bool:
        found = self._cluster.request("GET", f"/api/v1/namespaces/{self._namespace}/pods/{self._name}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions", []))

    def seen(self) -> Report:
        """What it has seen up to now."""
        return Report(tuple(Request(*row) for row in self._results(0)["rows"]))

    def certificates(self) -> dict[str, int]:
        """Fingerprint -> handshakes that showed it, where the load speaks TLS."""
        return dict(self._results(10**9)["certificates"])

    def epoch(self) -> float:
        """Wall clock's time of the load's start: what `Request.began` counts from."""
        return float(self._results(10**9)["epoch"])

    def now(self) -> float:
        """The load's own clock: the start of its newest request."""
        requests = self.seen().requests
        return max((request.began + request.milliseconds / 1000 for request in requests), default=0.0)

    def more(self, count: int, *, seconds: float = 60) -> None:
        """Wait until *count* more requests are done: so that a test judges enough of them, however fast they are."""
        last = len(self.seen()) + count - 1
        self._cluster.wait_for(lambda: self._results(last)["rows"], f"{count} more requests", seconds=seconds)

    def stop(self) -> Report:
        self._cluster.request("POST", self._path("stop"))
        return self.seen()

    def _results(self, first: int) -> dict[str, Any]:
        found: dict[str, Any] = self._cluster.request("GET", self._path(f"results?from={first}"))
        return found

    def _path(self, path: str) -> str:
        return self._cluster.proxied(self._namespace, self._name, PORT, path)
