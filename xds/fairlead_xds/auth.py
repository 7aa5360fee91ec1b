"""Who is this proxy, and whose configuration may it read.

The server asks twice a stream: ``admit``, before it reads anything, with what the connection proves; ``key_of``, with
the node of the first message too. What a node says about itself proves nothing, so the authenticator here is for
loopback and plaintext only; one that checks tokens has the same interface.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fairlead_xds.protocol.node import Node


@dataclass(frozen=True, slots=True)
class Peer:
    """What the connection says about a client.

    Attributes:
        address: as gRPC writes it: ``ipv4:127.0.0.1:40312``.
        metadata: request headers, lower case; of repeated ones the last. Tokens are in it: never shown.
        auth: gRPC's auth context: properties of a verified client certificate; empty without one.
    """

    address: str
    metadata: Mapping[str, str | bytes] = field(repr=False)
    auth: Mapping[str, tuple[bytes, ...]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a proxy is, as far as that is proven; all empty for one that nobody asked.

    Attributes:
        namespace, service_account: the account that its token is of.
        pod, pod_uid: the pod that its token is bound to.
        expires: seconds since the epoch when the proof ends, and the server asks for a new one; ``None``: never.
    """

    namespace: str = ""
    service_account: str = ""
    pod: str = ""
    pod_uid: str = ""
    expires: float | None = field(default=None, compare=False)

    def __str__(self) -> str:
        account = f"{self.namespace}/{self.service_account}" if self.namespace else "anyone"
        return f"{account} in pod {self.pod}" if self.pod else account


ANYONE = Identity()


@dataclass(frozen=True, slots=True)
class Refusal:
    """The client is not served.

    Attributes:
        status: name of a gRPC status.
        reason: for the client to read.
        label: for metrics: one of few words.
        detail: for the log, where it may say more than to the client. Never a token.
    """

    status: str
    reason: str
    label: str = "other"
    detail: str = ""


class Authenticator(Protocol):
    """Decides whose configuration a client gets."""

    async def admit(self, peer: Peer) -> Identity | Refusal:
        """Who this client is by what it proves; nothing that it sent was read yet. Also called when a proof ends."""
        ...

    async def key_of(self, identity: Identity, node: Node) -> str | Refusal:
        """The key of the snapshot that this client may read now, or why it may read none.

        Empty: that is not known yet, and nothing is said to the client until ``XdsServer.move`` gives it a key. A
        client can be moved at any time; whoever does it finds it by ``Proxy.identity``.
        """
        ...


class NodeClusterAuthenticator:
    """Believes the client: its key is its ``node.cluster``, the name of its gateway. Only for loopback."""

    async def admit(self, peer: Peer) -> Identity | Refusal:  # noqa: ARG002 - the interface has it
        return ANYONE

    async def key_of(self, identity: Identity, node: Node) -> str | Refusal:  # noqa: ARG002 - the interface has it
        if not node.cluster:
            return Refusal("INVALID_ARGUMENT", "node.cluster must be the name of the gateway", "no_cluster")
        return node.cluster
