"""What the two variants of an ADS stream have in common: who the client is, what goes when, and what its answers mean.

The shell (``server.py``) makes a stream for each client, hands in the bytes it reads and the snapshots that are
published, and writes the bytes of each ``Response`` that comes back. Streams do no I/O and have no clock.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from google.protobuf.message import DecodeError

from fairlead_xds.protocol import blame, ordering
from fairlead_xds.protocol import node as nodes
from fairlead_xds.protocol.events import Acked, Event, Ignored, Nacked, ProtocolError, Response
from fairlead_xds.protocol.ledger import Flight, Ledger, version_of
from fairlead_xds.protocol.node import Node
from fairlead_xds.snapshot import Changes, Snapshot, TypeUrl, diff

CHUNK_NAMES: Final = 500
"""Most resources in one response: enough for a quick first connection, few enough to find a bad one among."""

CHUNK_BYTES: Final = 256 * 1024
"""Most bytes of resources in one response (a larger resource goes alone). Bounds what hundreds of clients that connect
together make the server hold."""

MAX_NAMES: Final = 100_000
"""Most names that one client may subscribe to in one type; a bound on what a client can make the server remember."""

WILDCARD: Final = "*"
WILDCARD_TYPES: Final = frozenset({TypeUrl.CLUSTER, TypeUrl.LISTENER})
"""Types of which a client may have all. Of the others, secrets above all, it has to know the names."""

_SERVED: Final[Mapping[str, TypeUrl]] = {type_url.value: type_url for type_url in TypeUrl}
_ALONE: Final = frozenset({TypeUrl.ROUTE, TypeUrl.SECRET})
_BLAMED_BY_NAME: Final = WILDCARD_TYPES


@dataclass(frozen=True, slots=True)
class Unsettled:
    """What one type of a stream still has to do.

    Attributes:
        nonce: of the response that the client has not answered; empty if none is awaited.
        in_flight: names in that response: the suspects, if the answer does not come.
        dirty: how many names wait to be sent, or to be removed.
        owed: how many names wait to be answered although nothing differs.
        parked: how many names the client has refused as they are now.
    """

    type_url: TypeUrl
    nonce: str
    in_flight: tuple[str, ...]
    dirty: int
    owed: int
    parked: int


class Stream(ABC):
    """One client on an aggregated stream (ADS)."""

    variant: ClassVar[str]
    removes_one_by_one: ClassVar[bool]
    _request: ClassVar[Any]

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._ledgers: dict[TypeUrl, Ledger] = {}
        self._in_order: tuple[Ledger, ...] = ()
        self._nonces = 0
        self._node: Node | None = None
        self._identity: tuple[str, str, bytes] | None = None
        self._resuming = self._had_time = False
        self._warming = False

    @property
    def snapshot(self) -> Snapshot:
        """What the client should have: the one published last."""
        return self._snapshot

    @property
    def node(self) -> Node:
        """Who the client says it is; empty before its first message."""
        return self._node or Node()

    @classmethod
    def node_of(cls, data: bytes) -> Node:
        """The node of a first message, for deciding which snapshot the stream is made with.

        Raises:
            ProtocolError: *data* is not a request.
        """
        return nodes.decode(cls._parse(data).node)

    def receive(self, data: bytes) -> list[Event]:
        """Take one request; the events are in the order in which things happened.

        Raises:
            ProtocolError: the client broke the protocol, and the stream has to end.
        """
        request = self._parse(data)
        self._pin(request)
        if not request.type_url:  # XDS_RULES 2
            raise ProtocolError("INVALID_ARGUMENT", "type_url is required on an aggregated stream")
        type_url = _SERVED.get(request.type_url)
        if type_url is None:
            return [Ignored(request.type_url)]
        ledger = self._ledgers.get(type_url)
        first = ledger is None
        if ledger is None:
            ledger = self._ledgers[type_url] = Ledger(
                type_url,
                self._snapshot.resources(type_url),
                delta=self.removes_one_by_one,
                everything=not self.removes_one_by_one and type_url in WILDCARD_TYPES,
            )
            self._in_order = tuple(self._ledgers[known] for known in ordering.ORDER if known in self._ledgers)
        events = self._accept(ledger, request, first=first)
        if first:
            self._opened(ledger, request)
        if len(ledger.names) > MAX_NAMES:
            raise ProtocolError("RESOURCE_EXHAUSTED", f"more than {MAX_NAMES} names of {type_url.short}")
        events.extend(self._pump())
        return events

    def publish(self, snapshot: Snapshot, changes: Changes | None = None) -> list[Event]:
        """Take *snapshot* for what the client should have.

        *changes* is the difference to the snapshot published before, when the caller knows it; all streams of a key
        can then share one. ``None`` finds it from scratch, with the same result.
        """
        if snapshot is self._snapshot:
            return []
        if changes is None:
            changes = diff(self._snapshot, snapshot)
        self._snapshot = snapshot
        for type_url, ledger in self._ledgers.items():
            resources = snapshot.resources(type_url)
            if ledger.resources is not resources:  # a change of endpoints leaves all other types as they are
                ledger.publish(resources, changes.names(type_url))
        return self._pump()

    def give_up(self, type_url: TypeUrl) -> list[Event]:
        """Stop waiting for the answer to the response of *type_url* that is in flight.

        For the shell, which has the clock: a cluster that cannot warm keeps Envoy from answering anything about
        clusters, and only a later response can cure it. An answer that comes after all still counts.
        """
        if type_url in self._ledgers:
            self._ledgers[type_url].give_up()
        return self._pump()

    def resumed(self) -> list[Event]:
        """The client has had time to ask for all types that it wants.

        For the shell, which has the clock: a reconnecting client asks for clusters before listeners and routes, unless one
        warms. Those that are gone are not removed before the listeners and routes that it has were brought up to date, and
        only they tell when it uses no routes at all.
        """
        self._resuming, self._had_time = False, True
        return self._pump()

    @property
    def warming(self) -> bool:
        """The client came back with resources, and has not asked for clusters: Envoy does not while one of its own warms.

        So it may have a cluster that takes no requests yet, and its listeners and routes stay as they are.
        """
        return self._warming

    def stop_waiting_for_clusters(self) -> list[Event]:
        """The client gets its listeners and routes, and what is gone is removed, though it has not asked for clusters.

        For the shell, which has the clock: a client may want none.
        """
        self._warming = False
        return self._pump()

    def has(self, type_url: TypeUrl, name: str) -> bool:
        """The client is subscribed to the resource and has accepted the version that the snapshot has of it."""
        ledger = self._ledgers.get(type_url)
        return ledger is not None and ledger.has(name)

    def lacking(self, type_url: TypeUrl) -> Collection[str]:
        """The names of the type in the snapshot for which ``has`` says no."""
        ledger = self._ledgers.get(type_url)
        return ledger.lacking() if ledger is not None else self._snapshot.resources(type_url).keys()

    def removing(self, type_url: TypeUrl, name: str) -> bool:
        """The client has yet to be told, or to confirm, that the resource is gone."""
        ledger = self._ledgers.get(type_url)
        return ledger is not None and ledger.removing(name)

    def kept(self, type_url: TypeUrl, name: str) -> str | None:
        """The version that the client goes on with, having refused the one after it; None: it refuses nothing now."""
        ledger = self._ledgers.get(type_url)
        return version_of(ledger.parked.get(name)) if ledger is not None else None

    def unsettled(self) -> list[Unsettled]:
        """The types that have something to send, to answer, or to hear of."""
        return [
            Unsettled(
                type_url=ledger.type_url,
                nonce=ledger.flight.nonce if ledger.flight is not None else "",
                in_flight=tuple(ledger.flight.sent) if ledger.flight is not None else (),
                dirty=len(ledger.puts) + len(ledger.removes),
                owed=len(ledger.owed) + ledger.answer,
                parked=len(ledger.parked),
            )
            for ledger in self._ledgers.values()
            if ledger.flight or ledger.puts or ledger.removes or ledger.owed or ledger.parked or ledger.answer
        ]

    # --- what the variants differ in

    @abstractmethod
    def _accept(self, ledger: Ledger, request: Any, *, first: bool) -> list[Event]:
        """Apply one request to *ledger*: answers and subscription."""

    @staticmethod
    @abstractmethod
    def _comes_back(request: Any) -> bool:
        """The first request of a type tells that the client has some of it, from an earlier stream."""

    @abstractmethod
    def _encode(self, ledger: Ledger, flight: Flight) -> tuple[bytes, ...]:
        """The response that says what *flight* says, in pieces."""

    @abstractmethod
    def _chunk(self, ledger: Ledger) -> tuple[int, int]:
        """Most names, and most bytes, in one response of the type."""

    # --- receiving

    @classmethod
    def _parse(cls, data: bytes) -> Any:
        try:
            return cls._request.FromString(data)
        except (DecodeError, UnicodeDecodeError, ValueError):
            raise ProtocolError("INVALID_ARGUMENT", f"not a {cls._request.DESCRIPTOR.name}") from None

    def _opened(self, ledger: Ledger, request: Any) -> None:
        """The first request of a type tells where a client stands that comes back (``warming``, ``resumed``)."""
        if ledger.type_url is TypeUrl.CLUSTER:
            self._warming = False
            self._resuming = bool(ledger.removes) and not self._had_time
        elif self._may_warm(request):
            self._warming = True
        if TypeUrl.LISTENER in self._ledgers and TypeUrl.ROUTE in self._ledgers:
            self._resuming = False

    def _may_warm(self, request: Any) -> bool:
        """*request*, the first of its type, is of a client that comes back and has not asked for clusters (``warming``)."""
        return TypeUrl.CLUSTER not in self._ledgers and self._comes_back(request)

    def _pin(self, request: Any) -> None:
        """The first message says who the client is; a later one must say the same or nothing (XDS_RULES 3, 4)."""
        if self._identity is not None and not request.HasField("node"):
            return
        message = request.node
        identity = (message.id, message.cluster, message.metadata.SerializeToString(deterministic=True))
        if self._identity is None:
            self._identity, self._node = identity, nodes.decode(message)
        elif identity not in (self._identity, ("", "", b"")):
            raise ProtocolError("INVALID_ARGUMENT", f"node is {self._identity[0]!r} and cannot become {message.id!r}")

    def _answered(self, ledger: Ledger, request: Any) -> list[Event]:
        flight = ledger.answered(request.response_nonce)
        if flight is None:
            return []
        if not request.HasField("error_detail"):  # XDS_RULES 13
            ledger.accept(flight)
            return [Acked(ledger.type_url, flight.nonce, flight.versions)]
        message = request.error_detail.message
        by_name = ledger.type_url in _BLAMED_BY_NAME
        blamed = blame.named_in(message, flight.sent) if by_name else frozenset()
        guilty, certain = ledger.refuse(flight, blamed)
        versions = flight.versions
        return [Nacked(ledger.type_url, flight.nonce, {name: versions[name] for name in guilty}, message, certain)]

    # --- sending

    def _pump(self) -> list[Event]:
        """Everything that may be sent now."""
        out: list[Event] = []
        removes = False
        for ledger in self._in_order:
            if ledger.removes:
                removes = True
            elif not (ledger.puts or ledger.owed or ledger.answer):  # nearly always
                continue
            if ledger.flight is not None or not ordering.may_put(ledger.type_url, self._ledgers, warming=self._warming):
                continue
            count, size = self._chunk(ledger)
            names = ledger.draw(count=count, size=size)
            if ledger.type_url in ordering.TOGETHER:
                names.extend(ledger.removes)
            if names or ledger.answer:
                out.append(self._respond(ledger, names))
        if removes:
            self._pump_removals(out)
        return out

    def _pump_removals(self, out: list[Event]) -> None:
        for type_url in ordering.LAST:
            last = self._ledgers.get(type_url)
            if last is None or last.flight is not None or not last.removes:
                continue
            if self._resuming or self._warming or not ordering.may_remove(self._ledgers):
                break
            out.append(self._respond(last, list(last.removes)))

    def _respond(self, ledger: Ledger, names: Iterable[str]) -> Response:
        self._nonces += 1
        flight = ledger.send(str(self._nonces), names)
        parts = self._encode(ledger, flight)
        sent = flight.sent.items()
        removed = tuple([name for name, resource in sent if resource is None])
        put = tuple([name for name, resource in sent if resource is not None]) if removed else tuple(flight.sent)
        if ledger.type_url is TypeUrl.CLUSTER:
            flight.telling = ordering.asking_tells(flight, self._ledgers)
            self._owe_endpoints(put)
        return Response(ledger.type_url, flight.nonce, put, removed, parts)

    def _owe_endpoints(self, clusters: Iterable[str]) -> None:
        """An updated cluster warms until its load assignment comes again, changed or not (XDS_RULES 45).

        A load assignment has the name of its cluster, always.
        """
        endpoints = self._ledgers.get(TypeUrl.ENDPOINT)
        if endpoints is not None:
            for name in clusters:
                endpoints.owe(name)

    def _chunk_by_blame(self, type_url: TypeUrl) -> tuple[int, int]:
        """Refusals of routes and secrets name nothing and mostly concern one, so these go one by one."""
        return (1 if type_url in _ALONE else CHUNK_NAMES), CHUNK_BYTES
