"""Continuous load from inside the cluster, every request of it counted (``e2e/app/load.py`` sends and counts)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from e2e.support import objects
from e2e.support.report import Report, Request
from e2e.support.running import RunningCluster

PORT = 9000


class Load:
    """A load pod while it sends. ``stop`` gives the report of everything."""

    def __init__(
        self,
        cluster: RunningCluster,
        namespace: str,
        name: str,
        arguments: list[str],
        *,
        way: str,
        node: str = "",
        labels: dict[str, str] | None = None,
        annotations: dict[str, str] | None = None,
    ) -> None:
        self._cluster, self._namespace, self._name, self.way = cluster, namespace, name, way
        cluster.apply(objects.load(namespace, name, arguments, node=node, labels=labels, annotations=annotations))

    def started(self) -> None:
        """Wait until it sends."""
        self._cluster.wait_for(self._ready, f"load pod {self._name} is ready", seconds=60)

    def _ready(self) -> bool:
        found = self._cluster.request("GET", f"/api/v1/namespaces/{self._namespace}/pods/{self._name}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions", []))

    def seen(self) -> Report:
        """What it has seen up to now."""
        return self._seen(0)

    def _seen(self, first: int) -> Report:
        """From the request of that number on."""
        found = self._results(first)
        return Report(
            tuple(
                Request(found["epoch"] + began, status, pod, milliseconds, failure, f"{self._name}/{client}", self.way)
                for began, status, pod, milliseconds, failure, client in found["rows"]
            )
        )

    def certificates(self) -> dict[str, int]:
        """Fingerprint -> handshakes that showed it, where the load speaks TLS."""
        return dict(self._results(10**9)["certificates"])

    def more(self, count: int, *, seconds: float = 60) -> None:
        """Wait until *count* more requests are done: so that a test judges enough of them, however fast they are."""
        last = len(self._results(0)["rows"]) + count - 1
        self._cluster.wait_for(lambda: self._results(last)["rows"], f"{count} more requests", seconds=seconds)

    def answered_by(self, pods: Collection[str], *, seconds: float = 90) -> None:
        """Wait until each of *pods* has answered one."""
        silent, first = set(pods), 0

        def done() -> bool:
            nonlocal first
            news = self._seen(first)
            first += len(news)
            silent.difference_update(news.by_pod())
            return not silent

        self._cluster.wait_for(done, f"each of {len(pods)} pods has answered {self._name}", seconds=seconds)

    def targets(self, addresses: list[str]) -> None:
        """From now on each connection goes to the next of *addresses*."""
        self._cluster.request("POST", self._path("targets"), addresses)

    def stop(self) -> Report:
        self._cluster.request("POST", self._path("stop"))
        return self.seen()

    def _results(self, first: int) -> dict[str, Any]:
        found: dict[str, Any] = self._cluster.request("GET", self._path(f"results?from={first}"))
        return found

    def _path(self, path: str) -> str:
        return self._cluster.proxied(self._namespace, self._name, PORT, path)


class Loads:
    """The same load on several ways at once: through the gateway and through a sidecar. Used as one."""

    def __init__(self, loads: Iterable[Load]) -> None:
        self._loads = list(loads)
        self.ways = {load.way: load for load in self._loads}
        for load in self._loads:
            load.started()

    def seen(self) -> Report:
        return Report.joined(load.seen() for load in self._loads)

    def certificates(self) -> list[dict[str, int]]:
        """Of each way."""
        return [load.certificates() for load in self._loads]

    def now(self) -> float:
        """The loads' own clock: the end of their newest request."""
        requests = self.seen().requests
        return max((request.began + request.milliseconds / 1000 for request in requests), default=0.0)

    def more(self, count: int, *, seconds: float = 60) -> None:
        """Wait until *count* more requests are done on each way."""
        for load in self._loads:
            load.more(count, seconds=seconds)

    def answered_by(self, pods: Collection[str], *, seconds: float = 90) -> None:
        """Wait until each of *pods* has answered one on each way."""
        for load in self._loads:
            load.answered_by(pods, seconds=seconds)

    def stop(self) -> Report:
        return Report.joined([load.stop() for load in self._loads])
