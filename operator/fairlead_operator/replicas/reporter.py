"""Writes this replica's report into a ConfigMap named like its pod, and reads those of the others.

The ConfigMap belongs to the pod, so that it goes with it. Every replica reads all of them: whoever starts to lead knows
already what to write.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Protocol

from fairlead_operator.api.meta import Ref
from fairlead_operator.replicas.peers import Doubt, Peers
from fairlead_operator.replicas.report import NOBODY, FleetReport, decode, encode
from fairlead_operator.sources.backoff import Backoff
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError
from fairlead_operator.sources.mirror import Kind
from fairlead_operator.sources.once import Once

log = logging.getLogger(__name__)

LABEL: Final = "fairlead.dev/replica-report"
MANAGER: Final = "fairlead-replica"
#: Seconds between two writes, so that a storm of acknowledgements is a few of them.
QUIET: Final = 0.3
#: A report is renewed so many times before the others take its replica for dead.
RENEWALS: Final = 3


class Applier(Protocol):
    """Who writes: the Kubernetes client."""

    def apply(self, path: str, manifest: dict[str, Any], *, manager: str) -> Coroutine[Any, Any, dict[str, Any]]: ...


def kind(namespace: str) -> Kind:
    """What is watched."""
    return Kind("ConfigMap", "v1", "configmaps", namespace=namespace, labels=f"{LABEL}=true")


def owners(pod: str, uid: str) -> list[dict[str, Any]]:
    """The ownerReferences of what goes with a pod; none where the process runs in no pod."""
    return [{"apiVersion": "v1", "kind": "Pod", "name": pod, "uid": uid}] if uid else []


class Reporter:
    """One for a process; also the sink of the reflector that reads the reports.

    Attributes:
        writes: how many the API server took.
    """

    def __init__(
        self,
        client: Applier,
        namespace: str,
        peers: Peers,
        *,
        lasting: float,
        owner: Sequence[Mapping[str, Any]] = (),
        doubt: Callable[[Doubt], None],
    ) -> None:
        """*doubt* is told whose statuses may be others now; *lasting*: seconds that a report counts unless renewed."""
        self.writes = 0
        self._client, self._namespace, self._peers = client, namespace, peers
        self._every, self._owner, self._doubt = lasting / RENEWALS, owner, doubt
        self._wake = asyncio.Event()
        self._written: FleetReport | None = None

    # --- reading: what a reflector calls

    def apply(self, raw: dict[str, Any]) -> None:
        """A report came, or came again."""
        data = raw.get("data") or {}
        try:
            report = decode(data.get("report") or "")
        except ValueError as error:
            log.warning("ConfigMap %s: %s: ignored", raw["metadata"]["name"], error)
            return
        self._tell(self._peers.heard(raw["metadata"]["name"], report, str(data.get("renewed")), self._time()))

    def delete(self, ref: Ref) -> None:
        """A replica is gone."""
        self._tell(self._peers.gone(ref.name))

    # --- writing

    def changed(self) -> None:
        """What this replica says may be different now."""
        if self._peers.own != self._written:
            self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._report())
            tasks.create_task(self._miss())

    async def _miss(self) -> None:
        """Whoever is not heard of for too long is dropped, not much later than that."""
        while True:
            await asyncio.sleep(self._every / 5)
            self._tell(self._peers.drop_silent(self._time()))

    async def _report(self) -> None:
        backoff, once = Backoff(0.2, self._every), Once()
        while True:
            self._wake.clear()
            began = self._time()
            try:
                async with asyncio.timeout(self._every):
                    await self._write(self._peers.own)
            except (*CONNECTION_ERRORS, ApiError, ValueError) as error:
                self._peers.deaf(self._time())
                if news := once.news(error):
                    log.warning("report of this replica: %s: trying again", news)
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            once.works()
            await asyncio.sleep(QUIET)
            with contextlib.suppress(TimeoutError):  # no wait_for: on Python 3.11 it swallows a cancellation
                async with asyncio.timeout_at(began + self._every):
                    await self._wake.wait()

    async def farewell(self) -> None:
        """This replica ends and serves nobody any more: say so, rather than be missed."""
        try:
            async with asyncio.timeout(2):
                await self._write(NOBODY)
        except (*CONNECTION_ERRORS, ApiError, ValueError) as error:
            log.debug("report of this replica: no farewell: %r", error)

    async def _write(self, report: FleetReport) -> None:
        name = self._peers.name
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": self._namespace,
                "labels": {LABEL: "true"},
                "ownerReferences": list(self._owner),
            },
            # The time is for people. The others only look whether it changes.
            "data": {"renewed": datetime.datetime.now(datetime.UTC).isoformat(), "report": encode(report)},
        }
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{name}"
        await self._client.apply(path, manifest, manager=MANAGER)
        self._written = report
        self.writes += 1

    def _tell(self, doubt: Doubt) -> None:
        if doubt is None or doubt:
            self._doubt(doubt)

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()
