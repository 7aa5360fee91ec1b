"""Writes events of policies (events.k8s.io/v1), a few at a time: nothing waits for them, and one that fails is lost."""

from __future__ import annotations

import asyncio
import datetime
import logging
import secrets
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

from fairlead_operator.api.meta import API_VERSION, Ref
from fairlead_operator.events.limit import Limit
from fairlead_operator.events.transitions import Transition, transitions
from fairlead_operator.sources.client import ApiError
from fairlead_operator.sources.once import Once

log = logging.getLogger(__name__)

CONTROLLER: Final = "fairlead.dev/operator"
#: Events that may wait to be written; more are left out, and counted.
MOST: Final = 500


class Creator(Protocol):
    """Who writes: the Kubernetes client."""

    def create(self, path: str, body: dict[str, Any]) -> Coroutine[Any, Any, dict[str, Any]]: ...


def manifest(ref: Ref, uid: str, one: Transition, *, instance: str, now: datetime.datetime) -> dict[str, Any]:
    """The Event about the policy *ref*; *instance* is this replica's name."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": ref.namespace, "name": f"{ref.name[:200]}.{secrets.token_hex(8)}"},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "type": "Warning" if one.warning else "Normal",
        "reason": one.reason[:128],
        "action": "Balancing",
        "note": one.note,
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128] or "-",
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": ref.kind,
            "namespace": ref.namespace,
            "name": ref.name,
            "uid": uid,
        },
    }


def _ending(error: Exception) -> bool:
    """The namespace is being deleted, or is gone, and its policies with it: nobody would read the event."""
    return isinstance(error, ApiError) and (error.status == 404 or "being terminated" in error.message)


class EventWriter:
    """All methods belong to the thread of the event loop.

    Attributes:
        writes: how many the API server took.
    """

    def __init__(self, client: Creator, instance: str, *, most: int = MOST) -> None:
        """*instance* is this replica's name; *most* may wait."""
        self.writes = 0
        self._client, self._instance = client, instance
        self._limit = Limit()
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(most)

    def written(self, ref: Ref, uid: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """The API server has the status *after* now, and had *before*."""
        now = asyncio.get_running_loop().time()
        for one in transitions(before, after):
            told = self._limit.admit(ref, one, now, room=not self._waiting.full())
            if told is not None:
                made = manifest(ref, uid, told, instance=self._instance, now=datetime.datetime.now(datetime.UTC))
                self._waiting.put_nowait(made)

    def forget(self, ref: Ref) -> None:
        """The policy is gone."""
        self._limit.forget(ref)

    async def run(self) -> None:
        """Write what comes, until it is cancelled."""
        once = Once()
        while True:
            made = await self._waiting.get()
            path = f"/apis/events.k8s.io/v1/namespaces/{made['metadata']['namespace']}/events"
            try:
                await self._client.create(path, made)
                self.writes += 1
                once.works()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and the event is lost
                if _ending(error):
                    log.debug("event %s: %s", made["reason"], error)
                elif news := once.news(error):
                    log.warning("event %s of %s: %s", made["reason"], made["metadata"]["name"], news)
