"""A side of a split that loses its last endpoint: its share goes to the others first, then its endpoints go.

Envoy applies what it gets in order. Were the endpoints the first to go, requests would meet an empty side until the routes
follow, and get 503. So the load assignment that turns useless waits until every proxy has the routes, but never for long:
a proxy that does not answer must not keep endpoints alive. Used by ``loop``; no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fairlead_operator.fleet import has_version
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl

#: Longest wait in seconds. An acknowledgement takes milliseconds.
PATIENCE = 0.5


@dataclass(slots=True)
class _Waiting:
    """Of one key: the load assignments that wait and until when, by name, and the proxies that they wait for."""

    resources: dict[str, Resource]
    until: dict[str, float]
    proxies: set[Proxy] = field(default_factory=set)


class Handover:
    """The load assignments that wait, by key."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def hold(self, key: str, wanted: Snapshot, current: Snapshot, dying: Iterable[str], now: float) -> Snapshot:
        """*wanted*, but with the *current* endpoints of clusters that are *dying* or wait already."""
        before = self._waiting.pop(key, None)
        until = {**dict.fromkeys(dying, now + PATIENCE), **(before.until if before else {})}
        held, kept = {}, []
        for name in until:
            new, old = wanted.get(TypeUrl.ENDPOINT, name), current.get(TypeUrl.ENDPOINT, name)
            if new is not None and old is not None and new.version != old.version:
                held[name] = new
                kept.append(old)
        if not held:
            return wanted
        self._waiting[key] = _Waiting(held, {name: until[name] for name in held})
        return wanted.with_resources(kept)

    def wait_for(self, key: str, proxies: Iterable[Proxy], snapshot: Snapshot) -> bool:
        """Wait for those of *proxies* that lack route tables of *snapshot*. False: none does, so release."""
        waiting = self._waiting[key]
        waiting.proxies = {proxy for proxy in proxies if not _has_routes(proxy, snapshot)}
        return bool(waiting.proxies)

    def heard(self, key: str, proxy: Proxy, snapshot: Snapshot | None) -> bool:
        """*proxy* answered, or is gone from *key* (no *snapshot*). True: it was the last that was waited for: release."""
        waiting = self._waiting.get(key)
        if waiting is None or proxy not in waiting.proxies:
            return False
        if snapshot is None or _has_routes(proxy, snapshot):
            waiting.proxies.discard(proxy)
        return not waiting.proxies

    def replace(self, key: str, resource: Resource, *, useless: bool) -> bool:
        """Newer endpoints of a cluster. True: they wait too; False: nothing of it waits any more, they may go."""
        waiting = self._waiting.get(key)
        if waiting is None or resource.name not in waiting.resources:
            return False
        if useless:
            waiting.resources[resource.name] = resource
        else:
            self._take(key, resource.name)
        return useless

    @property
    def keys(self) -> list[str]:
        """Keys for which something waits."""
        return list(self._waiting)

    def release(self, key: str, now: float = float("inf")) -> list[Resource]:
        """What waited goes: all of it, or what has waited long enough at *now*."""
        waiting = self._waiting.get(key)
        names = [name for name, until in waiting.until.items() if until <= now] if waiting else []
        return [self._take(key, name) for name in names]

    def _take(self, key: str, name: str) -> Resource:
        waiting = self._waiting[key]
        del waiting.until[name]
        resource = waiting.resources.pop(name)
        if not waiting.resources:
            del self._waiting[key]
        return resource


def _has_routes(proxy: Proxy, snapshot: Snapshot) -> bool:
    tables = snapshot.resources(TypeUrl.ROUTE)
    return all(has_version(proxy, TypeUrl.ROUTE, name, table.version) for name, table in tables.items())
