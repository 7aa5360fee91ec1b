"""What the lanes made goes to the store: in an order in which no request is lost, and measured until every proxy has it.

Which order, ``handover`` knows; what is measured, ``progress`` and ``propagation``. All methods belong to the thread of the
server's event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from fairlead_operator.handover import PATIENCE, Handover
from fairlead_operator.progress import Cause, Progress, Report
from fairlead_operator.propagation import Slowest
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Changes, Resource, Snapshot, TypeUrl
from fairlead_xds.store import Store


class Publisher:
    """One for a control plane.

    Attributes:
        handover: the endpoints that wait for routes.
        progress: the changes that wait for acknowledgement.
    """

    def __init__(self, store: Store, proxies: Callable[[], list[Proxy]], on_report: Callable[[Report], None]) -> None:
        self._store, self._proxies, self._on_report = store, proxies, on_report
        self.handover = Handover()
        self.progress = Progress(self._reported, store.current)
        self._why_handover = Cause((), 0.0)
        self._slowest = Slowest()

    def publish(self, snapshots: Mapping[str, Snapshot], dying: Collection[str], cause: Cause) -> None:
        """All that each key has; the endpoints of clusters that are *dying* wait until the routes have left them."""
        for key, wanted in snapshots.items():
            snapshot = self.handover.hold(key, wanted, self._store.current(key), dying, self._time())
            self._published(key, self._store.publish(key, snapshot), cause)

    def retain(self, snapshots: Mapping[str, Snapshot], cause: Cause) -> None:
        """Forget the other keys, after ``publish``; then nothing is left to do but to wait for proxies."""
        for key, changes in self._store.retain(snapshots).items():
            self._published(key, changes, cause)
        self._begin_handover(cause)

    def endpoints(self, key: str, resource: Resource, *, useless: bool, cause: Cause) -> bool:
        """A load assignment alone. False: nothing went out, as it is not new, or waits for routes."""
        if self.handover.replace(key, resource, useless=useless):
            return False
        changes = self._store.publish_resources(key, [resource])
        self._published(key, changes, cause)
        return bool(changes)

    def hand_over(self, key: str, now: float = float("inf")) -> None:
        """Publish the endpoints of *key* that waited for its routes: all, or those that have waited long enough."""
        changes = self._store.publish_resources(key, self.handover.release(key, now))
        self._published(key, changes, self._why_handover)

    def slowest(self) -> float:
        """Seconds that the slowest change of endpoints took in the last hour to reach every proxy; 0: there was none."""
        return self._slowest.seconds(self._time())

    def _begin_handover(self, why: Cause) -> None:
        self._why_handover = why
        for key in self.handover.keys:
            proxies = (proxy for proxy in self._proxies() if proxy.key == key)
            if not self.handover.wait_for(key, proxies, self._store.current(key)):
                self.hand_over(key)
        if self.handover.keys:
            asyncio.get_running_loop().call_later(PATIENCE, self._end_handover)

    def _end_handover(self) -> None:
        for key in self.handover.keys:
            self.hand_over(key, self._time())

    def _published(self, key: str, changes: Changes, cause: Cause) -> None:
        if changes:
            proxies = [proxy for proxy in self._proxies() if proxy.key == key]
            self.progress.published(key, cause, changes=changes, snapshot=self._store.current(key), proxies=proxies)

    def _reported(self, report: Report) -> None:
        # Of endpoints alone: a policy that is edited brings clusters, which may wait for their first checks.
        if set(report.resources) == {TypeUrl.ENDPOINT.short} and not report.refusal:
            self._slowest.observe(report.seconds, self._time())
        self._on_report(report)

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()
