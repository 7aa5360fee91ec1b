"""Keeps the control plane up to date with one kind of object: list, then watch, for ever, whatever happens.

One runs for each kind but the policies, which are kopf's. A failure is told once, and answered by trying again: the
control plane keeps what it knows meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fairlead_operator.api.meta import API_VERSION, ref_of
from fairlead_operator.sources.backoff import Backoffs
from fairlead_operator.sources.client import CONNECTION_ERRORS, JSON, METADATA, METADATA_LIST, ApiError, KubeClient
from fairlead_operator.sources.files import Sink
from fairlead_operator.sources.mirror import Apply, Delete, ExpiredError, Kind, Mirror

log = logging.getLogger(__name__)

KINDS: Final = (
    Kind("Service", "v1", "services"),
    Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"),
    Kind("Secret", "v1", "secrets", selector="type=kubernetes.io/tls"),
    Kind("ReferenceGrant", "gateway.networking.k8s.io/v1beta1", "referencegrants", optional=True),
    Kind("Backend", API_VERSION, "backends"),
    Kind("Namespace", "v1", "namespaces", metadata=True),
    # Those that have ended need no sidecar any more, and nobody sends them anything: the server leaves them out.
    Kind("Pod", "v1", "pods", selector="status.phase!=Succeeded,status.phase!=Failed", annotations=True, page=100),
    Kind("Node", "v1", "nodes", page=100),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """Seconds.

    Attributes:
        watch: how long the server keeps a watch open (``timeoutSeconds``); spread by a tenth.
        silence: a watch without an event for this long is dead; bookmarks come every minute.
        backoff: the first delay after a failure, and the longest.
        absent: between looks for a kind that the cluster does not have.
    """

    watch: float = 290.0
    silence: float = 90.0
    backoff: tuple[float, float] = (0.1, 30.0)
    absent: float = 60.0


class Reflector:
    """One kind of object.

    Attributes:
        synced: set after the first complete list.
        lists, failures: how many there were.
    """

    def __init__(
        self,
        kind: Kind,
        client: KubeClient,
        sink: Sink,
        *,
        timings: Timings | None = None,
        on_back: Callable[[], None] = lambda: None,
    ) -> None:
        """*on_back* is called when the API server answers again after it did not."""
        self.synced = asyncio.Event()
        self.lists = self.failures = 0
        self._kind, self._client, self._sink = kind, client, sink
        self._timings = timings or Timings()
        self._mirror = Mirror(kind)
        self._backoff = Backoffs(*self._timings.backoff)
        self._trouble = ""
        self._on_back = on_back

    @property
    def plural(self) -> str:
        """What it mirrors."""
        return self._kind.plural

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            delay = 0.0
            failure: Exception | None = None  # a watch that ends is none
            try:
                if not self._mirror.version:
                    await self._list()
                await self._watch()
            except ExpiredError:
                self._mirror.version = ""
            except CONNECTION_ERRORS as error:  # the watch goes on from where it was
                self._failed(failure := error)
            except ApiError as error:
                self._mirror.version = ""
                delay, failure = error.retry_after, error
                if error.status == 404 and self._kind.optional:
                    delay = self._absent()
                elif error.status != 410:
                    self._failed(error)
            except Exception as error:  # noqa: BLE001 - a watch must not end: what is wrong is told, and all is listed anew
                self._mirror.version = ""
                self._failed(failure := error)
            await asyncio.sleep(max(delay, self._backoff.after(failure)))

    async def _list(self) -> None:
        query = {"limit": str(self._kind.page), **self._kind.query}
        self._mirror.start_list()
        while True:
            body = await self._client.get(self._kind.path, query, accept=METADATA_LIST if self._kind.metadata else JSON)
            for step in self._mirror.page(body):
                self._hand_on(step)
            metadata = body["metadata"]
            if not metadata.get("continue"):
                break
            query["continue"] = metadata["continue"]
        for gone in self._mirror.end_list(metadata["resourceVersion"]):
            self._hand_on(gone)
        self._works()
        self.lists += 1
        self.synced.set()

    async def _watch(self) -> None:
        seconds = self._timings.watch * random.uniform(0.9, 1.0)  # noqa: S311 - so that not all come back at once
        query = {
            "allowWatchBookmarks": "true",
            "resourceVersion": self._mirror.version,
            "timeoutSeconds": str(max(1, round(seconds))),
            **self._kind.query,
        }
        accept = METADATA if self._kind.metadata else JSON
        async for event in self._client.watch(self._kind.path, query, silence=self._timings.silence, accept=accept):
            step = self._mirror.event(event)
            self._backoff.reset()
            self._works()
            if step is not None:
                self._hand_on(step)

    def _hand_on(self, step: Apply | Delete) -> None:
        try:
            if isinstance(step, Apply):
                self._sink.apply(step.raw)
            else:
                self._sink.delete(step.ref)
        except Exception:
            ref = ref_of(step.raw) if isinstance(step, Apply) else step.ref
            log.exception("%s: a bug, please report it", ref)

    def _absent(self) -> float:
        """The cluster does not have this kind."""
        self._mirror.start_list()
        for gone in self._mirror.end_list(""):
            self._hand_on(gone)
        if self._trouble != "absent":
            log.info("the cluster has no %s (%s): going on without", self._kind.plural, self._kind.api_version)
            self._trouble = "absent"
        self.synced.set()
        return self._timings.absent

    def _failed(self, error: Exception) -> None:
        self.failures += 1
        trouble = f"{type(error).__name__}: {error}".rstrip(": ")
        if not self._trouble:
            log.warning("%s: %s: keeping what is known, trying again", self._kind.plural, trouble)
        self._trouble = trouble

    def _works(self) -> None:
        if self._trouble and self._trouble != "absent":
            log.info("%s: watching again", self._kind.plural)
            self._on_back()
        self._trouble = ""
