"""What the connected proxies have: asked for by the status of policies. Reads streams; keeps nothing of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable

from fairlead_operator.api.meta import Ref
from fairlead_operator.quarantine import Refusal
from fairlead_operator.status import Rollout
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import Snapshot, TypeUrl

#: Types that make a policy programmed. Endpoints come and go without end; a cluster is acknowledged once it has some.
PROGRAMMING = (TypeUrl.CLUSTER, TypeUrl.SECRET, TypeUrl.LISTENER, TypeUrl.ROUTE)

#: Resources in the version that is asked for.
Versions = dict[tuple[TypeUrl, str], str]


def resources_by_policy(snapshot: Snapshot) -> dict[Ref, Versions]:
    """What each policy asks of a proxy, by the origins of the resources."""
    found: dict[Ref, Versions] = defaultdict(dict)
    for type_url in PROGRAMMING:
        for name, resource in snapshot.resources(type_url).items():
            for origin in resource.origins:
                found[Ref(*origin.owner)][type_url, name] = resource.version
    return dict(found)


class Fleet:
    """The proxies of a server, by key."""

    def __init__(self, proxies: Callable[[], Iterable[Proxy]]) -> None:
        self._proxies = proxies
        self._asked: dict[str, dict[Ref, Versions]] = {}

    def published(self, snapshots: dict[str, Snapshot]) -> None:
        """New configurations: from now on this is what the proxies are asked for."""
        self._asked = {key: resources_by_policy(snapshot) for key, snapshot in snapshots.items()}

    def rollout(self, ref: Ref, gateways: Iterable[str], refusal: Refusal | None, *, served: bool = True) -> Rollout:
        """How far the proxies of *gateways* are with one policy. Not *served*: something else stands in for it."""
        keys = sorted(gateways)
        proxies = [proxy for proxy in self._proxies() if proxy.key in keys]
        done = 0
        if served and refusal is None:
            done = sum(self._has_all(proxy, ref) for proxy in proxies)
        rejected = tuple(sorted(refusal.proxies)) if refusal else ()
        return Rollout(tuple(keys), len(proxies), done, rejected, str(refusal) if refusal else "")

    def _has_all(self, proxy: Proxy, ref: Ref) -> bool:
        asked = self._asked.get(proxy.key, {}).get(ref, {})
        return all(has_version(proxy, *resource, version) for resource, version in asked.items())


def has_version(proxy: Proxy, type_url: TypeUrl, name: str, version: str) -> bool:
    """The proxy has accepted exactly this. Its stream may not yet know of what was published last: ``has`` alone lies."""
    known = proxy.stream.snapshot.get(type_url, name)
    return known is not None and known.version == version and proxy.has(type_url, name)
