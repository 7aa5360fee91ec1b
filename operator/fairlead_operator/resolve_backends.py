"""The backendRefs of a policy -> clusters, and where their endpoints come from. Pure; a part of ``resolve``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from fairlead_operator import health
from fairlead_operator.api import policy as api
from fairlead_operator.api.backend import BackendEndpoint, on_own_machine
from fairlead_operator.api.core import ServicePort
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.attach import Attached
from fairlead_operator.bindings import Binding, Fallback, Named, explicit, without_endpoints
from fairlead_operator.conditions import Problem, origin
from fairlead_operator.world import World
from fairlead_xds import names
from fairlead_xds.features import algorithm, failover
from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.features.affinity import SessionPersistence
from fairlead_xds.features.algorithm import LoadBalancer
from fairlead_xds.features.endpoints import Endpoints
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.model import Backend, Endpoint, Host, Target
from fairlead_xds.snapshot import Origin


@dataclass(frozen=True, slots=True)
class Balancing:
    """How one backend is balanced, after the attached policy had its say: ``origins`` then names it."""

    load_balancer: LoadBalancer
    persistence: SessionPersistence | None
    health_check: HealthCheck | None
    endpoints: Endpoints
    origins: tuple[Origin, ...] = ()

    @property
    def active(self) -> ActiveHealthCheck | None:
        """The check that proxies make."""
        return self.health_check.active if self.health_check is not None else None

    @property
    def warms(self) -> bool:
        """Endpoints that are new to Envoy warm up."""
        return self.load_balancer.slow_start is not None


def settings_of(balancing: Balancing, *more: str) -> str:
    """What sets this cluster apart from others over the same endpoints; nothing for the defaults."""
    return names.settings(
        None if balancing.load_balancer == algorithm.DEFAULT else balancing.load_balancer,
        balancing.persistence.drain if balancing.persistence else None,
        None if balancing.endpoints == health.DEFAULT else balancing.endpoints,
        balancing.health_check,
        *(one or None for one in more),
    )


class _Fallbacks(NamedTuple):
    """Those of a route; the same for each side of its split."""

    found: tuple[Fallback, ...] = ()
    percent: int = 0

    def __str__(self) -> str:
        """For the name of the cluster."""
        return " ".join([*(f"{one.source}:{one.port_name}" for one in self.found), str(self.percent or "")]).strip()


class BackendResolver:
    """The state of resolving the backends of one policy.

    Attributes:
        backends, bindings, named: by the name of the cluster; *named*: those that have hostnames, and so no binding.
        usable: clusters that have an endpoint of their own that may get requests.
        attached_origins: of each cluster, the attached policies that say how it is balanced.
    """

    def __init__(
        self,
        world: World,
        policy: LoadBalancerPolicy,
        attached: Attached,
        *,
        resolved: list[Problem],
        degraded: list[Problem],
    ) -> None:
        """*resolved* and *degraded* get what is wrong."""
        self.world, self.policy, self.attached = world, policy, attached
        self.resolved, self.degraded = resolved, degraded
        self.backends: dict[str, Backend] = {}
        self.bindings: dict[str, Binding] = {}
        self.named: dict[str, Named] = {}
        self.usable: dict[str, bool] = {}
        self.attached_origins: dict[str, tuple[Origin, ...]] = {}

    def targets(self, path: str, route: api.Route) -> tuple[Target, ...]:
        """The sides of the split of the route at *path*."""
        refs = [(f"{path}.backendRefs[{index}]", ref) for index, ref in enumerate(route.backend_refs)]
        fallbacks = self._fallbacks(route, [(where, ref) for where, ref in refs if ref.fallback])
        found: dict[str, Target] = {}
        idle = False
        for where, ref in refs:
            backend = None if ref.fallback else self._backend(where, ref, fallbacks)
            if backend is None or ref.weight == 0:
                idle |= backend is not None
                continue
            known = found.get(backend.name)
            weight = ref.weight + (known.weight if known else 0)
            found[backend.name] = Target(backend.name, weight, backend.persistence)
        if idle and not found:
            why = "no backend has a weight above 0: requests get 503 until one has"
            self.degraded.append(Problem("NoBackends", f"{path}.backendRefs", why))
        return self._without_dead(path, tuple(found.values()))

    def _without_dead(self, path: str, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Envoy answers 503 for the share of a side without endpoints, retries included: the others get it."""
        alive = tuple(target for target in targets if self.usable[target.backend])
        if not alive:
            return targets[:1] if targets else ()  # which has the fallbacks, as any other
        if len(alive) < len(targets):
            dead = ", ".join(target.backend for target in targets if not self.usable[target.backend])
            self.degraded.append(
                Problem("NoEndpoints", f"{path}.backendRefs", f"{dead}: no endpoint; its share goes to the others")
            )
        return alive

    # --- fallbacks

    def _fallbacks(self, route: api.Route, refs: Sequence[tuple[str, api.BackendRef]]) -> _Fallbacks:
        found = tuple(one for path, ref in refs if (one := self._fallback(path, ref)) is not None)
        percent = route.activate_below_healthy_percent or failover.ACTIVATE_BELOW
        return _Fallbacks(found, percent) if found else _Fallbacks()

    def _fallback(self, path: str, ref: api.BackendRef) -> Fallback | None:
        target = self._allowed(path, ref)
        if target is None:
            return None
        if ref.kind == "Service":
            port = self._port(path, target, ref.port or 0)
            return Fallback(target, port.name) if port is not None else None
        backend = self._external(path, target)  # asked where ``bindings`` says
        if backend is None:
            return None
        hosts, static = backend
        if hosts:
            message = f"Backend {target.namespace}/{target.name} has hostnames: a fallback needs addresses"
            self.resolved.append(Problem("UnsupportedBackend", f"{path}.name", message))
            return None
        return Fallback(target, "", static)

    # --- backends

    def _backend(self, path: str, ref: api.BackendRef, fallbacks: _Fallbacks) -> Backend | None:
        target = self._allowed(path, ref)
        if target is None:
            return None
        balancing = self._balancing(target)
        settings = settings_of(balancing, str(fallbacks))
        over, percent = fallbacks
        if ref.kind == "Service":
            port = self._port(path, target, ref.port or 0)
            if port is None:
                return None
            name = names.cluster(target.namespace, target.name, ref.port, settings)
            binding = Binding(
                name,
                target,
                port.name,
                balancing.endpoints,
                slow_start=balancing.warms,
                active=balancing.active,
                fallbacks=over,
                failover=percent,
            )
            return self._bind(path, binding, balancing, ())
        external = self._external(path, target, balancing.active)
        if external is None:
            return None
        hosts, static = external
        if hosts and over:
            message = f"Backend {target.namespace}/{target.name} has hostnames: only addresses can have a fallback"
            self.resolved.append(Problem("UnsupportedBackend", f"{path}.name", message))
        name = names.cluster(target.namespace, f"backend/{target.name}", None, settings)
        binding = Binding(name, target, "", balancing.endpoints, static, fallbacks=over, failover=percent)
        return self._bind(path, binding, balancing, hosts)

    def _allowed(self, path: str, ref: api.BackendRef) -> Ref | None:
        target = Ref(ref.kind, ref.namespace or self.policy.ref.namespace, ref.name)
        if self.world.allows(self.policy.ref, target):
            return target
        self.resolved.append(
            Problem(
                "RefNotPermitted",
                path,
                f"no ReferenceGrant in namespace {target.namespace} lets policies of namespace"
                f" {self.policy.ref.namespace} refer to {ref.kind} {ref.name}",
            )
        )
        return None

    def _port(self, path: str, target: Ref, number: int) -> ServicePort | None:
        service = self.world.services.get(target)
        if service is None:
            self.resolved.append(
                Problem("BackendNotFound", f"{path}.name", f"Service {target.namespace}/{target.name} does not exist")
            )
            return None
        if service.external_name:
            self.resolved.append(
                Problem(
                    "UnsupportedService",
                    f"{path}.name",
                    f"Service {target.namespace}/{target.name} is an ExternalName: make a Backend with that hostname",
                )
            )
            return None
        port = service.port(number)
        if port is None:
            ports = ", ".join(str(entry.port) for entry in service.ports) or "none"
            self.resolved.append(
                Problem(
                    "PortNotFound",
                    f"{path}.port",
                    f"Service {target.namespace}/{target.name} has no port {number} (it has: {ports})",
                )
            )
        return port

    def _external(
        self, path: str, target: Ref, active: ActiveHealthCheck | None = None
    ) -> tuple[tuple[Host, ...], tuple[Endpoint, ...]] | None:
        """The hostnames and the addresses of a Backend, asked as *active* says; it has the one or the other."""
        backend = self.world.backends.get(target)
        if backend is None:
            self.resolved.append(
                Problem("BackendNotFound", f"{path}.name", f"Backend {target.namespace}/{target.name} does not exist")
            )
            return None
        entries = backend.spec.endpoints
        if problem := self._own_machine(path, target, entries):
            self.resolved.append(problem)
            return None
        at = (active.port or 0) if active is not None else 0
        hosts = tuple(Host(e.hostname, e.port, e.weight, at) for e in entries if e.hostname is not None)
        static = tuple(
            Endpoint(e.address, e.port, weight=e.weight, check_port=at) for e in entries if e.address is not None
        )
        return hosts, static

    def _own_machine(self, path: str, target: Ref, entries: Sequence[BackendEndpoint]) -> Problem | None:
        """A gateway is everybody's: what listens on its loopback, as its statistics, is nobody's backend."""
        proxies = self.policy.spec.proxies
        if self.world.own_gateways or proxies is None or proxies.gateway is None:
            return None
        for index, one in enumerate(entries):
            if on_own_machine(one):
                what = (
                    f"Backend {target.namespace}/{target.name}: spec.endpoints[{index}]: {one.address or one.hostname}"
                )
                why = "is the gateway's own machine: use an address that others reach"
                return Problem("AddressNotAllowed", f"{path}.name", f"{what} {why}")
        return None

    def _bind(self, path: str, binding: Binding, balancing: Balancing, hosts: tuple[Host, ...]) -> Backend:
        name = binding.cluster
        if name in self.backends:
            return self.backends[name]
        origins = (origin(self.policy, path), *balancing.origins)
        binding, check = explicit(self.world, binding, balancing.health_check)
        if binding.problem:
            asks = self._setting(binding.source, "health_check", "healthCheck.active")
            self.degraded.append(Problem("ProbeNotUsable", path, f"{asks}: {binding.source}: {binding.problem}"))
        self.backends[name] = Backend(
            name, balancing.load_balancer, balancing.persistence, check, hosts, origins=origins
        )
        self.attached_origins[name] = balancing.origins
        if hosts:
            self.named[name] = Named(name, binding.source, hosts)
        else:
            self.bindings[name] = binding
        if doubted := self.world.doubted(binding.endpoints):
            keeps = self._setting(binding.source, "endpoints", "endpoints.nodeLost")
            self.degraded.append(Problem("NodesInDoubt", path, f"{keeps}: {doubted}"))
        none = "" if hosts else without_endpoints(self.world, binding)
        self.usable[name] = not none
        if none:
            self.degraded.append(Problem("NoEndpoints", path, none))
        return self.backends[name]

    def _setting(self, target: Ref, part: Literal["health_check", "endpoints"], field: str) -> str:
        """Where *field* of *part* is said of *target*: here, or in the attached policy."""
        over = self.attached.get(target)
        theirs = over is not None and getattr(over.spec, part) is not None
        return f"spec.{field} of {over.ref}" if over is not None and theirs else f"spec.{field}"

    def _balancing(self, target: Ref) -> Balancing:
        """The attached policy's word on a Service comes before the inline policy's, field by field."""
        spec = self.policy.spec
        attached = self.attached.get(target)
        over = attached.spec if attached else None
        return Balancing(
            (over and over.load_balancer) or spec.load_balancer or algorithm.DEFAULT,
            (over and over.session_persistence) or spec.session_persistence,
            (over and over.health_check) or spec.health_check,
            (over and over.endpoints) or spec.endpoints or health.DEFAULT,
            (origin(attached, "spec"),) if attached else (),
        )
