"""A side of a split that loses its last endpoint: its share goes to the others first, then its endpoints go.

Envoy applies what it gets in order. Were the endpoints the first to go, requests would meet an empty side until the routes
follow, and get 503. So the load assignment that turns useless waits until every proxy has the routes, but never for long:
a proxy that does not answer must not keep endpoints alive. Used by ``loop``; no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable

from fairlead_operator.fleet import has_version
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl

#: Longest wait in seconds. An acknowledgement takes milliseconds.
PATIENCE = 0.5


class Handover:
    """The load assignments that wait, by key and name."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[str, Resource]] = {}

    def hold(self, key: str, wanted: Snapshot, current: Snapshot, dying: Iterable[str]) -> Snapshot:
        """*wanted*, but with the *current* endpoints of clusters that are *dying* or wait already."""
        held, kept = {}, []
        for name in {*dying, *self._waiting.pop(key, ())}:
            new, old = wanted.get(TypeUrl.ENDPOINT, name), current.get(TypeUrl.ENDPOINT, name)
            if new is not None and old is not None and new.version != old.version:
                held[name] = new
                kept.append(old)
        if held:
            self._waiting[key] = held
            return wanted.with_resources(kept)
        return wanted

    def replace(self, key: str, resource: Resource, *, useless: bool) -> bool:
        """Newer endpoints of a cluster. True: they wait too; False: nothing waits any more, they may go."""
        waiting = self._waiting.get(key, {})
        if resource.name not in waiting:
            return False
        if useless:
            waiting[resource.name] = resource
        else:
            del waiting[resource.name]
        return useless

    @property
    def keys(self) -> list[str]:
        """Keys for which something waits."""
        return list(self._waiting)

    def release(self, key: str) -> list[Resource]:
        """What waited goes now."""
        return list(self._waiting.pop(key, {}).values())


def have_routes(proxies: Iterable[Proxy], snapshot: Snapshot) -> bool:
    """Every proxy has accepted every route table of *snapshot*."""
    tables = snapshot.resources(TypeUrl.ROUTE)
    return all(
        has_version(proxy, TypeUrl.ROUTE, name, table.version) for proxy in proxies for name, table in tables.items()
    )
