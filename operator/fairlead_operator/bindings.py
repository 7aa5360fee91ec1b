"""From which Service a cluster's endpoints come, and what they are now: all that the endpoint lane computes with. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from fairlead_operator import health, probes
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.slices import SliceEndpoint
from fairlead_operator.options import joined
from fairlead_operator.world import World
from fairlead_xds.features import active
from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.features.passive import auto_percent
from fairlead_xds.model import NOT_ASKED, Endpoint, Host, LoadAssignment

_NO_PODS: Final = (
    "a Backend has no pods whose probe says how to ask; nobody asks these endpoints: use type HTTP, GRPC or TCP"
)
_LEAST_FIRST: Final = (Health.EXCLUDED, Health.DRAINING, Health.DEGRADED, Health.HEALTHY)


@dataclass(frozen=True, slots=True)
class Fallback:
    """Endpoints that get what the others of a cluster cannot take: of a Service's port, or *static*."""

    source: Ref
    port_name: str = ""
    static: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Binding:
    """A cluster and where its endpoints come from; the endpoint lane rebuilds its load assignment from this alone.

    Attributes:
        slow_start: endpoints that are new to Envoy warm up.
        active: the policy's active check; one of a probe is made explicit by ``check``.
        check, problem: what the cluster's Envoys were told of it, and the policy of the probes.
        fallbacks: they get a share below ``failover`` percent of healthy endpoints.
        ejected: percent of its endpoints that passive checks may eject, as the cluster was told; None: it is not ``Auto``.
    """

    cluster: str
    source: Ref
    port_name: str
    endpoints: Endpoints
    static: tuple[Endpoint, ...] = ()
    slow_start: bool = False
    active: ActiveHealthCheck | None = None
    check: ActiveHealthCheck | None = None
    problem: str = ""
    fallbacks: tuple[Fallback, ...] = ()
    failover: int = 0
    ejected: int | None = None

    @property
    def sources(self) -> tuple[Ref, ...]:
        """The Services and Backends whose endpoints it has."""
        return (self.source, *(one.source for one in self.fallbacks))


def assess(world: World, binding: Binding) -> list[health.Judged]:
    """Its endpoints, without fallbacks, judged as of ``world.now``."""
    return _assess(world, binding.source, binding.port_name, binding.endpoints)


def _assess(world: World, source: Ref, port_name: str, policy: Endpoints) -> list[health.Judged]:
    return health.assess(world.slices(source), port_name, policy, world.facts(source, policy))


def load_assignment(world: World, binding: Binding) -> LoadAssignment:
    """The endpoints of one cluster as they are now: the whole work of the endpoint lane."""
    own = binding.static or _own(world, binding)
    if binding.fallbacks:
        own = _shared(*_apart_from(own, _fallback(world, binding)))
    return LoadAssignment(binding.cluster, own, binding.failover, active.by_address(binding.check))


def _apart_from(
    own: tuple[Endpoint, ...], others: tuple[Endpoint, ...]
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...]]:
    """Each address once, or Envoy refuses them: as its own, but not where that only says that it is excluded.

    Both lead to the same pods where the fallback publishes addresses that are not ready.
    """
    elsewhere = {one[:2] for one in others if one.health is not Health.EXCLUDED}
    own = tuple(one for one in own if one.health is not Health.EXCLUDED or one[:2] not in elsewhere)
    known = {one[:2] for one in own}
    return own, tuple(one for one in others if one[:2] not in known)


