"""Who comes in: the limits that hold before a client is known, its proof, and the end of that proof.

The server asks here before it reads a byte of a stream. Whatever is refused is counted by a word and logged, a
persistent client once a minute only; nothing that a client proves itself with is ever shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from fairlead_xds.auth import ANYONE, Authenticator, Identity, Peer, Refusal
from fairlead_xds.protocol.node import Node

log = logging.getLogger(__name__)

_T = TypeVar("_T")

_TOLD: Final = 60.0
"""Seconds in which the same refusal of the same host is logged once."""

_HOSTS: Final = 1000
"""Most hosts whose refusals are remembered for that."""

_NAP: Final = 60.0
"""Longest sleep until a proof ends: the wall clock may be set meanwhile."""


class Refused(Exception):
    """The client is not served; the stream ends with this."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.reason)
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may take before and after it is known; durations in seconds.

    Attributes:
        waiting: streams that have not proven themselves yet, over all clients.
        patience: how long proving may take.
        streams: of one identity. A proxy has one, and for a moment a second one when its connection died silently.
        spread: after the end of a proof, its stream ends within this time: not all in the same moment.
        again: after a proof could not be judged, the stream goes on and the question is asked again after this time.
    """

    waiting: int = 2000
    patience: float = 15.0
    streams: int = 8
    spread: float = 60.0
    again: float = 30.0


@dataclass(slots=True)
class Gate:
    """One for a server; all methods belong to its event loop.

    Attributes:
        refused: counts refusals by their label.
    """

    authenticator: Authenticator
    wall_clock: Callable[[], float]
    limits: Limits = field(default_factory=Limits)
    refused: Counter[str] = field(default_factory=Counter)
    _waiting: int = 0
    _streams: Counter[Identity] = field(default_factory=Counter)
    _told: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    async def admit(self, peer: Peer) -> Identity:
        """Who this is. Raises Refused."""
        if self._waiting >= self.limits.waiting:
            raise Refused(Refusal("UNAVAILABLE", "too many clients at once: come again", "crowded"))
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limits.patience):
                return _good(await self.authenticator.admit(peer))
        except TimeoutError:
            raise Refused(Refusal("UNAVAILABLE", "it took too long to check who you are", "unavailable")) from None
        finally:
            self._waiting -= 1

    async def key_of(self, identity: Identity, node: Node) -> str:
        """Whose configuration it gets. Raises Refused."""
        try:
            async with asyncio.timeout(self.limits.patience):
                return _good(await self.authenticator.key_of(identity, node))
        except TimeoutError:
            raise Refused(Refusal("UNAVAILABLE", "it took too long to find what you get", "unavailable")) from None

    @contextlib.contextmanager
    def stream_of(self, identity: Identity) -> Iterator[None]:
        """Around one stream of *identity*. Raises Refused where it has too many."""
        if identity != ANYONE and self._streams[identity] >= self.limits.streams:
            raise Refused(
                Refusal("RESOURCE_EXHAUSTED", f"more than {self.limits.streams} streams of one proxy", "streams")
            )
        self._streams[identity] += 1
        try:
            yield
        finally:
            self._streams[identity] -= 1
            if not self._streams[identity]:
                del self._streams[identity]

    async def ended(self, identity: Identity, peer: Peer) -> Refusal:
        """Return when the proof of *identity* has ended, and no new one is to be had from the same client.

        While nobody can judge it (the API server is away) the proxy keeps its stream: it had proven itself.
        """
        while identity.expires is not None:
            # Not at once for all that proved themselves at the same time.
            due = identity.expires + random.uniform(0, self.limits.spread)  # noqa: S311
            left = due - self.wall_clock()
            while left > 0:
                await asyncio.sleep(min(left, _NAP))
                left = due - self.wall_clock()
            verdict = await self.authenticator.admit(peer)
            if isinstance(verdict, Refusal):
                if verdict.status != "UNAVAILABLE":
                    return verdict
            elif verdict != identity:
                return Refusal("UNAUTHENTICATED", "the client is another now", "changed")
            else:
                identity = verdict
            await asyncio.sleep(self.limits.again)
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]  # never

    def note(self, peer: str, refusal: Refusal) -> None:
        """Count and log one refusal."""
        self.refused[refusal.label] += 1
        now, who = self.wall_clock(), (peer.rpartition(":")[0], refusal.label)
        since, more = self._told.get(who, (0.0, 0))
        if now - since < _TOLD:
            self._told[who] = (since, more + 1)
            return
        if len(self._told) >= _HOSTS:
            self._told.clear()
        self._told[who] = (now, 0)
        repeated = f" (and {more} times before)" if more else ""
        detail = f": {refusal.detail}" if refusal.detail else ""
        log.warning("xDS client %s refused: %s: %s%s%s", peer, refusal.status, refusal.reason, detail, repeated)

    def metrics(self) -> list[str]:
        """For a page of metrics."""
        return [
            "# HELP fairlead_xds_refused_total Streams of proxies that were refused, by why.",
            "# TYPE fairlead_xds_refused_total counter",
            *(f'fairlead_xds_refused_total{{reason="{label}"}} {n}' for label, n in sorted(self.refused.items())),
        ]


def _good(verdict: _T | Refusal) -> _T:
    if isinstance(verdict, Refusal):
        raise Refused(verdict)
    return verdict
