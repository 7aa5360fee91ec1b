"""From a change to its last acknowledgement: one report a change, for the live lines and for the metrics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from fairlead_operator.fleet import has_version
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Changes, Snapshot, TypeUrl

#: Changes that may wait for acknowledgement; beyond, the oldest are given up (a proxy that never answers).
MOST = 256


@dataclass(frozen=True, slots=True)
class Report:
    """A change that every connected proxy of a gateway has acknowledged.

    Attributes:
        what: the objects that changed.
        resources: how many resources of each type it made different.
        proxies: who acknowledged, in order.
        seconds: from the event to the last acknowledgement.
    """

    key: str
    what: tuple[str, ...]
    resources: dict[str, int]
    proxies: tuple[str, ...]
    seconds: float


@dataclass(slots=True)
class _Open:
    key: str
    what: tuple[str, ...]
    since: float
    wanted: dict[tuple[TypeUrl, str], str]
    done: list[str] = field(default_factory=list)
    waiting: set[Proxy] = field(default_factory=set)


class Progress:
    """The changes that wait for acknowledgement. *current* tells what is published for a key now."""

    def __init__(self, report: Callable[[Report], None], current: Callable[[str], Snapshot]) -> None:
        self._report, self._current = report, current
        self._open: list[_Open] = []

    def published(
        self,
        key: str,
        what: tuple[str, ...],
        since: float,
        *,
        changes: Changes,
        snapshot: Snapshot,
        proxies: list[Proxy],
    ) -> None:
        """*changes* of *key* are on their way to *proxies*. Removals are not waited for: proxies need not name them."""
        wanted = {
            (type_url, name): resource.version
            for type_url in TypeUrl
            for name in changes.names(type_url)
            if (resource := snapshot.get(type_url, name)) is not None
        }
        if wanted and proxies:
            self._open.append(_Open(key, what, since, dict(wanted), waiting=set(proxies)))
            del self._open[:-MOST]

    def acked(self, proxy: Proxy, now: float) -> None:
        """*proxy* has acknowledged something."""
        for entry in list(self._open):
            if proxy in entry.waiting and self._has(proxy, entry):
                entry.waiting.discard(proxy)
                entry.done.append(proxy.node.id)
                self._close_if_done(entry, now)

    def disconnected(self, proxy: Proxy, now: float) -> None:
        """*proxy* is gone: nobody waits for it."""
        for entry in list(self._open):
            if proxy in entry.waiting:
                entry.waiting.discard(proxy)
                self._close_if_done(entry, now)

    def _has(self, proxy: Proxy, entry: _Open) -> bool:
        current = self._current(entry.key)
        for (type_url, name), version in entry.wanted.items():
            resource = current.get(type_url, name)
            # A version that was overtaken by a newer one, or by a removal, is not waited for.
            overtaken = resource is None or resource.version != version
            if not overtaken and not has_version(proxy, type_url, name, version):
                return False
        return True

    def _close_if_done(self, entry: _Open, now: float) -> None:
        if entry.waiting or entry not in self._open:
            return
        self._open.remove(entry)
        if entry.done:
            counts: dict[str, int] = {}
            for type_url, _ in entry.wanted:
                counts[type_url.short] = counts.get(type_url.short, 0) + 1
            self._report(Report(entry.key, entry.what, counts, tuple(entry.done), now - entry.since))
