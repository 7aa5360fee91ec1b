"""How many active checks an endpoint gets of all proxies together, and how that is bounded. Pure.

A proxy knows nothing of the others, and asks for each of its clusters: a backend has several where it is used with other
settings or fallbacks. So where a policy says how many checks a second an endpoint may get, the interval grows with the number of
all who ask. How many of them that counts is ``crowd``'s.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import Binding
from fairlead_xds.features.health_check import HealthCheck

#: Backends of a policy whose rates its status lists, those that are asked most.
LISTED: Final = 128


class Asked(NamedTuple):
    """A cluster whose endpoints are asked.

    Attributes:
        keys: of the proxies that have it.
        backends: whose endpoints these are: one, and its fallbacks if they are asked too.
    """

    check: HealthCheck
    keys: tuple[str, ...]
    backends: tuple[Ref, ...]

    def proxies(self, connected: Mapping[str, int]) -> int:
        return sum(connected.get(key, 0) for key in self.keys)


class Checks(NamedTuple):
    """How often each endpoint of a backend is asked.

    Attributes:
        backend: ``NAMESPACE/NAME``.
        every: seconds between two checks of one proxy, for the cluster that asks most often.
        per_second: of all proxies together, for all clusters that there are of the backend, other policies' too.
    """

    backend: str
    every: float
    per_second: float


def bounded(check: HealthCheck | None) -> bool:
    """The number of proxies matters."""
    return check is not None and check.active is not None and check.active.max_checks_per_second is not None


def backends_of(binding: Binding) -> tuple[Ref, ...]:
    """Those whose endpoints the cluster of *binding* asks: see ``bindings`` for fallbacks and probes."""
    of_probe = binding.active is not None and binding.active.of_probe
    return (binding.source,) if of_probe else tuple(dict.fromkeys(binding.sources))


def stretched(asked: Mapping[str, Asked], proxies: Mapping[str, int]) -> dict[str, HealthCheck]:
    """The checks of clusters (by name), so that no backend gets more than they allow of all *proxies* (by key) that ask it."""
    askers: Counter[Ref] = Counter()
    for one in asked.values():
        for backend in one.backends:
            askers[backend] += one.proxies(proxies)
    return {
        name: slowed(one.check, max((askers[backend] for backend in one.backends), default=0))
        for name, one in asked.items()
    }


def slowed(check: HealthCheck, askers: int) -> HealthCheck:
    """*check* as each of so many *askers* makes it."""
    active = check.active
    if active is None or active.max_checks_per_second is None:
        return check
    least = math.ceil(1000 * askers / active.max_checks_per_second)
    if least <= active.every * 1000:
        return check
    return check.model_copy(update={"active": active.model_copy(update={"interval": f"{least}ms"})})


def rates(asked: Mapping[str, Asked], connected: Mapping[str, int]) -> Mapping[Ref, float]:
    """Checks a second of each backend's endpoints."""
    found: defaultdict[Ref, float] = defaultdict(float)
    for one in asked.values():
        if one.check.active is not None:
            for backend in one.backends:
                found[backend] += one.proxies(connected) / one.check.active.every
    return found


def of_clusters(
    clusters: Iterable[str], asked: Mapping[str, Asked], per_second: Mapping[Ref, float]
) -> tuple[Checks, ...]:
    """How often the backends of some *clusters* are asked; *per_second*: the ``rates``."""
    found: dict[str, Checks] = {}
    for name in clusters:
        one = asked.get(name)
        if one is None or one.check.active is None:
            continue
        for backend in one.backends:
            new = Checks(f"{backend.namespace}/{backend.name}", one.check.active.every, per_second[backend])
            known = found.setdefault(new.backend, new)
            found[new.backend] = new._replace(
                every=min(known.every, new.every), per_second=max(known.per_second, new.per_second)
            )
    most = sorted(found.values(), key=lambda one: (-one.per_second, one.backend))[:LISTED]
    return tuple(sorted(most))
