"""Pods come and go: from Ready to the first request, from terminating to the last, from slice to acknowledgement.

A pod's own times in the API have a resolution of a second, so the moments are those in which a watcher, this one, sees
the pod become Ready or terminating: what the operator sees at the same time, in milliseconds.
"""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
import time
import urllib.request
from typing import Self

from bench.figure import Figure
from e2e.bench.figures import milliseconds
from e2e.bench.metrics import Propagation
from e2e.support.load import Loads
from e2e.support.running import is_ready
from e2e.support.site import Site

BASE = 2
#: Seconds that pods stay as they are: for a request to arrive, however late Kubernetes writes the slice (its controller tries
#: again after a second when its own caches were behind), and for the machine to rest.
REST = 1.5
#: Seconds that a series may take.
LONGEST = 3600


def measure(site: Site, load: Loads, count: int) -> list[Figure]:
    """*count* pods that come and go one after the other, as in a rolling update, while *load* runs."""
    spread, figures = _series(site, load, "one pod at a time", rounds=count, at_once=1)
    return [
        *figures,
        milliseconds(
            "one pod at a time: EndpointSlice change -> all gateways and sidecars, p99 (a bucket's bound)",
            [spread.bound(0.99) * 1000],
            target=100,
        ),
        milliseconds("… and p50 (a bucket's bound)", [spread.bound(0.5) * 1000]),
    ]


def together(site: Site, load: Loads, rounds: int) -> list[Figure]:
    """*rounds* times five pods that start at once. What that takes of the machine's cores is most of these figures."""
    spread, figures = _series(site, load, "five pods at once", rounds=rounds, at_once=5)
    return [
        *figures,
        milliseconds("five pods at once: EndpointSlice change, p99 (a bucket's bound)", [spread.bound(0.99) * 1000]),
    ]


def _series(site: Site, load: Loads, how: str, *, rounds: int, at_once: int) -> tuple[Propagation, list[Figure]]:
    """*rounds* times that many pods more, then as many less; *how* is what the figures are of, for people."""
    load.more(100)
    began = time.time()
    before = Propagation.read(site.cluster)
    with _Watch(site) as watch:
        for number in range(1, rounds + 1):
            site.scale("web", BASE + at_once)
            site.cluster.wait_for(lambda: len(watch.ready) >= number * at_once, "the pods are ready")  # noqa: B023
            time.sleep(REST)
            site.scale("web", BASE)
            # The pods serve on while they drain: whoever still gets requests then is seen.
            site.cluster.wait_for(lambda: len(site.pods("web")) == BASE, "the pods are gone")
            time.sleep(REST)
    spread = Propagation.read(site.cluster).since(before)
    report = load.seen().after(began)
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for request in sorted(report.requests, key=lambda request: request.began):
        if request.pod:
            first.setdefault(request.pod, request.began)
            last[request.pod] = request.began
    reached = [(first.get(pod, float("inf")) - at) * 1000 for pod, at in watch.ready.items()]
    # One that was never asked has no last request.
    left = [max(0.0, last[pod] - at) * 1000 for pod, at in watch.ending.items() if pod in last]
    print(f"pods: {report.words()}; {len(report.failed)} failed", flush=True)
    print(f"slices: {spread.words()}", flush=True)
    return spread, [
        milliseconds(f"{how}: pod Ready -> first request at it", reached),
        milliseconds(f"{how}: pod terminating -> last request at it", left or [float("inf")]),
    ]


class _Watch:
    """When this process is told that a pod is Ready, and that it is ending (wall clock)."""

    def __init__(self, site: Site) -> None:
        self.ready: dict[str, float] = {}
        self.ending: dict[str, float] = {}
        cluster = site.cluster
        path = f"/api/v1/namespaces/{site.namespace}/pods"
        listed = cluster.request("GET", f"{path}?labelSelector=app%3Dweb")
        self._old = {pod["metadata"]["name"] for pod in listed["items"]}
        version = listed["metadata"]["resourceVersion"]
        url = f"{cluster.url}{path}?labelSelector=app%3Dweb&watch=1&resourceVersion={version}&timeoutSeconds={LONGEST}"
        self._response = urllib.request.urlopen(url, context=cluster.tls, timeout=LONGEST)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._over = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, ssl.SSLError):
            for line in self._response:
                now, event = time.time(), json.loads(line)
                if self._over:
                    break
                pod = event["object"]
                name = pod["metadata"]["name"]
                if name not in self._old and is_ready(pod):
                    self.ready.setdefault(name, now)
                if "deletionTimestamp" in pod["metadata"]:
                    self.ending.setdefault(name, now)
        self._response.close()
