"""HTTP servers on loopback that count what reaches them: the backends of traffic tests."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import Final, Self

#: A name or an address, and maybe a port: narrower than RFC 9110, as servers are (Go's net/http answers others with 400).
_HOST: Final = re.compile(r"\r\nhost: *(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d+)? *\r\n", re.IGNORECASE)


@dataclass(slots=True, eq=False)
class Backend:
    """One server; every answer carries its ``name`` in the header ``x-backend`` and in the body.

    Attributes:
        address, port: where it listens. Backends of one Service share the port and differ in the address, as pods do.
        count: requests that arrived, upgrades included.
        in_flight: requests that arrived and are not answered.
        status: of every answer.
        statuses: of answers to one path, instead of it.
        delay: seconds before an answer; the query ``?delay=0.2`` adds to it for one request.
        gate: answers wait until it is set.
        paths: of the requests, in their order.
        hosts: their Host headers, each there once. One that is not valid is answered with 400.
        heads: of the last request to each path: its line and headers, as they came.
    """

    name: str
    address: str
    port: int = 0
    count: int = 0
    in_flight: int = 0
    delay: float = 0.0
    status: str = "200 OK"
    statuses: dict[str, str] = field(default_factory=dict)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    paths: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    heads: dict[str, str] = field(default_factory=dict)
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    async def start(self) -> Self:
        """Listen. Raises OSError where the port is taken."""
        self.gate.set()
        self._idle.set()
        self._server = await asyncio.start_server(self._serve, self.address, self.port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def finish(self) -> None:
        """As a pod that ends well: no new connection, what is in flight is answered, then all is closed."""
        if self._server is not None:
            self._server.close()
            await self._idle.wait()
        await self.stop()

    async def stop(self) -> None:
        """Close everything at once."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        path = head.split(" ", 2)[1]
        self.count += 1
        self.heads[path] = head
        self.paths.append(path)
        _, _, rest = head.lower().partition("\r\nhost:")
        self.hosts.add(rest.partition("\r\n")[0].strip())
        self._enter()
        try:
            await self.gate.wait()
            _, _, extra = path.partition("delay=")
            if delay := self.delay + float(extra or 0):
                await asyncio.sleep(delay)
            upgrade = "\r\nupgrade: websocket" in head.lower()
            good = _HOST.search(head) is not None
            writer.write(self._upgraded() if upgrade and good else self._answer(path, valid=good))
            await writer.drain()
        finally:
            self._leave()
        if upgrade:
            await self._echo(reader, writer)
        return not upgrade

    def _answer(self, path: str, *, valid: bool) -> bytes:
        body = self.name.encode()
        status = self.statuses.get(path, self.status) if valid else "400 Bad Request"
        head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nx-backend: {self.name}\r\n\r\n"
        return head.encode() + body

    def _upgraded(self) -> bytes:
        name = self.name.encode()
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nx-backend: %s\r\n\r\n"
            % name
        )

    @staticmethod
    async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()

    def _enter(self) -> None:
        self.in_flight += 1
        self._idle.clear()

    def _leave(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()
