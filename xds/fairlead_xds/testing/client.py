"""The client half of the protocol without I/O: what Envoy does with responses, as far as a server can see it.

A client asks for all clusters, then (when it has them) for all listeners, and for the endpoints, routes and secrets
that those refer to. It accepts responses or refuses them as *refuse* says, and withholds its answer about clusters
while one warms. Bytes in, bytes out.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing.references import references

Refuse = Callable[[TypeUrl, str, bytes], str | None]
"""(type, name, body) -> what is wrong with it, or ``None``."""

LEADS_TO: Final = frozenset({TypeUrl.CLUSTER, TypeUrl.LISTENER})
_PLURAL: Final = {TypeUrl.CLUSTER: "cluster(s)", TypeUrl.LISTENER: "listener(s)"}


@dataclass(slots=True)
class Arrival:
    """One response as the client saw it, and what it answered (``None``: accepted)."""

    type_url: TypeUrl
    nonce: str
    names: tuple[str, ...]
    removed: tuple[str, ...]
    error: str | None


@dataclass(slots=True)
class Item:
    """One resource of a response."""

    name: str
    version: str
    body: bytes


@dataclass
class Client(ABC):
    """One Envoy.

    Attributes:
        node_id: its name.
        cluster: its group: the gateway.
        refuse: says what is wrong with a resource.
        warming: withhold the answer about clusters until their load assignments have come, as Envoy does.
        keep: what to remember of an accepted resource: its body, or (cheaper) its version only.
        record: keep ``arrivals``.
        held: type -> name -> version of what it has accepted.
        bodies: the same with bodies, if *keep*.
        arrivals: every response in the order of arrival, if *record*.
        received: how many responses came, of each type.
    """

    node_id: str = "envoy-1"
    cluster: str = "edge"
    refuse: Refuse | None = None
    warming: bool = True
    keep: bool = True
    record: bool = True
    held: dict[TypeUrl, dict[str, str]] = field(default_factory=lambda: {t: {} for t in TypeUrl})
    bodies: dict[TypeUrl, dict[str, bytes]] = field(default_factory=lambda: {t: {} for t in TypeUrl})
    arrivals: list[Arrival] = field(default_factory=list)
    received: dict[TypeUrl, int] = field(default_factory=lambda: dict.fromkeys(TypeUrl, 0))
    _wanted: dict[TypeUrl, set[str]] = field(default_factory=lambda: {t: set() for t in TypeUrl})
    _asked: set[TypeUrl] = field(default_factory=set)
    _cold: set[str] = field(default_factory=set)
    _withheld: list[bytes] = field(default_factory=list)

    def start(self) -> list[bytes]:
        """The first requests of a stream, also of one after another has broken; what is held stays."""
        listeners = TypeUrl.LISTENER in self._asked  # its clusters were all there once
        self._asked.clear()
        self._withheld.clear()
        self._open_stream()
        # What Envoy pauses while clusters warm it does not ask on a new stream either.
        out = [] if self._cold else [self._first(TypeUrl.CLUSTER)]
        referred = (TypeUrl.ENDPOINT, TypeUrl.SECRET, TypeUrl.ROUTE)
        out.extend(self._first(type_url) for type_url in referred if self._wanted[type_url])
        if listeners:
            out.append(self._first(TypeUrl.LISTENER))
        return out

    def receive(self, data: bytes) -> list[bytes]:
        """The requests that follow from one response."""
        type_url, nonce, items, removed = self._decode(data)
        self.received[type_url] += 1
        bad = {item.name: why for item in items if (why := self._wrong(type_url, item)) is not None}
        error = _error(type_url, bad)
        if self.record:
            names = tuple(item.name for item in items)
            self.arrivals.append(Arrival(type_url, nonce, names, tuple(removed), error))
        if not bad or type_url in LEADS_TO:  # of clusters and listeners the good ones are applied
            self._apply(type_url, [item for item in items if item.name not in bad], removed)
        answer = self._answer(type_url, nonce, error)
        out = self._follow(type_url)
        if type_url is TypeUrl.CLUSTER and self._cold:
            self._withheld.append(answer)
        else:
            out.insert(0, answer)
        if type_url is TypeUrl.ENDPOINT and error is None:
            self._cold.difference_update(item.name for item in items)
            self._cold.difference_update(removed)
        if not self._cold:
            out.extend(self._withheld)
            self._withheld.clear()
            if TypeUrl.CLUSTER not in self._asked:
                out.append(self._first(TypeUrl.CLUSTER))
            elif TypeUrl.LISTENER not in self._asked:
                out.append(self._first(TypeUrl.LISTENER))
        return out

    def has(self, type_url: TypeUrl, name: str) -> bool:
        """It has accepted some version of this resource."""
        return name in self.held[type_url]

    def in_place(self, cluster: str) -> bool:
        """Requests could go to the cluster: it has come, and its load assignment after it."""
        return self.has(TypeUrl.CLUSTER, cluster) and cluster not in self._cold

    @property
    def warm(self) -> bool:
        """No cluster waits for its load assignment."""
        return not self._cold

    # --- what the variants differ in

    @abstractmethod
    def _open_stream(self) -> None: ...

    @abstractmethod
    def _decode(self, data: bytes) -> tuple[TypeUrl, str, list[Item], list[str]]: ...

    @abstractmethod
    def _first(self, type_url: TypeUrl) -> bytes: ...

    @abstractmethod
    def _answer(self, type_url: TypeUrl, nonce: str, error: str | None) -> bytes: ...

    @abstractmethod
    def _change(self, type_url: TypeUrl, added: set[str], gone: set[str]) -> bytes: ...

    # --- shared

    def _wrong(self, type_url: TypeUrl, item: Item) -> str | None:
        return self.refuse(type_url, item.name, item.body) if self.refuse is not None else None

    def _apply(self, type_url: TypeUrl, items: Iterable[Item], removed: Iterable[str]) -> None:
        held, bodies = self.held[type_url], self.bodies[type_url]
        for item in items:
            name = sys.intern(item.name)
            if self.warming and type_url is TypeUrl.CLUSTER and held.get(name) != item.version:
                self._cold.update(n for t, n in references(type_url, item.body) if t is TypeUrl.ENDPOINT)
            held[name] = sys.intern(item.version)
            if self.keep or type_url in LEADS_TO:
                bodies[name] = item.body
        for name in removed:
            held.pop(name, None)
            bodies.pop(name, None)
            if type_url is TypeUrl.CLUSTER:
                self._cold.discard(name)

    def _follow(self, type_url: TypeUrl) -> list[bytes]:
        """Subscribe to what is referred to now, and to nothing else."""
        if type_url not in LEADS_TO:
            return []
        wanted: dict[TypeUrl, set[str]] = {t: set() for t in (TypeUrl.ENDPOINT, TypeUrl.ROUTE, TypeUrl.SECRET)}
        for leading in LEADS_TO:
            for body in self.bodies[leading].values():
                for referred, name in references(leading, body):
                    wanted[referred].add(sys.intern(name))
        out = []
        for referred, names in wanted.items():
            gone = self._wanted[referred] - names
            added = names - self._wanted[referred]
            self._wanted[referred] = names
            for name in gone:
                self.held[referred].pop(name, None)
                self.bodies[referred].pop(name, None)
            if referred not in self._asked and names:
                out.append(self._first(referred))
            elif gone or added:
                out.append(self._change(referred, added, gone))
        return out


def _error(type_url: TypeUrl, bad: dict[str, str]) -> str | None:
    """The message of a refusal, in Envoy's words."""
    if not bad:
        return None
    if type_url in _PLURAL:
        listed = ", ".join(f"{name}: {why}" for name, why in bad.items())
        return f"Error adding/updating {_PLURAL[type_url]} {listed}"
    return next(iter(bad.values()))


def node_of(client: Client) -> dict[str, Any]:
    """The ``node`` of a first message."""
    return {"id": client.node_id, "cluster": client.cluster, "user_agent_name": "fake-envoy"}
