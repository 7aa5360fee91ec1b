"""From which Service a cluster's endpoints come, and what they are now: all that the endpoint lane computes with. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from fairlead_operator import health, probes
from fairlead_operator.api.meta import Ref
from fairlead_operator.world import World
from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.model import Endpoint, LoadAssignment


@dataclass(frozen=True, slots=True)
class Binding:
    """A cluster and where its endpoints come from; the endpoint lane rebuilds its load assignment from this alone.

    Attributes:
        slow_start: endpoints that are new to Envoy warm up.
        active: the policy's active check; one of a probe is made explicit by ``check``.
        check: what the cluster's Envoys were told of it.
    """

    cluster: str
    source: Ref
    port_name: str
    endpoints: Endpoints
    static: tuple[Endpoint, ...] = ()
    slow_start: bool = False
    active: ActiveHealthCheck | None = None
    check: ActiveHealthCheck | None = None


def assess(world: World, binding: Binding) -> list[health.Judged]:
    """Its endpoints, judged as of ``world.now``."""
    facts = world.facts(binding.source, binding.endpoints)
    return health.assess(world.slices(binding.source), binding.port_name, binding.endpoints, facts)


def load_assignment(world: World, binding: Binding) -> LoadAssignment:
    """The endpoints of one cluster as they are now: the whole work of the endpoint lane."""
    if binding.static:
        return LoadAssignment(binding.cluster, binding.static)
    judged = assess(world, binding)
    if binding.slow_start:
        judged = _new_later(judged)
    ports = choose(world, binding).ports if binding.active is not None and binding.active.of_probe else None
    port = (binding.active.port or 0) if binding.active is not None else 0
    return LoadAssignment(binding.cluster, health.endpoints(judged, check_port=port, check_ports=ports))


def choose(world: World, binding: Binding) -> probes.Choice:
    """How its endpoints are asked, as the probes of their pods are now."""
    assert binding.active is not None
    if not binding.active.of_probe:
        return probes.Choice(binding.active, "", {})
    states = world.pod_states(binding.source.namespace)
    return probes.choose(binding.active, world.slices(binding.source), binding.port_name, states)


def explicit(world: World, binding: Binding, check: HealthCheck | None) -> tuple[Binding, HealthCheck | None, str]:
    """*check* with an explicit active check instead of that of a probe, the binding that knows it, and what is wrong."""
    if check is None or check.active is None or not check.active.of_probe:
        return binding, check, ""
    choice = choose(world, binding)
    return replace(binding, check=choice.check), check.model_copy(update={"active": choice.check}), choice.problem


def asked_otherwise(world: World, binding: Binding) -> bool:
    """The probes of most pods are not any more what the cluster was told."""
    active = binding.active
    return active is not None and active.of_probe and choose(world, binding).check != binding.check


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
