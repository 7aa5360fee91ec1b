"""The load generator: sends requests without pause, counts each, and tells what it counted. Standard library only.

    python3 load.py --url http://fairlead-gateway-edge.fairlead-system/ --host shop.example.com --rate 100

    GET  /results?from=N   rows from the N-th on: [seconds since the start, status, pod, milliseconds, failure, client],
                           the wall clock's time of the start, and how many handshakes showed which certificate
    POST /stop             finishes what is in flight; then `/results` is complete ("running": false)
    POST /targets          `["10.0.0.1:8080", …]`: from now on each connection goes to the next of them, whatever it is like

A row's failure is "" or how the request failed: `connect`, `reset`, `timeout`, `protocol`. Nothing is ever retried.
Each of the `--clients` is a client of its own: it keeps its connection and, with `--cookies`, what it is told to keep.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import http.client
import http.cookies
import http.server
import itertools
import json
import signal
import ssl
import threading
import time
import urllib.parse
from collections.abc import Sequence

Row = tuple[float, int, str, float, str, int]


class Load:
    """All clients, one thread each, and the rows of what they saw."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.rows: list[Row] = []
        self.certificates: collections.Counter[str] = collections.Counter()
        self.started, self.epoch = time.monotonic(), time.time()
        self.stopping = threading.Event()
        self.targets = Targets()
        self._turns = itertools.count()
        self._threads = [threading.Thread(target=self._client, args=(number,)) for number in range(asked.clients)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def running(self) -> bool:
        return any(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self.stopping.set()
        for thread in self._threads:
            thread.join()

    def _client(self, number: int) -> None:
        client = Client(self.asked, self.certificates, self.targets)
        while not self.stopping.is_set():
            # Each turn has its time, whoever takes it: the rate holds also while some requests are slow.
            due = self.started + next(self._turns) / self.asked.rate
            if self.stopping.wait(max(0.0, due - time.monotonic())):
                break
            began = time.monotonic()
            status, pod, failure = client.request()
            now = time.monotonic()
            self.rows.append(
                (round(began - self.started, 4), status, pod, round((now - began) * 1000, 2), failure, number)
            )
        client.close()


class Targets:
    """Plain round robin over a list that somebody else keeps; while there is none, everything goes to the URL."""

    def __init__(self) -> None:
        self._list: list[tuple[str, int]] = []
        self._turns = itertools.count()

    def replace(self, addresses: Sequence[str]) -> None:
        split = [address.rpartition(":") for address in addresses]
        self._list = [(host, int(port)) for host, _, port in split]

    def next(self, otherwise: tuple[str, int]) -> tuple[str, int]:
        targets = self._list
        return targets[next(self._turns) % len(targets)] if targets else otherwise


_TLS = ssl.create_default_context()
_TLS.check_hostname, _TLS.verify_mode = False, ssl.CERT_NONE


class Client:
    """One client: a connection that it keeps, cookies that it keeps where asked to."""

    def __init__(self, asked: argparse.Namespace, certificates: collections.Counter[str], targets: Targets) -> None:
        self.asked, self.certificates, self.targets = asked, certificates, targets
        self.target = urllib.parse.urlsplit(asked.url)
        self.path = self.target._replace(scheme="", netloc="").geturl() or "/"
        self.headers = dict(header.split(":", 1) for header in asked.header)
        if asked.host:
            self.headers["Host"] = asked.host
        self.cookies: http.cookies.SimpleCookie = http.cookies.SimpleCookie()
        self.connection: http.client.HTTPConnection | None = None

    def request(self) -> tuple[int, str, str]:
        """Status, pod and failure of one request."""
        fresh = self.connection is None
        try:
            if self.connection is None:
                self.connection = self._connected()
        except OSError as error:
            self.close()
            return 0, "", "timeout" if isinstance(error, TimeoutError) else "connect"
        try:
            return self._exchange(self.connection)
        except TimeoutError:
            self.close()
            return 0, "", "timeout"
        except (OSError, http.client.RemoteDisconnected):
            self.close()
            return 0, "", "reset" if fresh else "reset-kept"
        except (http.client.HTTPException, ValueError):
            self.close()
            return 0, "", "protocol"

    def _connected(self) -> http.client.HTTPConnection:
        """A connection; for https with the host's SNI. Whose certificate it is is counted, not judged."""
        secure = self.target.scheme == "https"
        url = (self.target.hostname or "", self.target.port or (443 if secure else 80))
        connection = http.client.HTTPConnection(*self.targets.next(url), timeout=self.asked.timeout)
        connection.connect()
        if secure:
            connection.sock = _TLS.wrap_socket(connection.sock, server_hostname=self.asked.host or None)
            shown = connection.sock.getpeercert(binary_form=True) or b""
            self.certificates[hashlib.sha256(shown).hexdigest()] += 1
        return connection

    def _exchange(self, connection: http.client.HTTPConnection) -> tuple[int, str, str]:
        headers = dict(self.headers)
        if self.asked.cookies and self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={morsel.value}" for name, morsel in self.cookies.items())
        connection.request(self.asked.method, self.path, headers=headers)
        response = connection.getresponse()
        response.read()
        for cookie in response.headers.get_all("set-cookie") or []:
            self.cookies.load(cookie)
        if response.will_close or self.asked.new_connections:
            self.close()
        return response.status, response.headers.get("x-pod", ""), ""

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def serve(load: Load, port: int) -> http.server.HTTPServer:
    """The results on *port*; the tests fetch them through the API server's proxy to the pod."""

    class Results(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
            running = load.running()  # before the rows: none follows once it is false
            first = int(query.get("from", ["0"])[0])
            self._answer(
                {
                    "running": running,
                    "rows": load.rows[first : first + 100_000],
                    "epoch": load.epoch,
                    "certificates": load.certificates,
                }
            )

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            if self.path.partition("?")[0] == "/targets":
                load.targets.replace(json.loads(body))
            else:
                load.stop()
            self._answer({"running": load.running(), "count": len(load.rows)})

        def _answer(self, body: dict[str, object]) -> None:
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name is the base class's
            pass

    server = http.server.ThreadingHTTPServer(("", port), Results)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="load.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--url", required=True, help="http[s]://HOST[:PORT]/PATH")
    parser.add_argument("--host", default="", help="Host header, where it is not that of the URL")
    parser.add_argument("--method", default="GET")
    parser.add_argument("--header", action="append", default=[], metavar="NAME:VALUE")
    parser.add_argument("--rate", type=float, default=50, help="requests a second, all clients together")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--timeout", type=float, default=10, help="seconds")
    parser.add_argument("--cookies", action="store_true", help="keep cookies, as a browser does")
    parser.add_argument("--new-connections", action="store_true", help="one connection for each request")
    parser.add_argument("--port", type=int, default=9000, help="of the results")
    return parser.parse_args(arguments)


def main() -> None:
    asked = parse()
    load = Load(asked)
    server = serve(load, asked.port)
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    load.start()
    print(f"load: {asked.rate:g} requests a second to {asked.url}", flush=True)
    ending.wait()
    load.stop()
    server.shutdown()


if __name__ == "__main__":
    main()
