"""From which Service a cluster's endpoints come, and what they are now: all that the endpoint lane computes with. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fairlead_operator import health
from fairlead_operator.api.meta import Ref
from fairlead_operator.world import World
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.model import Endpoint, LoadAssignment


@dataclass(frozen=True, slots=True)
class Binding:
    """A cluster and where its endpoints come from; the endpoint lane rebuilds its load assignment from this alone.

    ``slow_start``: endpoints that are new to Envoy warm up.
    """

    cluster: str
    source: Ref
    port_name: str
    endpoints: Endpoints
    static: tuple[Endpoint, ...] = ()
    slow_start: bool = False


def assess(world: World, binding: Binding) -> list[health.Judged]:
    """Its endpoints, judged as of ``world.now``."""
    facts = world.facts(binding.source, binding.endpoints)
    return health.assess(world.slices(binding.source), binding.port_name, binding.endpoints, facts)


def load_assignment(world: World, binding: Binding) -> LoadAssignment:
    """The endpoints of one cluster as they are now: the whole work of the endpoint lane."""
    if binding.static:
        return LoadAssignment(binding.cluster, binding.static)
    judged = assess(world, binding)
    return LoadAssignment(binding.cluster, health.endpoints(_new_later(judged) if binding.slow_start else judged))


def _new_later(judged: list[health.Judged]) -> list[health.Judged]:
    """Without those that are held back for a time, while a healthy one is left: Envoy warms up what is new to it only."""
    if not any(verdict.health is Health.HEALTHY for _, _, verdict in judged):
        return judged
    return [one for one in judged if one[2].until == health.NEVER or one[2].health is Health.HEALTHY]


def turns(world: World, binding: Binding) -> float:
    """When one of its endpoints is judged otherwise though nothing was heard: seconds since the epoch."""
    if not world.facts(binding.source, binding.endpoints).pods:
        return health.NEVER
    return health.until(assess(world, binding))


def count(world: World, bindings: Iterable[Binding]) -> Counter[Health]:
    """The endpoints behind some clusters by health, each Service port once."""
    total: Counter[Health] = Counter()
    for binding in {(binding.source, binding.port_name): binding for binding in bindings}.values():
        total[Health.HEALTHY] += len(binding.static)
        total += health.count(assess(world, binding))
    return total
