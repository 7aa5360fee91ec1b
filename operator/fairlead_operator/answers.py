"""What proxies answer, as the xDS server tells it: who is to blame for a refusal, and who waited for an acknowledgement.

The observer of the server (``fairlead_xds.observer``). It tells the control plane which lane has to run; all methods belong
to the thread of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Protocol

from fairlead_operator.handover import Handover
from fairlead_operator.late_refusals import LateRefusals
from fairlead_operator.progress import Progress
from fairlead_operator.quarantine import Cluster, Quarantine
from fairlead_operator.refused_secrets import RefusedSecrets
from fairlead_xds.observer import Proxy, Stuck
from fairlead_xds.protocol.events import Acked, Nacked
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.store import Store

log = logging.getLogger(__name__)


class Lanes(Protocol):
    """What an answer may ask of the control plane."""

    def mark_config(self) -> None:
        """Compute everything anew."""

    def mark_status(self) -> None:
        """Statuses may be others now."""

    def hand_over(self, key: str) -> None:
        """Publish what waited for the routes of *key*."""

    def move_sidecars(self, uid: str) -> None:
        """See to it that the sidecar of pod *uid* has the key that it should have."""


class Answers:
    """One for a control plane."""

    def __init__(
        self,
        lanes: Lanes,
        store: Store,
        *,
        progress: Progress,
        handover: Handover,
        quarantine: Quarantine,
        refused_secrets: RefusedSecrets,
        late_refusals: LateRefusals,
    ) -> None:
        self._lanes, self._store = lanes, store
        self._progress, self._handover = progress, handover
        self._quarantine, self._refused_secrets, self._late_refusals = quarantine, refused_secrets, late_refusals

    def connected(self, proxy: Proxy) -> None:
        log.info("proxy %s of %s connected", proxy.node.id, proxy.key or "a pod that is not known yet")
        self._lanes.mark_status()
        if proxy.identity.pod_uid:  # its pod may have become known, or changed, while it was asked who it is
            self._lanes.move_sidecars(proxy.identity.pod_uid)

    def disconnected(self, proxy: Proxy) -> None:
        log.info("proxy %s of %s disconnected", proxy.node.id, proxy.key)
        self._late_refusals.forget(proxy)
        self._left(proxy, proxy.key)

    def moved(self, proxy: Proxy, before: str) -> None:
        log.info("proxy %s has %s instead of %s", proxy.node.id, proxy.key or "nothing", before or "nothing")
        self._left(proxy, before)

    def _left(self, proxy: Proxy, key: str) -> None:
        """Nobody who waits for the proxies of *key* waits for this one any more."""
        self._progress.disconnected(proxy)
        if self._handover.heard(key, proxy, None):
            self._lanes.hand_over(key)
        self._lanes.mark_status()

    def acked(self, proxy: Proxy, event: Acked) -> None:
        self._progress.acked(proxy, self._time())
        if self._late_refusals.accept(proxy, event.type_url, event.versions):
            self._lanes.mark_status()
        if event.type_url is TypeUrl.SECRET:
            self._accepted_secrets(self._store.current(proxy.key), event.versions)
        if event.type_url is not TypeUrl.ENDPOINT:
            if self._handover.heard(proxy.key, proxy, self._store.current(proxy.key)):
                self._lanes.hand_over(proxy.key)
            self._lanes.mark_status()

    def _accepted_secrets(self, snapshot: Snapshot, versions: Mapping[str, str | None]) -> None:
        for name, version in versions.items():
            secret = snapshot.get(TypeUrl.SECRET, name)
            if secret is not None and secret.version == version:
                self._refused_secrets.accept(secret)

    def nacked(self, proxy: Proxy, event: Nacked) -> None:
        if not event.certain:
            return
        snapshot = self._store.current(proxy.key)
        again = False
        self._progress.refused(proxy, event.type_url, event.versions, message=event.message, now=self._time())
        for name, version in event.versions.items():
            resource = snapshot.get(event.type_url, name)
            if resource is None or resource.version != version:
                continue
            if event.type_url is TypeUrl.SECRET:
                again |= self._refused_secrets.refuse(resource, event.message, proxy.node.id)
            elif event.type_url is not TypeUrl.ENDPOINT and self._quarantine.blames(resource.origins):
                cluster = Cluster(name, version) if event.type_url is TypeUrl.CLUSTER else None
                again |= self._quarantine.refuse(resource.origins, event.message, proxy.node.id, cluster)
            else:
                self._late_refusals.refuse(proxy, event.type_url, name, version=version, message=event.message)
        if again:
            self._lanes.mark_config()
        self._lanes.mark_status()

    def stuck(self, proxy: Proxy, event: Stuck) -> None:
        """The server has logged it; policies show it as pending."""

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()
