"""The policies of the cluster: kopf tells what happens to them, and a sweep finds what it did not tell.

kopf does not notice an object that vanished while its watch was broken, ends on watch errors that it does not expect,
and handles objects of the same name but different identity in any order. So every event is compared with what is known
(``PolicyBook``, pure), and the set with a list of names and versions after each start and re-list, and every minute.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.sources.backoff import Backoffs
from fairlead_operator.sources.client import JSON, METADATA_LIST, ApiError, KubeClient
from fairlead_operator.sources.files import Sink

log = logging.getLogger(__name__)

KIND: Final = "LoadBalancerPolicy"
PATH: Final = "/apis/fairlead.dev/v1alpha1"
PLURAL: Final = "loadbalancerpolicies"
PAGE: Final = 500
SWEEP: Final = 60.0
#: A re-list of kopf comes as one event for each policy: one sweep after all of them.
QUIET: Final = 0.2


class Seen(NamedTuple):
    """What an object was when it was last seen. ``version`` is its resourceVersion, which only grows."""

    uid: str
    version: int
    generation: int


def seen(raw: Mapping[str, Any]) -> Seen:
    metadata = raw["metadata"]
    version = str(metadata.get("resourceVersion", ""))
    return Seen(metadata.get("uid", ""), int(version) if version.isdecimal() else 0, metadata.get("generation", 0))


@dataclass(slots=True)
class PolicyBook:
    """The policies that are known, and as what."""

    known: dict[Ref, Seen] = field(default_factory=dict)

    def take(self, ref: Ref, now: Seen) -> bool:
        """An object came: whether it is news, and not something that came late."""
        before = self.known.get(ref)
        if before is not None and now.version < before.version:
            return False
        self.known[ref] = now
        return True

    def gone(self, ref: Ref, uid: str) -> bool:
        """An object was deleted: whether it is the one that is known, and not one of the same name before it."""
        before = self.known.get(ref)
        if before is None or before.uid != uid:
            return False
        del self.known[ref]
        return True

    def compare(self, listed: Mapping[Ref, Seen], before: Mapping[Ref, Seen]) -> tuple[set[Ref], set[Ref]]:
        """Who vanished, and who changed unnoticed, by a list that was asked for when *before* was known.

        Policies that anything was heard of since are left alone: that is newer than the list.
        """
        still = {ref for ref in self.known.keys() | before.keys() if self.known.get(ref) == before.get(ref)}
        vanished = {ref for ref in before if ref in still and ref not in listed}
        missed = {
            ref
            for ref, now in listed.items()
            if (ref in still or ref not in self.known) and _differs(now, self.known.get(ref))
        }
        return vanished, missed


def _differs(now: Seen, known: Seen | None) -> bool:
    return known is None or now.uid != known.uid or now.generation > known.generation


class PolicySource:
    """Hands policies to the control plane. All methods belong to the thread of its event loop.

    Attributes:
        synced: set after the first complete list.
        sweeps, found: how many sweeps there were, and how many differences they found.
    """

    def __init__(
        self, client: KubeClient, sink: Sink, *, sweep: float = SWEEP, backoff: tuple[float, float] = (0.2, 30.0)
    ) -> None:
        self.synced = asyncio.Event()
        self.sweeps = self.found = 0
        self._client, self._sink, self._every = client, sink, sweep
        self._book = PolicyBook()
        self._wanted = asyncio.Event()
        self._backoff = Backoffs(*backoff)
        self._trouble = False

    def event(self, kind: str | None, raw: dict[str, Any]) -> None:
        """What kopf saw: ADDED, MODIFIED, DELETED, or None for what it found in a list."""
        if kind == "DELETED":
            self._delete(ref_of(raw), raw["metadata"].get("uid", ""))
            return
        self._apply(raw)
        if kind is None:
            self._wanted.set()

    def sweep_soon(self) -> None:
        """Something may have been missed."""
        self._wanted.set()

    async def run(self) -> None:
        """List once, then sweep, until it is cancelled."""
        while True:
            try:
                if self.synced.is_set():
                    await self.sweep()
                else:
                    await self._list()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
                self._failed(error)
                await asyncio.sleep(self._backoff.after(error))
                continue
            self._works()
            with contextlib.suppress(TimeoutError):  # no wait_for: on Python 3.11 it swallows a cancellation
                async with asyncio.timeout(self._every):
                    await self._wanted.wait()
                await asyncio.sleep(QUIET)

    async def sweep(self) -> None:
        """Compare what is known with what there is."""
        self._wanted.clear()
        before = dict(self._book.known)
        listed = {}
        async for item in self._pages(METADATA_LIST):
            listed[Ref(KIND, item["metadata"]["namespace"], item["metadata"]["name"])] = seen(item)
        vanished, missed = self._book.compare(listed, before)
        for ref in sorted(vanished):
            self._delete(ref, self._book.known[ref].uid)
        for ref in sorted(missed):
            await self._fetch(ref)
        self.sweeps += 1
        self.found += len(vanished) + len(missed)

    async def _list(self) -> None:
        async for item in self._pages(JSON):
            self._apply(item)
        self.synced.set()

    async def _fetch(self, ref: Ref) -> None:
        # A list of one and no get: the operator has the right to list policies, and needs no other to read them.
        query = {"fieldSelector": f"metadata.name={ref.name}"}
        body = await self._client.get(f"{PATH}/namespaces/{ref.namespace}/{PLURAL}", query)
        for item in body.get("items") or []:  # none: gone meanwhile, the next event or sweep says so
            self._apply(item)

    async def _pages(self, accept: str) -> AsyncIterator[dict[str, Any]]:
        query = {"limit": str(PAGE)}
        while True:
            body = await self._client.get(f"{PATH}/{PLURAL}", query, accept=accept)
            for item in body.get("items") or []:  # an empty metadata list says null
                yield item
            if not body["metadata"].get("continue"):
                return
            query["continue"] = body["metadata"]["continue"]

    def _apply(self, raw: dict[str, Any]) -> None:
        ref, now = ref_of({**raw, "kind": KIND}), seen(raw)
        before = self._book.known.get(ref)
        if not self._book.take(ref, now):
            return
        if before is not None and before.uid != now.uid:  # another object of the same name
            self._sink.delete(ref)
        self._sink.apply(raw)

    def _delete(self, ref: Ref, uid: str) -> None:
        if self._book.gone(ref, uid):
            self._sink.delete(ref)

    def _failed(self, error: Exception) -> None:
        if not self._trouble:
            hint = ""
            if isinstance(error, ApiError) and error.status == 404:
                hint = " (is the CustomResourceDefinition installed? kubectl apply -f crds/)"
            log.warning("%s: %s%s: keeping what is known, trying again", PLURAL, error or repr(error), hint)
        self._trouble = True

    def _works(self) -> None:
        self._backoff.reset()
        if self._trouble:
            log.info("%s: listed again", PLURAL)
        self._trouble = False
