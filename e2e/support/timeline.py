"""What becomes of one pod, second by second: as its kubelet, its slice, its policy and its requests have it."""

from __future__ import annotations

import contextlib
import itertools
import json
import ssl
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

from e2e.support.report import Report
from e2e.support.running import RunningCluster, is_ready

Json = dict[str, Any]


class Entry(NamedTuple):
    """One line.

    Attributes:
        at: wall clock, seconds.
        who: it was seen by.
    """

    at: float
    who: str
    what: str


class Timeline:
    """A context manager; what it sees is in ``entries``, each change once."""

    def __init__(self, cluster: RunningCluster, namespace: str, pod: str) -> None:
        self._cluster, self._namespace, self._pod = cluster, namespace, pod
        self._entries: list[Entry] = []
        self._last: dict[str, str] = {}
        self._over = False
        policies = f"/apis/fairlead.dev/v1alpha1/namespaces/{namespace}/loadbalancerpolicies"
        slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        self._watches: list[tuple[str, str, Callable[[Json], str | None]]] = [
            ("kubelet", f"/api/v1/namespaces/{namespace}/pods?fieldSelector=metadata.name%3D{pod}", self._of_pod),
            ("EndpointSlice", f"{slices}?labelSelector=kubernetes.io/service-name%3Dweb", self._of_slice),
            ("policy", f"{policies}?fieldSelector=metadata.name%3Dsite", self._of_policy),
        ]

    def __enter__(self) -> Self:
        for who, path, read in self._watches:
            threading.Thread(target=self._watch, args=(who, path, read), daemon=True).start()
        self._cluster.wait_for(lambda: len(self._last) == len(self._watches), "everything is watched")
        self._entries.clear()  # how it was before is no event
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def note(self, what: str) -> None:
        """Something that the scenario itself does."""
        self._entries.append(Entry(time.time(), "application", what))

    def entries(self, report: Report, *, pause: float = 1.0) -> list[Entry]:
        """All, with the pauses of at least *pause* seconds in which none of the requests of *report* went to the pod."""
        return sorted([*self._entries, *self._pauses(report, pause)])

    def _pauses(self, report: Report, pause: float) -> Iterator[Entry]:
        first = min((entry.at for entry in self._entries), default=0.0)
        times = sorted(one.began for one in report.requests if one.pod == self._pod and one.good and one.began >= first)
        for before, after in itertools.pairwise(times):
            if after - before >= pause:
                yield Entry(before, "requests", "the last one")
                yield Entry(after, "requests", "they come again")

    # Watches

    def _watch(self, who: str, path: str, read: Callable[[Json], str | None]) -> None:
        with contextlib.suppress(OSError, ValueError, ssl.SSLError):
            url = f"{self._cluster.url}{path}&watch=1&timeoutSeconds=900"
            with urllib.request.urlopen(url, context=self._cluster.tls, timeout=900) as response:
                for line in response:
                    if self._over:
                        return
                    said = read(json.loads(line)["object"])
                    if said is not None and self._last.get(who) != said:
                        self._last[who] = said
                        self._entries.append(Entry(time.time(), who, said))

    @staticmethod
    def _of_pod(pod: Json) -> str:
        status = pod.get("status", {})
        (container,) = status["containerStatuses"]
        ((state, more),) = container["state"].items()
        words = f"{state}: {more['reason']}" if more.get("reason") else state
        return f"{'ready' if is_ready(pod) else 'not ready'}, container {words}, {container['restartCount']} restarts"

    def _of_slice(self, found: Json) -> str | None:
        for one in found.get("endpoints") or []:
            if (one.get("targetRef") or {}).get("name") == self._pod:
                return "ready" if one["conditions"].get("ready") else "not ready"
        return None

    def _of_policy(self, policy: Json) -> str | None:
        if "status" not in policy:
            return None
        for one in policy["status"].get("unhealthyEndpoints", []):
            if one.get("pod") == self._pod:
                return f"{one['health']}: {one['reason']}"
        return "Healthy"


def table(entries: list[Entry]) -> str:
    """For the docs; seconds since the first entry."""
    if not entries:
        return ""
    first = entries[0].at
    rows = [f"| {entry.at - first:.2f} | {entry.who} | {entry.what} |" for entry in entries]
    return "\n".join(["| s | seen by | what |", "|---|---|---|", *rows])


def after(entries: list[Entry], who: str, begins: str, *, since: float = 0.0) -> float:
    """When *who* first said something that begins so. Raises AssertionError where that never happened."""
    for entry in entries:
        if entry.at >= since and entry.who == who and entry.what.startswith(begins):
            return entry.at
    raise AssertionError(f"{who} never said {begins!r}:\n{table(entries)}")
