"""A client half on a real gRPC channel; cheap enough for hundreds in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, Self

import grpc
import grpc.aio

from fairlead_xds.testing.client import Client
from fairlead_xds.testing.delta import DeltaClient

_SERVICE: Final = "/envoy.service.discovery.v3.AggregatedDiscoveryService/"
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # a connection of its own, as every real proxy has
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
)


class FakeEnvoy:
    """One fake proxy and its stream.

    ``async with FakeEnvoy("127.0.0.1:18000") as envoy: await envoy.wait_for(lambda: envoy.client.has(...))``

    Attributes:
        status, details: how the server ended the stream.
        credentials, token: used by the next ``connect`` after a ``close``; the token after a ``disconnect`` too.
    """

    def __init__(
        self,
        address: str,
        client: Client | None = None,
        *,
        channel: grpc.aio.Channel | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        token: str | None = None,
        on_response: Callable[[], None] | None = None,
    ) -> None:
        """A proxy for the server at *address*.

        Args:
            address: of the server.
            client: what to do with responses; a ``DeltaClient`` by default.
            channel: to share a connection with others; by default it has its own.
            credentials: of TLS; by default the connection is not encrypted.
            token: shown as ``authorization: Bearer …``.
            on_response: called after each response was taken in.
        """
        self.client = client or DeltaClient()
        self._address = address
        self.credentials, self.token = credentials, token
        self._own = channel is None
        self._channel = channel
        self._on_response = on_response
        self._call: Any = None
        self._task: asyncio.Task[None] | None = None
        self._moved = asyncio.Event()
        self.status: grpc.StatusCode | None = None
        self.details = ""

    @property
    def ended(self) -> bool:
        """The stream is over; ``status`` says how."""
        return self._task is None or self._task.done()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Open a stream; after ``disconnect`` as a reconnecting Envoy does, saying what it has."""
        if self._channel is None:
            self._channel = (
                grpc.aio.secure_channel(self._address, self.credentials, options=_OPTIONS)
                if self.credentials is not None
                else grpc.aio.insecure_channel(self._address, options=_OPTIONS)
            )
        variant = "Delta" if isinstance(self.client, DeltaClient) else "Stream"
        self.status, self.details = None, ""
        metadata = (("authorization", f"Bearer {self.token}"),) if self.token is not None else ()
        self._call = self._channel.stream_stream(f"{_SERVICE}{variant}AggregatedResources")(metadata=metadata)
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda _: self._tell())

    async def disconnect(self) -> None:
        """Break the stream; what the client has stays."""
        if self._call is not None:
            self._call.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._task = self._call = None

    async def close(self) -> None:
        """Break the stream and close the connection."""
        await self.disconnect()
        if self._own and self._channel is not None:
            await self._channel.close()
            self._channel = None

    async def send(self, *requests: bytes) -> None:
        """Write requests of the caller's own making."""
        for request in requests:
            await self._call.write(request)

    async def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:  # noqa: ASYNC109
        """Return when *condition* holds; it is looked at after every response and at the end of the stream.

        Raises:
            TimeoutError: it did not hold within *timeout* seconds.
            Exception: what the client raised over a response.
        """
        async with asyncio.timeout(timeout):
            while not condition():
                await self._moved.wait()
                if self._task is not None and self._task.done() and not self._task.cancelled():
                    self._task.result()

    async def wait_ended(self, timeout: float = 5.0) -> grpc.StatusCode:  # noqa: ASYNC109
        """The status with which the server ended the stream."""
        assert self._task is not None
        await asyncio.wait_for(asyncio.shield(self._task), timeout)
        assert self.status is not None
        return self.status

    async def _run(self) -> None:
        try:
            await self._write(self.client.start())
            while True:
                data = await self._call.read()
                if data is grpc.aio.EOF:
                    self.status, self.details = await self._call.code(), await self._call.details() or ""
                    break
                await self._write(self.client.receive(data))
                self._tell()
        except grpc.aio.AioRpcError as error:
            self.status, self.details = error.code(), error.details() or ""

    async def _write(self, requests: Iterable[bytes]) -> None:
        try:
            for request in requests:
                await self._call.write(request)
        except asyncio.InvalidStateError:  # the stream has ended meanwhile; read() says how
            return

    def _tell(self) -> None:
        if self._on_response is not None:
            self._on_response()
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
