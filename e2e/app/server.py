"""The sample application: an HTTP backend that says who it is, counts, and fails when told to. Standard library only.

    GET  /            {"pod", "node", "zone", "version", "count", "path", "client"}, and the pod's name in `x-pod`
    GET  /slow?for=2  the same after 2 seconds, its first byte at once
    GET  /ws          a WebSocket that says its pod's name, then echoes what it is sent
    GET  /readyz, /livez          what the kubelet asks
    POST /fail?what=ready&for=5   `ready`, `live` or `requests` fail, for 5 seconds or until POST /heal
    POST /fail?what=live&hang=1   the same, but what fails has no answer
    POST /crash       the process ends at once, without a word to its clients

Environment: POD_NAME, NODE_NAME, ZONE, VERSION, PORT (8080), DRAIN (5: seconds for which it goes on serving after
SIGTERM, as long as proxies may still send; then it finishes what it has begun, and ends).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import itertools
import json
import os
import select
import signal
import socket
import threading
import time
import urllib.parse
from typing import Any

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class State:
    """What all connections share: the count, what is told to fail and until when, whether the end is near."""

    def __init__(self) -> None:
        self.identity = {
            "pod": os.environ.get("POD_NAME") or socket.gethostname(),
            "node": os.environ.get("NODE_NAME", ""),
            "zone": os.environ.get("ZONE", ""),
            "version": os.environ.get("VERSION", ""),
        }
        self.count = itertools.count(1)
        self.fails: dict[str, float] = {}
        self.hangs = False
        self.draining = False

    def failing(self, what: str) -> bool:
        return time.monotonic() < self.fails.get(what, 0)


STATE = State()


class Active:
    """How many requests are being answered now."""

    def __init__(self) -> None:
        self._lock, self._number = threading.Lock(), 0

    def __enter__(self) -> None:
        with self._lock:
            self._number += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._number -= 1

    def busy(self) -> bool:
        return self._number > 0


ACTIVE = Active()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        with ACTIVE:
            self._get()

    def _get(self) -> None:
        path, _, query = self.path.partition("?")
        if path in {"/readyz", "/livez"}:
            what = "ready" if path == "/readyz" else "live"
            failing = STATE.failing(what)
            while STATE.hangs and not STATE.draining and STATE.failing(what):
                time.sleep(0.1)
            self._answer(503 if failing else 200, {"ok": not failing})
        elif path == "/ws":
            self._websocket()
        elif STATE.failing("requests"):
            self._answer(503, {**STATE.identity, "error": "told to fail"})
        else:
            seconds = float(urllib.parse.parse_qs(query).get("for", ["0"])[0]) if path == "/slow" else 0.0
            body = {**STATE.identity, "count": next(STATE.count), "path": self.path, "client": self.client_address[0]}
            self._answer(200, body, after=seconds)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        asked = {name: values[0] for name, values in urllib.parse.parse_qs(query).items()}
        if path == "/crash":
            os._exit(1)
        elif path == "/heal":
            STATE.fails.clear()
            STATE.hangs = False
            self._answer(200, {"failing": []})
        elif path == "/fail" and asked.get("what") in {"ready", "live", "requests"}:
            STATE.fails[asked["what"]] = time.monotonic() + float(asked.get("for", "inf"))
            STATE.hangs = "hang" in asked
            self._answer(200, {"failing": sorted(STATE.fails)})
        elif path in {"/fail", "/ws", "/readyz", "/livez"}:
            self._answer(400, {"error": "POST /fail?what=ready|live|requests[&for=SECONDS][&hang=1]"})
        else:
            self.do_GET()

    do_PUT = do_POST  # noqa: N815 - names of the base class
    do_DELETE = do_GET  # noqa: N815

    def _answer(self, status: int, body: dict[str, Any], *, after: float = 0) -> None:
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.send_header("x-pod", STATE.identity["pod"])
        if STATE.draining:
            # Proxies then take another connection, to another pod, for the next request.
            self.send_header("connection", "close")
            self.close_connection = True
        if after:
            self.end_headers()
            self.wfile.write(data[:1])
            time.sleep(after)
            self.wfile.write(data[1:])
            return
        # In one piece: whatever ends this process then, nobody gets half an answer.
        self._headers_buffer += [b"\r\n", data]  # type: ignore[attr-defined] # what end_headers does, without its write
        self.flush_headers()

    def _websocket(self) -> None:
        key = self.headers.get("sec-websocket-key", "").encode()
        accept = base64.b64encode(hashlib.sha1(key + WEBSOCKET, usedforsecurity=False).digest()).decode()
        self.send_response(101)
        for name, value in (("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", accept)):
            self.send_header(name, value)
        self.end_headers()
        self.close_connection = True
        self._frame(1, STATE.identity["pod"].encode())
        with contextlib.suppress(EOFError, OSError):
            while True:
                kind, payload = self._read_frame()
                if kind == 8:
                    self._frame(8, payload[:2])
                    return
                self._frame(10 if kind == 9 else kind, payload)

    def _frame(self, kind: int, payload: bytes) -> None:
        size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
        self.wfile.write(bytes([0x80 | kind]) + size + payload)

    def _read_frame(self) -> tuple[int, bytes]:
        first, second = self._exactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(self._exactly(2 if size == 126 else 8), "big")
        mask = self._exactly(4) if second & 0x80 else b"\0\0\0\0"
        data = self._exactly(min(size, 65535))
        return first & 0x0F, bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))

    def _exactly(self, size: int) -> bytes:
        data = self.rfile.read(size)
        if len(data) < size:
            raise EOFError
        return data

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name is the base class's
        """Requests are counted, not logged: a load test makes many."""


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = False
    block_on_close = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is nothing to report."""


def main() -> None:
    server = Server(("", int(os.environ.get("PORT", "8080"))), Handler)
    drain = float(os.environ.get("DRAIN", "5"))
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    print(f"serving as {STATE.identity['pod']} on port {server.server_address[1]}", flush=True)
    ending.wait()
    STATE.draining = True
    print(f"draining for {drain:g} s", flush=True)
    time.sleep(drain)
    server.shutdown()
    thread.join()
    server.timeout = 0
    while select.select([server.socket], [], [], 0)[0]:
        server.handle_request()  # whoever has connected already is still served
    server.socket.close()
    time.sleep(0.2)  # for threads that have a connection and did not yet begin to count
    # Idle keep-alive connections would hold the end up; whoever sends on one now gets a reset, hence the drain before.
    deadline = time.monotonic() + 20
    while ACTIVE.busy() and time.monotonic() < deadline:
        time.sleep(0.05)
    print(f"ended after {next(STATE.count) - 1} requests", flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
