"""What a client does and sees: HTTP/1.1 over connections that are kept, and load made of many such clients."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Self

TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Response:
    """An answer; ``headers`` keeps repeated ones apart, names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: str

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def backend(self) -> str:
        """Who answered; empty for answers that Envoy made itself."""
        return self.header("x-backend")

    @property
    def set_cookies(self) -> list[str]:
        return [value for key, value in self.headers if key == "set-cookie"]


def cookie_pair(set_cookie: str) -> str:
    """``name=value`` of a Set-Cookie header: what the client sends back."""
    return set_cookie.partition(";")[0]


@dataclass(slots=True)
class Client:
    """One connection to the proxy, opened when needed and kept while the proxy keeps it.

    Attributes:
        port: of the proxy, on 127.0.0.1.
        source: address of this client; empty: any.
        tls: makes it HTTPS, with ``host`` as SNI.
        host: the Host header.
        connections: how many were opened so far.
    """

    port: int
    host: str = "test.example.com"
    source: str = ""
    tls: ssl.SSLContext | None = None
    connections: int = 0
    _reader: asyncio.StreamReader | None = None
    _writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):  # ssl.SSLError is one
                await self._writer.wait_closed()
        self._reader = self._writer = None

    async def get(self, path: str = "/", headers: Mapping[str, str] | None = None, *, host: str = "") -> Response:
        """One request. Raises OSError or asyncio.IncompleteReadError where the connection fails; nothing is tried again."""
        async with asyncio.timeout(TIMEOUT):
            reader, writer = await self._connected()
            lines = [f"GET {path} HTTP/1.1", f"host: {host or self.host}"]
            lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
            try:
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
                response = await _read_response(reader)
            except BaseException:
                await self.close()
                raise
            if response.header("connection") == "close":
                await self.close()
            return response

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._reader is not None and self._reader.at_eof():  # Envoy ended an idle connection, in order
            await self.close()
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1",
                self.port,
                ssl=self.tls,
                server_hostname=self.host if self.tls else None,
                local_addr=(self.source, 0) if self.source else None,
            )
            self.connections += 1
        return self._reader, self._writer

    @property
    def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The open connection, for what is not HTTP any more."""
        assert self._reader is not None
        assert self._writer is not None
        return self._reader, self._writer

    @property
    def certificate(self) -> bytes:
        """DER of the certificate that the open connection was made with."""
        assert self._writer is not None
        return bytes(self._writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def _read_response(reader: asyncio.StreamReader) -> Response:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in head[1:] if line)
    headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
    length = next((int(value) for name, value in headers if name == "content-length"), 0)
    body = (await reader.readexactly(length)).decode("utf-8", "replace")
    return Response(int(head[0].split(" ")[1]), headers, body)


@dataclass(slots=True)
class Tally:
    """What many requests got. ``failures`` says why, for each one that was not answered with 200."""

    backends: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        return self.backends.total() + len(self.failures)

    def add(self, response: Response) -> None:
        if response.status == 200:
            self.backends[response.backend] += 1
        else:
            self.failures.append(f"{response.status} {response.body[:100]}")


async def spread(port: int, requests: int, *, concurrency: int = 8, path: str = "/", host: str = "") -> Tally:
    """*requests* requests over *concurrency* connections."""
    tally, left = Tally(), iter(range(requests))

    async def work() -> None:
        async with Client(port) as client:
            for _ in left:
                tally.add(await client.get(path, host=host))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work())
    return tally


@contextlib.asynccontextmanager
async def load(port: int, *, concurrency: int = 8, path: str = "/", host: str = "") -> AsyncIterator[Tally]:
    """Requests without pause over *concurrency* connections while the block runs; all are answered when it is left."""
    tally, stop = Tally(), asyncio.Event()

    async def work() -> None:
        async with Client(port) as client:
            while not stop.is_set():
                try:
                    tally.add(await client.get(path, host=host))
                except (OSError, asyncio.IncompleteReadError) as error:
                    tally.failures.append(repr(error))
                    await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(concurrency):
            tasks.create_task(work())
        try:
            yield tally
        finally:
            stop.set()
