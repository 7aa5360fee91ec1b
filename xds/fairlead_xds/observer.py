"""What the server tells about its clients: to the status of policies, to metrics, to people."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from fairlead_xds.auth import ANYONE, Identity
from fairlead_xds.protocol.events import Acked, Nacked
from fairlead_xds.protocol.node import Node
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.snapshot import TypeUrl


@dataclass(slots=True, eq=False)
class Proxy:
    """One connected client; two streams of the same proxy are two of these. Only its connection changes it.

    Attributes:
        key: of the snapshot that it gets; empty while that is not known. ``XdsServer.move`` changes it.
        node: who it says it is.
        address: the other end of its connection, as gRPC writes it.
        connected_at: seconds since the epoch.
        stream: its side of the protocol, to be asked ``has`` and ``unsettled``.
        identity: who it has proven to be.
    """

    key: str
    node: Node
    address: str
    connected_at: float
    stream: Stream = field(repr=False)
    identity: Identity = ANYONE

    def has(self, type_url: TypeUrl, name: str) -> bool:
        """The proxy has accepted the current version of this resource."""
        return self.stream.has(type_url, name)


@dataclass(frozen=True, slots=True)
class Stuck:
    """A proxy that has not answered a response for too long.

    Attributes:
        names: in that response: one of them may be what keeps it from answering.
        seconds: since it was written.
    """

    proxy: Proxy
    type_url: TypeUrl
    nonce: str
    names: tuple[str, ...]
    seconds: float


class Observer(Protocol):
    """Called in the server's event loop. Must return at once, and not raise."""

    def connected(self, proxy: Proxy) -> None:
        """The proxy is identified; nothing has been sent to it yet."""

    def moved(self, proxy: Proxy, before: str) -> None:
        """It gets the snapshot of another key now; *before* is the one that it had."""

    def disconnected(self, proxy: Proxy) -> None:
        """Its stream has ended, whoever ended it."""

    def acked(self, proxy: Proxy, event: Acked) -> None:
        """It has accepted a response."""

    def nacked(self, proxy: Proxy, event: Nacked) -> None:
        """It has refused a response."""

    def stuck(self, proxy: Proxy, event: Stuck) -> None:
        """It has not answered a response; told once for each response."""


class SilentObserver:
    """An observer that does nothing; also a base for those that want to hear of some things only."""

    def connected(self, proxy: Proxy) -> None:
        pass

    def moved(self, proxy: Proxy, before: str) -> None:
        pass

    def disconnected(self, proxy: Proxy) -> None:
        pass

    def acked(self, proxy: Proxy, event: Acked) -> None:
        pass

    def nacked(self, proxy: Proxy, event: Nacked) -> None:
        pass

    def stuck(self, proxy: Proxy, event: Stuck) -> None:
        pass
