"""What the connected proxies have: asked for by the status of policies. Reads streams; keeps nothing of its own."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

from fairlead_operator.api.meta import Ref
from fairlead_operator.quarantine import Refusal
from fairlead_operator.status import Rollout
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import EMPTY, Snapshot, TypeUrl

#: Types that make a policy programmed. Endpoints come and go without end; a cluster is acknowledged once it has some.
PROGRAMMING = (TypeUrl.CLUSTER, TypeUrl.SECRET, TypeUrl.LISTENER, TypeUrl.ROUTE)

Name = tuple[TypeUrl, str]


def resources_by_policy(snapshot: Snapshot) -> dict[Ref, set[Name]]:
    """What each policy asks of a proxy, by the origins of the resources."""
    found: dict[Ref, set[Name]] = defaultdict(set)
    for type_url in PROGRAMMING:
        for name, resource in snapshot.resources(type_url).items():
            for origin in resource.origins:
                found[Ref(*origin.owner)].add((type_url, name))
    return dict(found)


class Fleet:
    """The proxies of a server, by key.

    A thousand policies and five hundred proxies are half a million questions, but the proxies give few different
    answers: most lack nothing. So each is asked once what it lacks, and the policies are held against the answers.
    """

    def __init__(self, proxies: Callable[[], Iterable[Proxy]]) -> None:
        self._proxies = proxies
        self._wanted: dict[str, Snapshot] = {}
        self._asked: dict[str, dict[Ref, set[Name]]] = {}
        self._lacking: dict[str, Counter[frozenset[Name]]] = {}

    def published(self, snapshots: dict[str, Snapshot]) -> None:
        """New configurations: from now on this is what the proxies are asked for."""
        self._wanted = snapshots
        self._asked = {key: resources_by_policy(snapshot) for key, snapshot in snapshots.items()}

    def survey(self) -> None:
        """Ask every proxy what it lacks; ``rollout`` counts from the answers."""
        self._lacking = {}
        behind: dict[tuple[str, int], frozenset[Name]] = {}
        for proxy in self._proxies():
            known = proxy.stream.snapshot
            missing = behind.get((proxy.key, id(known)))
            if missing is None:
                missing = _differing(known, self._wanted.get(proxy.key, EMPTY))
                behind[proxy.key, id(known)] = missing
            lacking = [(type_url, name) for type_url in PROGRAMMING for name in proxy.stream.lacking(type_url)]
            answers = self._lacking.setdefault(proxy.key, Counter())
            answers[missing.union(lacking) if lacking else missing] += 1

    def connected(self) -> dict[str, int]:
        """How many proxies of each key the last survey found."""
        return {key: answers.total() for key, answers in self._lacking.items()}

    def rollout(self, ref: Ref, gateways: Iterable[str], refusal: Refusal | None, *, served: bool = True) -> Rollout:
        """How far the proxies of *gateways* are with one policy. Not *served*: something else stands in for it."""
        keys = sorted(gateways)
        done = connected = 0
        for key in keys:
            asked = self._asked.get(key, {}).get(ref, set())
            for missing, proxies in self._lacking.get(key, {}).items():
                connected += proxies
                done += proxies if missing.isdisjoint(asked) else 0
        if not served or refusal is not None:
            done = 0
        rejected = tuple(sorted(refusal.proxies)) if refusal else ()
        return Rollout(tuple(keys), connected, done, rejected, str(refusal) if refusal else "")


def _differing(known: Snapshot, wanted: Snapshot) -> frozenset[Name]:
    """What a stream that knows of *known* cannot have accepted of *wanted*."""
    return frozenset(
        (type_url, name)
        for type_url in PROGRAMMING
        if (old := known.resources(type_url)) is not (new := wanted.resources(type_url))
        for name, resource in new.items()
        if name not in old or old[name].version != resource.version
    )


def has_version(proxy: Proxy, type_url: TypeUrl, name: str, version: str) -> bool:
    """The proxy has accepted exactly this. Its stream may not yet know of what was published last: ``has`` alone lies."""
    known = proxy.stream.snapshot.get(type_url, name)
    return known is not None and known.version == version and proxy.has(type_url, name)
