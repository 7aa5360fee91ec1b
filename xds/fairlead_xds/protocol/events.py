"""What a stream reports to its shell: past tense but for the one thing to do, ``Response``.

Named tuples, not frozen dataclasses, which take three times as long to make: each push makes two.
"""

from __future__ import annotations

from typing import NamedTuple

from fairlead_xds.snapshot import TypeUrl


class Response(NamedTuple):
    """Bytes to write to the client now.

    Attributes:
        type_url: its type.
        nonce: unique in the stream (XDS_RULES 5).
        names: resources in it, in order; empty for a heartbeat-like empty answer.
        removed: names that it says do not exist (delta only).
        parts: a serialized ``DiscoveryResponse`` or ``DeltaDiscoveryResponse``, in pieces. Those of resources are shared
            by all streams, so a response that waits to be written costs little.
    """

    type_url: TypeUrl
    nonce: str
    names: tuple[str, ...]
    removed: tuple[str, ...]
    parts: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """How many bytes ``body`` has."""
        return sum(map(len, self.parts))

    @property
    def body(self) -> bytes:
        """The message in one piece, made anew each time."""
        return b"".join(self.parts)


class Acked(NamedTuple):
    """The client has applied a response: ``versions`` maps each name in it to its version (``None``: removed)."""

    type_url: TypeUrl
    nonce: str
    versions: dict[str, str | None]


class Nacked(NamedTuple):
    """The client has refused a response.

    Attributes:
        versions: the names held at fault, with the version refused (``None``: a removal).
        message: the client's own words (XDS_RULES 18: only for people).
        certain: each of ``versions`` is at fault, and is not sent again until its bytes change. Otherwise at least
            one of them is, and the stream is sending them again in halves to find out which: a certain ``Nacked``
            follows, or none when each half is accepted alone.
    """

    type_url: TypeUrl
    nonce: str
    versions: dict[str, str | None]
    message: str
    certain: bool = True


class Ignored(NamedTuple):
    """The client asked for a type that is not served; the stream goes on (XDS_RULES 9)."""

    type_url: str


Event = Response | Acked | Nacked | Ignored


class ProtocolError(Exception):
    """The client broke the protocol; the stream ends. ``status`` is a gRPC status name: ``INVALID_ARGUMENT``."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
