"""Keeps the Secrets of the certificates as ``authority`` says: the leader's part, in a loop.

Whoever writes says which version it has read, so that of two processes that both believe to lead one wins, and the
other one looks again. The serving certificate is read before the authorities and written after them.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fairlead_operator.sources.backoff import Backoffs
from fairlead_operator.sources.client import ApiError, KubeClient
from fairlead_operator.trust import authority, storage
from fairlead_operator.trust.authority import Kept, Lives, Serving
from fairlead_operator.trust.pem import Unreadable

log = logging.getLogger(__name__)

#: Seconds between two looks when nothing is due and nothing was heard.
LOOK: Final = 60.0

Json = dict[str, Any]
Now = Callable[[], datetime.datetime]


def utc_now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the certificates are: two Secrets of the namespace of the installation."""

    namespace: str
    ca: str = "fairlead-ca"
    serving: str = "fairlead-xds-tls"

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"


@dataclass(slots=True, kw_only=True)
class Keeper:
    """One in each replica; ``run`` while it leads.

    Attributes:
        names: DNS names (and addresses) that the serving certificate is for.
        spread: brings a bundle everywhere; says whether it is everywhere.
        leads: asked before each write.
        replica: this process, as the API server knows writers apart.
        owner: what the Secrets go with when it is deleted.
        rounds: how many there were.
    """

    client: KubeClient
    places: Places
    names: Collection[str]
    spread: Callable[[str], Awaitable[bool]]
    leads: Callable[[], bool]
    replica: str = "fairlead"
    lives: Lives = field(default_factory=Lives)
    now: Now = utc_now
    owner: Callable[[], Awaitable[Json | None]] | None = None
    look: float = LOOK
    rounds: int = 0
    _remembered: Kept | None = None
    _wanted: asyncio.Event = field(default_factory=asyncio.Event)
    _told: set[str] = field(default_factory=set)

    def soon(self) -> None:
        """Something has changed."""
        self._wanted.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        backoff = Backoffs(0.1, 15.0)
        while True:
            self._wanted.clear()
            try:
                wait = await self.round() if self.leads() else self.look
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
                wait = backoff.after(error)
                if not (isinstance(error, ApiError) and error.status == 409):  # then another one was faster: look again
                    self._failed(error)
            with contextlib.suppress(TimeoutError):  # no wait_for: in Python 3.11 it can lose a cancellation
                async with asyncio.timeout(min(wait, self.look)):
                    await self._wanted.wait()

    async def round(self) -> float:
        """Look once, do what is due; seconds until the next time. Raises ApiError or a connection's error."""
        self.rounds += 1
        now = self.now().replace(microsecond=0)
        raw_serving, raw_ca = await self._read(self.places.serving), await self._read(self.places.ca)
        serving, stored = self._serving(raw_serving), self._kept(raw_ca)
        wanted = authority.step(stored or self._remembered, serving, now=now, names=self.names, lives=self.lives)
        kept = wanted.kept
        if stored is None and self._remembered is not None:
            log.error("Secret %s was lost: it is written again as it was", self.places.ca)
        for reason in wanted.reasons:
            log.info("certificates: %s", reason)
        if kept != stored:
            raw_ca = await self._write(storage.write_kept, kept, raw_ca, self.places.ca)
        self._remembered = kept
        if wanted.serving is not None and wanted.serving != serving:
            await self._write(storage.write_serving, wanted.serving, raw_serving, self.places.serving)
        if self.leads() and await self.spread(authority.text(kept.bundle)):
            if kept.spread is None:
                self._remembered = replace(kept, spread=self.now().replace(microsecond=0))
                await self._write(storage.write_kept, self._remembered, raw_ca, self.places.ca)
                return 0.0  # what is due follows from it
        elif self.leads():
            return 1.0
        self._told.clear()
        return max(0.5, (wanted.due - self.now()).total_seconds())

    def _serving(self, raw: Json | None) -> Serving | None:
        try:
            return storage.read_serving(raw) if raw is not None else None
        except Unreadable as error:
            self._say(f"Secret {self.places.serving}: {error}: a new certificate takes its place")
            return None

    def _kept(self, raw: Json | None) -> Kept | None:
        try:
            return storage.read_kept(raw) if raw is not None else None
        except Unreadable as error:
            how = "what it was before" if self._remembered else "a new authority that takes over without a gap"
            self._say(f"Secret {self.places.ca}: {error}: it is replaced by {how}")
            return None

    async def _read(self, name: str) -> Json | None:
        # A list of one: whoever may watch a Secret by its name may do this too.
        body = await self.client.get(self.places.path, {"fieldSelector": f"metadata.name={name}"})
        items = body.get("items") or []
        return items[0] if items else None

    async def _write(self, write: Any, value: Kept | Serving, old: Json | None, name: str) -> Json:
        """Store *value*. Raises ApiError 409 where another one has written since *old* was read."""
        raw: Json = write(value, old, name=name, namespace=self.places.namespace)
        path = f"{self.places.path}/{name}"
        if old is None:
            if self.owner is not None and (owner := await self.owner()) is not None:
                raw["metadata"]["ownerReferences"] = [owner]
            # Two that create at the same time have no fields in common: the second one is in conflict.
            return await self.client.apply(path, raw, manager=f"fairlead-{self.replica}")
        return await self.client.merge_patch(path, _patch(old, raw))

    def _say(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            log.error(message)

    def _failed(self, error: Exception) -> None:
        message = f"certificates: {type(error).__name__}: {error}".rstrip(": ")
        if message not in self._told:
            self._told.add(message)
            log.warning("%s: trying again", message)


def _patch(old: Json, new: Json) -> Json:
    """The merge patch from *old* to *new*, for the version *old* only."""
    patch: Json = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}}
    for where in ("labels", "annotations"):
        had = old["metadata"].get(where) or {}
        gone = {key: None for key in had if key not in new["metadata"][where]}
        patch["metadata"][where] = {**gone, **new["metadata"][where]}
    patch["data"] = {**{key: None for key in old.get("data") or {} if key not in new["data"]}, **new["data"]}
    return patch