def _shared(own: tuple[Endpoint, ...], others: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """*own* and their fallbacks, none degraded while they share the requests.

    Envoy has one factor for what spills to fallbacks and for what spills to degraded endpoints. While a healthy one is left on
    both sides it is that of the failover, and degraded ones would get a share before the last healthy one is gone.
    """
    if all(any(one.health is Health.HEALTHY for one in side) for side in (own, others)):
        return tuple(map(_held, (*own, *others)))
    return (*own, *others)


def _held(one: Endpoint) -> Endpoint:
    return one._replace(health=Health.HELD) if one.health is Health.DEGRADED else one


def usable(assignment: LoadAssignment) -> bool:
    """Its own endpoints, that is: what falls back to others is no better side of a split than one that has none."""
    return any(endpoint.health in health.FIT for endpoint in assignment.endpoints if not endpoint.priority)


def without_endpoints(world: World, binding: Binding) -> str:
    """That it has none of its own that may get requests, as Kubernetes says; empty: it has."""
    if binding.static or any(verdict.health in health.FIT for _, _, verdict in assess(world, binding)):
        return ""
    instead = "; its fallbacks take its requests" if binding.fallbacks else ""
    return f"{binding.source} has no endpoint that may get traffic{instead}"


def _own(world: World, binding: Binding) -> tuple[Endpoint, ...]:
    """Priority 0."""
    judged = assess(world, binding)
    if binding.slow_start:
        judged = _held_back(judged)
    whole = bool(binding.failover)
    if binding.active is None:
        return health.endpoints(judged, whole=whole)
    ports = choose(world, binding).ports if binding.active.of_probe else None
    return health.endpoints(judged, check_port=binding.active.port or 0, check_ports=ports, whole=whole)


def _fallback(world: World, binding: Binding) -> tuple[Endpoint, ...]:
    """Priority 1. They are not asked where a probe of the others says how: theirs may be another one."""
    asks = binding.active
    port = 0 if asks is None else NOT_ASKED if asks.of_probe else asks.port or 0
    found: dict[tuple[str, int], Endpoint] = {}
    for one in binding.fallbacks:
        judged = _assess(world, one.source, one.port_name, binding.endpoints)
        static = [endpoint._replace(priority=1, check_port=port) for endpoint in one.static]
        for endpoint in (*static, *health.endpoints(judged, check_port=port, priority=1)):
            found.setdefault((endpoint.address, endpoint.port), endpoint)
    return tuple(found.values())


def choose(world: World, binding: Binding) -> probes.Choice:
    """How its endpoints are asked, as the probes of their pods are now."""
    assert binding.active is not None
    if not binding.active.of_probe:
        return probes.Choice(binding.active, "", {})
    states = world.pod_states(binding.source.namespace)
    return probes.choose(binding.active, world.slices(binding.source), binding.port_name, states, world.now)


def explicit(world: World, binding: Binding, check: HealthCheck | None) -> tuple[Binding, HealthCheck | None]:
    """*check* with an explicit active check instead of that of a probe, a number instead of ``Auto``, and who knows them."""
    binding, check = _without_probe(world, binding, check)
    passive = check.passive if check is not None else None
    if check is None or passive is None or passive.max_ejection_percent != "Auto":
        return binding, check
    percent = may_eject(load_assignment(world, binding))
    said = passive.model_copy(update={"max_ejection_percent": percent})
    return replace(binding, ejected=percent), check.model_copy(update={"passive": said})


def may_eject(assignment: LoadAssignment) -> int:
    """Percent of its endpoints that may be out without the last fit one among them."""
    fit = sum(endpoint.health in health.FIT for endpoint in assignment.endpoints)
    return auto_percent(fit, len(assignment.endpoints))


def _without_probe(world: World, binding: Binding, check: HealthCheck | None) -> tuple[Binding, HealthCheck | None]:
    if check is None or check.active is None:
        return binding, check
    if not check.active.of_probe:
        return replace(binding, check=check.active), check
    if binding.active is None:
        return replace(binding, problem=_NO_PODS), check.model_copy(update={"active": None})
    choice = choose(world, binding)
    told = replace(binding, check=choice.check, problem=choice.problem)
    return told, check.model_copy(update={"active": choice.check})


def ejects_otherwise(binding: Binding, assignment: LoadAssignment) -> bool:
    """Passive checks may eject more of its endpoints, or fewer, than the cluster was told."""
    return binding.ejected is not None and may_eject(assignment) != binding.ejected


def asked_otherwise(world: World, binding: Binding) -> bool:
    """The probes of most pods are not any more what the cluster was told."""
    if binding.active is None or not binding.active.of_probe:
        return False
    choice = choose(world, binding)
    return choice.check != binding.check or probes.kind_of(choice.problem) != probes.kind_of(binding.problem)


def _held_back(judged: list[health.Judged]) -> list[health.Judged]:
    """Those that are degraded for a time as unfit, while a healthy one is left, and in a sub-zone.

    Envoy warms up what is new to it only, and an endpoint that comes from another locality is.
    """
    if not any(verdict.health is Health.HEALTHY for _, _, verdict in judged):
        return judged
    return [
        _apart(*one) if one[2].health is Health.DEGRADED and one[2].until != health.NEVER else one for one in judged
    ]


def _apart(endpoint: SliceEndpoint, port: int, verdict: health.Verdict) -> health.Judged:
    return endpoint._replace(zone=f"{endpoint.zone}/held"), port, verdict._replace(health=Health.HELD)


def turns(world: World, binding: Binding) -> float:
    """When one of its endpoints is judged otherwise though nothing was heard: seconds since the epoch."""
    found = [
        health.until(_assess(world, one.source, one.port_name, binding.endpoints))
        for one in (Fallback(binding.source, binding.port_name), *binding.fallbacks)
        if _concerned(world, one.source, binding.endpoints)
    ]
    if binding.active is not None and binding.active.of_probe:
        found.append(choose(world, binding).until)
    return min(found, default=health.NEVER)


def _concerned(world: World, source: Ref, policy: Endpoints) -> bool:
    facts = world.facts(source, policy)
    return facts.any and any(facts.concern(entry.endpoints) for entry in world.slices(source))


class Survey(NamedTuple):
    """The endpoints behind a policy.

    Attributes:
        counts: by health, each Service port once, fallbacks too.
        unfit: those that are not healthy, as many as a status lists.
        graces: the pods that have less time to end than is usual, and how many seconds.
    """

    counts: Counter[Health]
    unfit: tuple[health.Row, ...] = ()
    graces: tuple[tuple[str, int], ...] = ()


#: What a status lists of endpoints that are not healthy.
LISTED: Final = 20


def survey(world: World, bindings: Iterable[Binding]) -> Survey:
    """What a status says of the endpoints behind some clusters."""
    total: Counter[Health] = Counter()
    unfit: list[health.Row] = []
    short: dict[str, int] = {}
    for source, port, static, judged in _sources(world, bindings):
        if graces := world.graces(source.namespace):
            short |= {one.pod: graces[one.pod] for one, _, _ in judged if one.pod in graces}
        total[Health.HEALTHY] += len(static)
        found = health.count(judged)
        total += found
        if found[Health.HEALTHY] != len(judged):
            pods = world.pod_states(source.namespace)
            name = _name(source, port)
            unfit += [health.row(name, one, pods) for one in judged if one[2].health is not Health.HEALTHY]
    return Survey(total, tuple(sorted(unfit, key=_order)[:LISTED]), tuple(sorted(short.items())))


class Named(NamedTuple):
    """A cluster over a Backend that has hostnames: each Envoy finds its endpoints by DNS."""

    cluster: str
    source: Ref
    hosts: tuple[Host, ...]


class Placed(NamedTuple):
    """An endpoint, and in which clusters proxies have it: only there is what they found out about it the policy's business.

    Attributes:
        by_dns: it is a hostname: whether it has an address, and a fit one, only proxies know.
    """

    row: health.Row
    clusters: tuple[str, ...]
    by_dns: bool = False


def rows(world: World, bindings: Collection[Binding], named: Iterable[Named] = ()) -> list[Placed]:
    """Every endpoint behind some clusters."""
    clusters: dict[tuple[Ref, str], dict[str, None]] = {}
    for binding in bindings:
        for of in (Fallback(binding.source, binding.port_name), *binding.fallbacks):
            clusters.setdefault((of.source, of.port_name), {})[binding.cluster] = None
    found: list[Placed] = []
    for source, port, static, judged in _sources(world, bindings):
        name, pods, where = _name(source, port), world.pod_states(source.namespace), tuple(clusters[source, port])
        found += [Placed(health.row(name, one, pods), where) for one in judged]
        for one in static:
            words = "", "", one.zone, one.weight, one.health, "an address of a Backend, which nothing judges", 0.0
            found.append(Placed(health.Row(name, joined(one.address, one.port), *words), where))
    return sorted([*found, *_hostnames(named)], key=lambda one: _order(one.row))


def _hostnames(named: Iterable[Named]) -> list[Placed]:
    """Each of a Backend once, whatever clusters it has."""
    found: dict[tuple[Ref, str, int], tuple[int, dict[str, None]]] = {}
    for cluster, source, hosts in named:
        for host in hosts:
            found.setdefault((source, host.hostname, host.port), (host.weight, {}))[1][cluster] = None
    rest = Health.HEALTHY, "a hostname, which Envoy resolves", 0.0
    return [
        Placed(
            health.Row(_name(source, ""), joined(name, port), "", "", "", weight, *rest), tuple(clusters), by_dns=True
        )
        for (source, name, port), (weight, clusters) in found.items()
    ]


def _sources(
    world: World, bindings: Iterable[Binding]
) -> Iterator[tuple[Ref, str, tuple[Endpoint, ...], list[health.Judged]]]:
    """Each Service port and each Backend once, with its endpoints: as they are where they get least."""
    sources: dict[tuple[Ref, str], tuple[tuple[Endpoint, ...], dict[Endpoints, None]]] = {}
    for binding in bindings:
        for one in (Fallback(binding.source, binding.port_name, binding.static), *binding.fallbacks):
            sources.setdefault((one.source, one.port_name), (one.static, {}))[1][binding.endpoints] = None
    for (source, port_name), (static, policies) in sources.items():
        judged = [_assess(world, source, port_name, policy) for policy in policies]
        yield source, port_name, static, judged[0] if len(judged) == 1 else list(map(_least, *judged))


def _least(*same: health.Judged) -> health.Judged:
    """Of one endpoint under several settings the one that gets least, which says so."""
    worst = min(same, key=lambda one: _LEAST_FIRST.index(one[2].health))
    others = [
        one
        for one in reversed(_LEAST_FIRST)
        if any(one is verdict.health is not worst[2].health for *_, verdict in same)
    ]
    if not others:
        return worst
    where = " and ".join(one.value for one in others)
    return (*worst[:2], worst[2]._replace(reason=f"{worst[2].reason} (with the settings of other routes: {where})"))


def _name(source: Ref, port_name: str) -> str:
    return f"{source.namespace}/{source.name}" + (f":{port_name}" if port_name else "")


def _order(one: health.Row) -> tuple[str, str, str]:
    return one.backend, one.pod, one.address
