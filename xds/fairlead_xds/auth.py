"""Who is this proxy, and whose configuration may it read.

The server asks once a stream, with the node of the first message. What a node says about itself proves nothing, so the
authenticator here is for loopback and plaintext only; one that checks tokens or certificates has the same interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fairlead_xds.protocol.node import Node


@dataclass(frozen=True, slots=True)
class Peer:
    """What the connection says about a client.

    Attributes:
        address: as gRPC writes it: ``ipv4:127.0.0.1:40312``.
        metadata: request headers, lower case; of repeated ones the last.
        auth: gRPC's auth context: properties of a verified client certificate; empty without one.
    """

    address: str
    metadata: Mapping[str, str | bytes]
    auth: Mapping[str, tuple[bytes, ...]]


@dataclass(frozen=True, slots=True)
class Identity:
    """A client whose configuration can become another one while it is connected.

    Attributes:
        key: of the snapshot that it may read now; empty: that is not known yet, and nothing is said to it until
            ``XdsServer.move`` gives it a key.
        subject: who it was proven to be, in words that whoever moves it understands.
    """

    key: str
    subject: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The client is not served. ``status`` is the name of a gRPC status; ``reason`` is for the client to read."""

    status: str
    reason: str


class Authenticator(Protocol):
    """Decides whose configuration a client gets."""

    async def key_of(self, node: Node, peer: Peer) -> str | Identity | Refusal:
        """The key of the snapshot that this client may read, or why it may read none."""
        ...


class NodeClusterAuthenticator:
    """Believes the client: its key is its ``node.cluster``, the name of its gateway. Only for loopback."""

    async def key_of(self, node: Node, peer: Peer) -> str | Refusal:  # noqa: ARG002 - the interface has it
        if not node.cluster:
            return Refusal("INVALID_ARGUMENT", "node.cluster must be the name of the gateway")
        return node.cluster
