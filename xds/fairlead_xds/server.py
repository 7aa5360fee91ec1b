"""The ADS server: gRPC around the streams of ``protocol/``.

Each client has two tasks. The reader hands what arrives to the stream; the writer, woken by the reader or by the store,
brings the stream up to date and writes what comes out. A client that does not read blocks its own writer only, and then
its own reader, as its responses pile up no further than one a type. Bytes go through unparsed by gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

import grpc
import grpc.aio

from fairlead_xds.auth import Authenticator, Identity, Peer, Refusal
from fairlead_xds.connection import Connection
from fairlead_xds.gate import Gate, Limits, Refused
from fairlead_xds.observer import Observer, Proxy, SilentObserver, Stuck
from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import ProtocolError
from fairlead_xds.protocol.sotw import SotwStream
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.store import Store
from fairlead_xds.turns import Turns

log = logging.getLogger(__name__)

SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Limits of the server; durations in seconds.

    Attributes:
        max_receive_bytes: the first delta request of a reconnecting client lists all that it has (XDS_RULES 58).
        min_ping_interval: clients that ping more often are sent away (XDS_RULES 57).
        keepalive: how often a silent connection is pinged, so that one that died without a word is noticed.
        keepalive_timeout: how long a ping may go unanswered.
        stuck_after: how long an answer may be owed before it is reported and no longer waited for; and for how long a client
            that came back may not ask for clusters (``Stream.warming``). Above the 15 s after which Envoy gives up on a
            resource itself.
        first_message_timeout: how long a client may stay silent after opening a stream.
        max_streams: of one connection; 0: any number, for clients that share one. A proxy has one.
        handshake_timeout: how long TLS and HTTP/2 may take to begin.
        max_idle: how long a connection may have no stream.
        limits: before and after a client has proven who it is.
    """

    max_receive_bytes: int = 32 * 1024 * 1024
    min_ping_interval: float = 5.0
    keepalive: float = 30.0
    keepalive_timeout: float = 10.0
    stuck_after: float = 20.0
    first_message_timeout: float = 30.0
    max_streams: int = 0
    handshake_timeout: float = 10.0
    max_idle: float = 300.0
    limits: Limits = field(default_factory=Limits)

    def channel_arguments(self) -> list[tuple[str, int]]:
        """As gRPC takes them (grpc_types.h)."""
        limited = [("grpc.max_concurrent_streams", self.max_streams)] if self.max_streams else []
        return [
            *limited,
            ("grpc.server_handshake_timeout_ms", round(self.handshake_timeout * 1000)),
            ("grpc.max_connection_idle_ms", round(self.max_idle * 1000)),
            ("grpc.max_receive_message_length", self.max_receive_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
            # Sizes the window for what is received, with a ping back and forth for each answer: answers are small.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.keepalive_time_ms", round(self.keepalive * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.keepalive_timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", round(self.min_ping_interval * 1000)),
        ]


class XdsServer:
    """Serves the snapshots of a store to proxies, over both variants of ADS.

    All methods belong to the event loop that ``start`` was awaited in.

    Attributes:
        gate: who comes in, and counts of who does not.
    """

    def __init__(
        self,
        store: Store,
        authenticator: Authenticator,
        *,
        observer: Observer | None = None,
        options: Options | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._observer: Observer = observer or SilentObserver()
        self._options = options or Options()
        self.gate = Gate(authenticator, wall_clock, self._options.limits)
        self._clock = clock
        self._wall_clock = wall_clock
        self._connections: dict[Proxy, Connection] = {}
        self._turns = Turns()
        self._opened = asyncio.Event()
        self._server: grpc.aio.Server | None = None
        self._watchdog: asyncio.Task[None] | None = None

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Listen on *address* (``127.0.0.1:0`` takes a free port) and return the port.

        Raises:
            OSError: the address cannot be had.
        """
        self._store.when_open(self._opened.set)
        server = grpc.aio.server(options=self._options.channel_arguments())
        server.add_generic_rpc_handlers((self._handlers(),))
        try:
            if credentials is None:
                port = int(server.add_insecure_port(address))
            else:
                port = int(server.add_secure_port(address, credentials))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}") from error
        await server.start()
        self._server = server
        self._watchdog = asyncio.create_task(self._watch())
        return port

    async def stop(self, grace: float = 5.0, *, spread: float = 0.0) -> None:
        """Drain: streams end with OK, so that proxies keep what they have and connect elsewhere (XDS_RULES 60).

        Connections are told to go (GOAWAY) and none is taken any more, so a proxy whose stream ends makes a new one to
        another replica. Streams end one by one over *spread* seconds, so that a thousand proxies do not all arrive there
        in the same moment; until its turn each is served. What has not ended *grace* seconds later is cut.
        """
        if self._watchdog is not None:
            self._watchdog.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watchdog
            self._watchdog = None
        server, self._server = self._server, None
        if server is None:
            return
        connections = list(self._connections.values())
        spread = spread if connections else 0.0
        stopping = asyncio.ensure_future(server.stop(spread + grace))
        for index, connection in enumerate(connections):
            connection.end()
            if spread and index < len(connections) - 1:
                await asyncio.sleep(spread / len(connections))
        for connection in list(self._connections.values()):  # those that came with the last breath
            connection.end()
        await stopping

    def proxies(self) -> list[Proxy]:
        """The proxies that are connected now, in the order of their connecting."""
        return list(self._connections)

    def move(self, proxy: Proxy, key: str) -> None:
        """*proxy*, if it is connected still, gets the snapshot of *key* from now on. Publish that first."""
        connection = self._connections.get(proxy)
        if connection is not None and proxy.key != key:
            connection.move(key)

    def stuck(self) -> list[Stuck]:
        """Streams that have owed an answer for longer than ``Options.stuck_after``."""
        now = self._clock()
        return [
            stuck
            for connection in self._connections.values()
            for stuck in connection.overdue(now, self._options.stuck_after)
        ]

    def _handlers(self) -> grpc.GenericRpcHandler:
        # Unary Fetch methods are left out: nothing that Fairlead serves polls.
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(self._handler(SotwStream)),
                "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(self._handler(DeltaStream)),
            },
        )

    def _handler(self, variant: type[Stream]) -> Callable[[Any, Any], Awaitable[None]]:
        async def handle(_requests: Any, context: Any) -> None:
            try:
                await self._serve(variant, context)
            except ProtocolError as error:
                log.warning("xDS client %s ended: %s: %s", context.peer(), error.status, error.message)
                await context.abort(grpc.StatusCode[error.status], error.message)
            except Refused as error:
                self.gate.note(context.peer(), error.refusal)
                await context.abort(grpc.StatusCode[error.refusal.status], error.refusal.reason)

        return handle

    async def _serve(self, variant: type[Stream], context: Any) -> None:
        peer = _peer(context)
        identity = await self.gate.admit(peer)
        with self.gate.stream_of(identity):
            connection = await self._connection(variant, context, identity)
            if connection is None:
                return
            self._connections[connection.proxy] = connection
            proof = asyncio.create_task(self._end_with_proof(connection, identity, peer))
            try:
                await connection.run()
            finally:
                del self._connections[connection.proxy]
                proof.cancel()
            if proof.done():
                ended = proof.result()
                log.info("the proof of proxy %s of %s has ended: %s", connection.proxy.node.id, identity, ended.reason)
                await context.abort(grpc.StatusCode[ended.status], ended.reason)

    async def _end_with_proof(self, connection: Connection, identity: Identity, peer: Peer) -> Refusal:
        """The proxy comes again with what it proves itself with now; it keeps what it has, and gets nothing twice."""
        ended = await self.gate.ended(identity, peer)
        connection.end()
        return ended

    async def _connection(self, variant: type[Stream], context: Any, identity: Identity) -> Connection | None:
        """What the client gets, when it may be served; ``None`` if the client went."""
        first = await self._first_message(context)
        if first is None:
            return None
        node = variant.node_of(first)
        await self._opened.wait()
        key = await self.gate.key_of(identity, node)
        if identity.pod:  # who it proves to be counts in logs and statuses too
            node = replace(node, id=identity.pod)
        stream = variant(self._store.current(key))
        proxy = Proxy(key, node, context.peer(), self._wall_clock(), stream, identity)
        return Connection(
            context, proxy, first, store=self._store, observer=self._observer, clock=self._clock, turns=self._turns
        )

    async def _first_message(self, context: Any) -> bytes | None:
        try:
            async with asyncio.timeout(self._options.first_message_timeout):
                data = await context.read()
        except TimeoutError:
            raise Refused(Refusal("DEADLINE_EXCEEDED", "no request came", "silent")) from None
        return None if data is grpc.aio.EOF else data

    async def _watch(self) -> None:
        """Report answers that are overdue, and go on without them."""
        while True:
            await asyncio.sleep(self._options.stuck_after / 4)
            now = self._clock()
            for connection in list(self._connections.values()):
                connection.release(now, self._options.stuck_after)


def _peer(context: Any) -> Peer:
    return Peer(
        address=context.peer(),
        metadata={key.lower(): value for key, value in context.invocation_metadata() or ()},
        auth={key: tuple(values) for key, values in context.auth_context().items()},
    )
