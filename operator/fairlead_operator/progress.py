"""From a change to its last acknowledgement: one report a change, for the live lines and for the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fairlead_operator.fleet import has_version
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Changes, Snapshot, TypeUrl

#: Changes that may wait for acknowledgement; beyond, the oldest are given up (a proxy that never answers).
MOST = 256


class Cause(NamedTuple):
    """What a run of a lane is for: the objects that changed, and when the first of them did."""

    what: tuple[str, ...]
    since: float


class Causes:
    """The changes that wait for a lane."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def add(self, what: str, now: float) -> None:
        self._since.setdefault(what, now)

    def put_back(self, cause: Cause) -> None:
        """It is for another run too."""
        for what in cause.what:
            self.add(what, cause.since)

    def take(self, now: float) -> Cause:
        """All of them, for a run that begins *now*."""
        since, self._since = self._since, {}
        return Cause(tuple(since), min(since.values(), default=now))


@dataclass(frozen=True, slots=True)
class Report:
    """A change that every connected proxy of a gateway has acknowledged, or that one has refused.

    Attributes:
        what: the objects that changed.
        resources: how many resources of each type it made different, or removed if it did nothing else.
        proxies: who acknowledged, in order; or who refused.
        seconds: from the event to the last acknowledgement, or to the refusal.
        removed: nothing came or changed, something went.
        refusal: the proxy's words; empty: it was acknowledged.
    """

    key: str
    what: tuple[str, ...]
    resources: dict[str, int]
    proxies: tuple[str, ...]
    seconds: float
    removed: bool = False
    refusal: str = ""


@dataclass(slots=True)
class _Open:
    key: str
    what: tuple[str, ...]
    since: float
    wanted: dict[tuple[TypeUrl, str], str | None]
    done: list[str] = field(default_factory=list)
    waiting: set[Proxy] = field(default_factory=set)
    #: When somebody acknowledged last.
    acked: float = 0.0


class Progress:
    """The changes that wait for acknowledgement. *current* tells what is published for a key now."""

    def __init__(self, report: Callable[[Report], None], current: Callable[[str], Snapshot]) -> None:
        self._report, self._current = report, current
        self._open: list[_Open] = []

    def published(
        self,
        key: str,
        cause: Cause,
        *,
        changes: Changes,
        snapshot: Snapshot,
        proxies: list[Proxy],
    ) -> None:
        """*changes* of *key* are on their way to *proxies*.

        Removals go last and say nothing new to who waits for a change: they are waited for where there is nothing else.
        Who is only told to go on with what it kept when it refused something is told nothing at all.
        """
        versions = {
            (type_url, name): resource.version if (resource := snapshot.get(type_url, name)) is not None else None
            for type_url, names in changes.before.items()
            for name in names
        }
        wanted = {named: version for named, version in versions.items() if version is not None} or versions
        waiting = {proxy for proxy in proxies if not _kept(proxy, wanted)}
        if wanted and waiting:
            self._open.append(_Open(key, cause.what, cause.since, dict(wanted), waiting=waiting))
            del self._open[:-MOST]

    def acked(self, proxy: Proxy, now: float) -> None:
        """*proxy* has acknowledged something."""
        for entry in list(self._open):
            if proxy in entry.waiting and self._has(proxy, entry):
                entry.waiting.discard(proxy)
                entry.done.append(proxy.node.id)
                entry.acked = now
                self._close_if_done(entry)

    def refused(
        self, proxy: Proxy, type_url: TypeUrl, versions: Mapping[str, str | None], *, message: str, now: float
    ) -> None:
        """*proxy* has refused these: the changes that brought them are over."""
        for entry in list(self._open):
            if proxy in entry.waiting and any(
                version is not None and entry.wanted.get((type_url, name)) == version
                for name, version in versions.items()
            ):
                self._open.remove(entry)
                self._report(self._told(entry, (proxy.node.id,), now, refusal=message))

    def disconnected(self, proxy: Proxy) -> None:
        """*proxy* is gone: nobody waits for it, and how long it was silent before is no figure of anybody."""
        for entry in list(self._open):
            if proxy in entry.waiting:
                entry.waiting.discard(proxy)
                self._close_if_done(entry)

    def _has(self, proxy: Proxy, entry: _Open) -> bool:
        current = self._current(entry.key)
        for (type_url, name), version in entry.wanted.items():
            resource = current.get(type_url, name)
            # A version that was overtaken by a newer one, or by a removal, is not waited for.
            overtaken = (resource.version if resource is not None else None) != version
            if not overtaken and not _obeyed(proxy, type_url, name, version):
                return False
        return True

    def _close_if_done(self, entry: _Open) -> None:
        if entry.waiting or entry not in self._open:
            return
        self._open.remove(entry)
        if entry.done:
            self._report(self._told(entry, tuple(entry.done), entry.acked))

    @staticmethod
    def _told(entry: _Open, proxies: tuple[str, ...], now: float, *, refusal: str = "") -> Report:
        counts = Counter(type_url.short for type_url, _ in entry.wanted)
        removed = not any(entry.wanted.values())
        return Report(entry.key, entry.what, dict(counts), proxies, now - entry.since, removed, refusal)


def _kept(proxy: Proxy, wanted: Mapping[tuple[TypeUrl, str], str | None]) -> bool:
    return all(
        version is not None and proxy.stream.kept(type_url, name) == version
        for (type_url, name), version in wanted.items()
    )


def _obeyed(proxy: Proxy, type_url: TypeUrl, name: str, version: str | None) -> bool:
    """The proxy has exactly this; None: it has nothing of that name any more."""
    if version is not None:
        return has_version(proxy, type_url, name, version)
    return proxy.stream.snapshot.get(type_url, name) is None and not proxy.stream.removing(type_url, name)
