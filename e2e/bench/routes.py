"""From the moment in which a policy is sent to the API server to the first 200 at a gateway."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
import urllib.parse
from typing import Any, Self

from bench.figure import Figure
from e2e.bench.figures import milliseconds
from e2e.cluster import install
from e2e.support import objects
from e2e.support.running import RunningCluster
from e2e.support.site import Site

#: Connections that ask again and again; kube-proxy spreads them over the gateways.
POLLERS = 2
#: Seconds between a client's questions: more often, and the clients would take the cores that they measure.
PAUSE = 0.002
#: Seconds between two policies: people and pipelines change one at a time, and changes that follow each other are collected.
REST = 1.0
LIMIT = 10.0


def to_a_new_service(site: Site, count: int) -> list[Figure]:
    """Nothing routes to ``web`` before: a cluster, its endpoints and the route have to reach the gateways, in that order."""
    first, _, _ = _apply(site, count)
    return [milliseconds("kubectl apply of the first route to a Service -> first 200", first)]


def measure(site: Site, count: int) -> list[Figure]:
    """Another route to ``web``, which a policy routes to already."""
    first, last, api = _apply(site, count)
    return [
        milliseconds("kubectl apply of a route to a Service that is served -> first 200", first, target=30),
        milliseconds(f"… -> a 200 on all {POLLERS} connections", last),
        milliseconds("of it, the API server's answer to the apply", api),
    ]


def _apply(site: Site, count: int) -> tuple[list[float], list[float], list[float]]:
    """*count* policies, one after the other, each with a host of its own: ms until the first 200, all, the API's answer."""
    first, last, api = [], [], []
    for number in range(count):
        manifest = objects.policy(site.namespace, {"web": 1}, hostname=f"r{number}.{site.hostname}")
        manifest["metadata"]["name"] = f"r{number}"
        pollers = [_Poller(f"r{number}.{site.hostname}") for _ in range(POLLERS)]
        for poller in pollers:
            poller.asking.wait(LIMIT)
        with _Applier(site.cluster) as applier:
            began = time.perf_counter()
            applier.apply(manifest)
            api.append((time.perf_counter() - began) * 1000)
        for poller in pollers:
            poller.applied.set()
        for poller in pollers:
            poller.join()
        times = sorted((poller.answered - began) * 1000 for poller in pollers)
        first.append(times[0])
        last.append(times[-1])
        site.cluster.delete(manifest)
        time.sleep(REST)
    return first, last, api


def reachable() -> bool:
    """Whether the gateway answers on this machine."""
    try:
        with socket.create_connection(("127.0.0.1", int(install.host_port())), timeout=2):
            return True
    except OSError:
        return False


class _Applier:
    """A connection to the API server that is there before anything is sent: its TLS handshake is no part of the figure."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster
        self._connection = http.client.HTTPSConnection(
            urllib.parse.urlsplit(cluster.url).netloc, context=cluster.tls, timeout=LIMIT
        )

    def __enter__(self) -> Self:
        self._connection.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def apply(self, manifest: dict[str, Any]) -> None:
        """As ``kubectl apply --server-side``. Raises RuntimeError where the API server refuses it."""
        path = f"{self._cluster.path_of(manifest)}?fieldManager=bench&force=true&fieldValidation=Strict"
        headers = {"Content-Type": "application/apply-patch+yaml", "Accept": "application/json"}
        self._connection.request("PATCH", path, json.dumps(manifest), headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status >= 400:
            raise RuntimeError(f"the API server answered {response.status}: {body.decode(errors='replace')}")


class _Poller(threading.Thread):
    """Asks on one connection, again and again, until it is answered 200 by a pod of ``web``.

    Attributes:
        asking: set once it has its connection, and was refused.
        applied: set by who waits for it once the API server has answered: until then it leaves the cores to that, so a 200 that
            was to be had sooner counts as one of that moment.
        answered: when it was.
    """

    def __init__(self, host: str) -> None:
        super().__init__(daemon=True)
        self._host, self.answered = host, float("inf")
        self.asking, self.applied = threading.Event(), threading.Event()
        self.start()

    def run(self) -> None:
        deadline = time.perf_counter() + LIMIT
        while self.answered == float("inf") and time.perf_counter() < deadline:
            with contextlib.suppress(OSError):  # a gateway that ends closes its connections: the next one then
                self._ask_on_a_connection(deadline)

    def _ask_on_a_connection(self, deadline: float) -> None:
        question = f"GET / HTTP/1.1\r\nHost: {self._host}\r\n\r\n".encode()
        with socket.create_connection(("127.0.0.1", int(install.host_port())), timeout=LIMIT) as connection:
            while time.perf_counter() < deadline:
                connection.sendall(question)
                if _is_of_web(_answer(connection)):
                    self.answered = time.perf_counter()
                    break
                if self.applied.is_set():
                    time.sleep(PAUSE)
                self.asking.set()
                self.applied.wait(LIMIT)


def _answer(connection: socket.socket) -> bytes:
    """The head of an answer; its body is read and thrown away. Bare bytes: a client of the library takes ten times the CPU."""
    head, _, body = _until(connection, b"", b"\r\n\r\n").partition(b"\r\n\r\n")
    if length := re.search(rb"(?im)^content-length: (\d+)", head):
        while len(body) < int(length[1]):
            body += _more(connection)
    elif re.search(rb"(?im)^transfer-encoding: chunked", head):
        _until(connection, body, b"0\r\n\r\n")
    return head


def _until(connection: socket.socket, read: bytes, end: bytes) -> bytes:
    while end not in read:
        read += _more(connection)
    return read


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(65536)
    if not data:
        raise ConnectionError("the gateway closed the connection in the middle of an answer")
    return data


def _is_of_web(head: bytes) -> bool:
    """A policy for every host, as `make cluster` applies one, answers before ours does: the pod tells whose it is."""
    return head.startswith(b"HTTP/1.1 200 ") and re.search(rb"(?im)^x-pod: web-", head) is not None
