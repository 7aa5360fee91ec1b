"""Which configuration a proxy gets, by the token that it shows: the authenticator of a cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from fairlead_operator.trust.reviews import NO_TOKEN, Reviews
from fairlead_xds.auth import Identity, Peer, Refusal
from fairlead_xds.protocol.node import Node

#: Seconds that a proxy waits for news of its pod; shorter than ``Limits.patience``.
PATIENCE: Final = 10.0

#: The key of an identity; ``None``: it gets nothing; empty: it will have one, and waits for it.
Keys = Callable[[Identity], Awaitable[str | None]]

#: One and the same for who is unknown and for who is known and not allowed.
NOTHING = Refusal("PERMISSION_DENIED", "there is no configuration for this proxy", "not_allowed")


class TokenAuthenticator:
    """``authorization: Bearer <service account token>`` of a request's metadata. What a node says counts nothing."""

    def __init__(self, reviews: Reviews, keys: Keys) -> None:
        self._reviews, self._keys = reviews, keys

    async def admit(self, peer: Peer) -> Identity | Refusal:
        """Who shows the token."""
        header = peer.metadata.get("authorization", "")
        scheme, _, token = header.partition(" ") if isinstance(header, str) else ("", "", "")
        if scheme.lower() != "bearer" or not token.strip():
            return NO_TOKEN
        return await self._reviews.who(token.strip())

    async def key_of(self, identity: Identity, node: Node) -> str | Refusal:  # noqa: ARG002 - it may lie
        """The key of that identity."""
        key = await self._keys(identity)
        if key is None:
            return Refusal(NOTHING.status, NOTHING.reason, NOTHING.label, detail=str(identity))
        return key


def gateways(namespace: str, accounts: Mapping[str, str]) -> Keys:
    """Keys of the gateways: *accounts* maps service accounts of *namespace* to gateways' names."""
    known = dict(accounts)

    async def key(identity: Identity) -> str | None:
        return known.get(identity.service_account) if identity.namespace == namespace else None

    return key


def sidecars(known: Callable[[str], bool], key_of: Callable[[str, str, str], str | None]) -> Keys:
    """Keys of pods that have a sidecar. *known*: whether a pod of this uid was heard of; *key_of*: what it then gets.

    A proxy may be faster than the news of its pod: it waits a moment. If there is none the proxy is refused, and comes
    again by itself.
    """

    async def key(identity: Identity) -> str | None:
        if not identity.pod_uid:
            return None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                while not known(identity.pod_uid):  # noqa: ASYNC110 - hardly ever, and who knows tells nobody
                    await asyncio.sleep(0.05)
        if not known(identity.pod_uid):
            return None
        return key_of(identity.namespace, identity.pod, identity.pod_uid)

    return key


def either(*all_keys: Keys) -> Keys:
    """The first that knows an identity has it."""

    async def key(identity: Identity) -> str | None:
        for keys in all_keys:
            if (found := await keys(identity)) is not None:
                return found
        return None

    return key
