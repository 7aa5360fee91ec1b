"""Writes the status of policies to the cluster: only what differs, one write in flight for each, the latest wins.

A policy that changes again and again (a pod that flaps) is written now and then: each write goes to everybody who watches.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from fairlead_operator.api.meta import Ref
from fairlead_operator.bucket import Bucket
from fairlead_operator.sources.backoff import Backoffs
from fairlead_operator.sources.client import ApiError
from fairlead_operator.sources.once import Once
from fairlead_operator.sources.policies import PATH, PLURAL, seen

log = logging.getLogger(__name__)

#: Writes at the same time, over all policies.
MOST: Final = 16

#: Writes of one policy at once, and seconds until it may have one more.
BURST: Final = 20
EVERY: Final = 2.0

Status = dict[str, Any]


class Patcher(Protocol):
    """Who writes: the Kubernetes client."""

    def merge_patch(self, path: str, patch: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]: ...


def difference(old: Any, new: Any) -> dict[str, Any]:
    """The merge patch (RFC 7386) that turns the object *old* into *new*."""
    patch: dict[str, Any] = {key: None for key in old if key not in new}
    for key, value in new.items():
        before = old.get(key)
        if isinstance(value, dict) and isinstance(before, dict):
            if inner := difference(before, value):
                patch[key] = inner
        elif key not in old or before != value:
            patch[key] = value
    return patch


@dataclass(slots=True)
class _Entry:
    """One policy: what it has, what it should have, and what became of the last write."""

    bucket: Bucket
    uid: str = ""
    version: int = 0
    actual: Status = field(default_factory=dict)
    wanted: Status | None = None
    #: What was wanted at the last write, and what the API server made of it: it may drop what its schema does not know.
    written: tuple[Status, Status] | None = None
    task: asyncio.Task[None] | None = None

    def due(self) -> bool:
        """Whether there is something to write."""
        if self.wanted is None or not self.uid or self.wanted == self.actual:
            return False
        return self.written != (self.wanted, self.actual)


def _always() -> bool:
    return True


def _nobody(_ref: Ref, _uid: str, _before: Status, _after: Status) -> None:
    pass


class StatusWriter:
    """All methods belong to the thread of the event loop.

    Attributes:
        writes: how many the API server took.
        failures: how many it did not.
    """

    def __init__(
        self,
        client: Patcher,
        *,
        backoff: tuple[float, float] = (0.2, 30.0),
        pace: tuple[float, float] = (BURST, EVERY),
        on_written: Callable[[Ref, str, Status, Status], None] = _nobody,
    ) -> None:
        """*on_written* is told of each write: the policy, its uid, the status before and after. *pace*: of one policy."""
        self._on_written = on_written
        self.writes = self.failures = 0
        self._client, self._backoff, self._pace = client, backoff, pace
        self._entries: dict[Ref, _Entry] = {}
        self._slots = asyncio.Semaphore(MOST)
        self._active, self._may = True, _always

    def only_while(self, may: Callable[[], bool]) -> None:
        """Write nothing before ``begin``, and never when *may* says no: several processes have the same policies."""
        self._active, self._may = False, may

    def begin(self) -> dict[Ref, Status]:
        """From now on what is wanted is written, and what was wanted before is not any more. The statuses that there are."""
        self._active = True
        for entry in self._entries.values():
            entry.wanted = None
        return {ref: entry.actual for ref, entry in self._entries.items()}

    def pause(self) -> None:
        """Write nothing until ``begin``; what is in flight is given up."""
        self._active = False
        for entry in self._entries.values():
            if entry.task is not None:
                entry.task.cancel()
                entry.task = None  # it ends later, and ``begin`` may come first

    def seen(self, ref: Ref, raw: dict[str, Any]) -> None:
        """The policy as the API server shows it. Somebody else's status is written over."""
        now = seen(raw)
        entry = self._entries.get(ref)
        if entry is None:
            entry = self._entries[ref] = _Entry(Bucket(*self._pace))
        if entry.uid != now.uid:
            entry.uid, entry.version, entry.written = now.uid, 0, None
        if now.version >= entry.version:
            entry.version, entry.actual = now.version, raw.get("status") or {}
        self._go(ref, entry)

    def write(self, ref: Ref, status: Status) -> None:
        """This is what the policy should show."""
        entry = self._entries.get(ref)
        if entry is not None:  # else it is gone
            entry.wanted = status
            self._go(ref, entry)

    def forget(self, ref: Ref) -> None:
        """The policy is gone."""
        entry = self._entries.pop(ref, None)
        if entry is not None and entry.task is not None:
            entry.task.cancel()

    async def stop(self) -> None:
        """Give up what is in flight."""
        tasks = [entry.task for entry in self._entries.values() if entry.task is not None]
        self.pause()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _go(self, ref: Ref, entry: _Entry) -> None:
        if entry.task is None and self._active and entry.due():
            entry.task = asyncio.create_task(self._run(ref, entry), name=f"status of {ref}")

    async def _run(self, ref: Ref, entry: _Entry) -> None:
        backoff, once = Backoffs(*self._backoff), Once()
        try:
            while entry.due():
                shown = entry.uid, entry.version
                if not entry.bucket.take(now := asyncio.get_running_loop().time()):
                    await asyncio.sleep(entry.bucket.wait(now))
                    continue  # what is wanted may be what there is, meanwhile
                try:
                    async with self._slots:
                        if not self._may():
                            return
                        await self._write(ref, entry)
                    backoff.reset()
                except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and tried again
                    self.failures += 1
                    if isinstance(error, ApiError) and error.status in {404, 409}:
                        # Gone, another object, or somebody else was faster: what is seen next says which.
                        if shown == (entry.uid, entry.version):
                            return
                        continue  # it was seen before the answer came
                    if news := once.news(error):
                        log.warning("status of %s: %s: trying again", ref, news)
                    await asyncio.sleep(backoff.after(error))
        finally:
            if entry.task is asyncio.current_task():
                entry.task = None

    async def _write(self, ref: Ref, entry: _Entry) -> None:
        wanted, before = entry.wanted, entry.actual  # a watch may show our own write before the answer is here
        assert wanted is not None
        # The identity is a precondition: an object of the same name that came after is not ours to write to.
        patch = {"metadata": {"uid": entry.uid}, "status": difference(before, wanted)}
        path = f"{PATH}/namespaces/{ref.namespace}/{PLURAL}/{ref.name}/status"
        raw = await self._client.merge_patch(path, patch)
        self.writes += 1
        now, actual = seen(raw), raw.get("status") or {}
        entry.written = (wanted, actual)
        if now.uid == entry.uid:
            self._on_written(ref, entry.uid, before, actual)
        if now.uid == entry.uid and now.version >= entry.version:
            entry.version, entry.actual = now.version, actual
