"""An HTTP/2 client with many requests on one connection that heeds GOAWAY: it finishes, and asks no more there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import h2.connection
import h2.events

GOAWAY = 7  # frame type


class GoneError(Exception):
    """The connection ended while a request was in flight, or the stream was reset."""


class H2Client:
    """One connection at a time; *pick* says to which port a new one goes.

    Attributes:
        connections: opened so far.
        goaways: connections that the server asked to leave.
    """

    def __init__(self, pick: Callable[[], int]) -> None:
        self._pick = pick
        self.connections = self.goaways = 0
        self._current: _Connection | None = None
        self._lock = asyncio.Lock()
        self._all: list[_Connection] = []

    async def get(self, path: str = "/") -> int:
        """The status. Raises GoneError, OSError."""
        async with self._lock:
            if self._current is None or self._current.leaving:
                self.goaways += self._current is not None
                self._current = await _Connection.open(self._pick())
                self._all.append(self._current)
                self.connections += 1
            answer = self._current.ask(path)
        return await answer

    async def close(self) -> None:
        for each in self._all:
            await each.close()


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._h2 = h2.connection.H2Connection()
        self._waiting: dict[int, asyncio.Future[int]] = {}
        self._status: dict[int, int] = {}
        self.leaving = False
        self._h2.initiate_connection()
        self._flush()
        self._task = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, port: int) -> _Connection:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def ask(self, path: str) -> asyncio.Future[int]:
        stream = self._h2.get_next_available_stream_id()
        head = [(":method", "GET"), (":scheme", "http"), (":authority", "test.example.com"), (":path", path)]
        self._h2.send_headers(stream, head, end_stream=True)
        self._flush()
        self._waiting[stream] = answer = asyncio.get_running_loop().create_future()
        return answer

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                body = await self._reader.readexactly(int.from_bytes(head[:3]))
                if head[3] == GOAWAY:
                    # h2 reads nothing after it, but the answers in flight still come.
                    self.leaving = True
                    continue
                for event in self._h2.receive_data(head + body):
                    self._handle(event)
                self._flush()
        except (OSError, asyncio.IncompleteReadError):
            pass
        self.leaving = True
        for answer in self._waiting.values():
            answer.set_exception(GoneError("connection closed with a request in flight"))

    def _handle(self, event: Any) -> None:
        match event:
            case h2.events.ResponseReceived():
                self._status[event.stream_id] = int(dict(event.headers)[b":status"])
            case h2.events.DataReceived():
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self._waiting.pop(event.stream_id).set_result(self._status.pop(event.stream_id))
            case h2.events.StreamReset():
                self._waiting.pop(event.stream_id).set_exception(GoneError(f"reset: {event.error_code}"))
