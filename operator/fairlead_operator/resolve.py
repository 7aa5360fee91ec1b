"""One inline policy and the world -> its parts of a proxy's configuration, and what is wrong with it.

Pure. Called by ``reconcile`` for each policy; whatever it finds concerns this policy only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead_operator import health, hostnames, sidecars
from fairlead_operator.api import policy as api
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.attach import Attached
from fairlead_operator.bindings import Binding, assess, explicit
from fairlead_operator.conditions import Findings, Problem
from fairlead_operator.gateways import ports
from fairlead_operator.world import World
from fairlead_xds import names
from fairlead_xds.features import algorithm, matching
from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.features.affinity import SessionPersistence
from fairlead_xds.features.algorithm import LoadBalancer
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.features.options import RouteOptions
from fairlead_xds.model import Backend, Host, Route, Secret, Target, VirtualHost
from fairlead_xds.model import Endpoint as XdsEndpoint
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


@dataclass(frozen=True, slots=True)
class ListenerPart:
    """What a policy brings to a port: its hosts, and its certificates where it terminates TLS."""

    name: str
    port: int
    tls: bool
    server_names: tuple[str, ...]
    certificates: tuple[str, ...]
    virtual_hosts: tuple[VirtualHost, ...]


@dataclass(slots=True)
class Parts:
    """What one policy asks of its proxies."""

    listeners: list[ListenerPart] = field(default_factory=list)
    backends: dict[str, Backend] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)


def origin(policy: LoadBalancerPolicy, path: str) -> Origin:
    """*policy* as the origin of what comes from its field *path*."""
    return Origin(policy.ref.kind, policy.ref.namespace, policy.ref.name, policy.generation, path)


def resolve(world: World, policy: LoadBalancerPolicy, attached: Attached) -> Parts:
    """The parts of an inline *policy*; *attached* maps a Service to the policy that says how it is balanced."""
    return _Resolver(world, policy, attached).run()


class _Resolver:
    """The state of resolving one policy: what it needs so far, and what is wrong so far."""

    def __init__(self, world: World, policy: LoadBalancerPolicy, attached: Attached) -> None:
        self.world, self.policy, self.attached = world, policy, attached
        self.parts = Parts()
        self.accepted: list[Problem] = []
        self.resolved: list[Problem] = []
        self.degraded: list[Problem] = []
        self.usable: dict[str, bool] = {}
        self.attached_origins: dict[str, tuple[Origin, ...]] = {}

    def run(self) -> Parts:
        spec = self.policy.spec
        listeners, routes = spec.listeners or (), spec.routes or ()
        self._check_ports(listeners)
        self._check(listeners, routes)
        resolved = [self._routes(index, route) for index, route in enumerate(routes)]
        for index, listener in enumerate(listeners):
            part = self._listener(index, listener, list(zip(routes, resolved, strict=True)))
            if part is not None:
                self.parts.listeners.append(part)
        self.parts.findings = Findings(tuple(self.accepted), tuple(self.resolved), tuple(self.degraded))
        return self.parts

    # --- what the schema cannot hold

    def _check_ports(self, listeners: tuple[api.Listener, ...]) -> None:
        proxies = self.policy.spec.proxies
        is_sidecar = proxies is not None and proxies.sidecars is not None
        reserved, whose = (sidecars.RESERVED, "sidecar") if is_sidecar else (ports.RESERVED, "gateway")
        for i, listener in enumerate(listeners):
            use = reserved.get(listener.port)
            if use is not None:
                message = f"a {whose} has port {listener.port} for {use}: use another one"
                self.accepted.append(Problem("Invalid", f"spec.listeners[{i}].port", message))

    def _check(self, listeners: tuple[api.Listener, ...], routes: tuple[api.Route, ...]) -> None:
        known = {listener.name: listener for listener in listeners}
        for i, route in enumerate(routes):
            path = f"spec.routes[{i}]"
            for j, name in enumerate(route.listeners):
                if name not in known:
                    self.accepted.append(
                        Problem("Invalid", f"{path}.listeners[{j}]", f"no listener is named {name!r}: {_one_of(known)}")
                    )
            for j, match in enumerate(route.matches):
                for where, pattern in matching.regex_errors(match):
                    self.accepted.append(
                        Problem(
                            "Invalid",
                            f"{path}.matches[{j}].{where}",
                            f"{pattern!r} is no regular expression in RE2 syntax (no look-around, no back-references)",
                        )
                    )
            chosen = [known[name] for name in route.listeners if name in known] or list(listeners)
            if not any(hostnames.meet(route.hostnames, listener.hostnames) for listener in chosen):
                self.accepted.append(
                    Problem("Invalid", f"{path}.hostnames", "none of them is a hostname of the route's listeners")
                )

    # --- routes

    def _routes(self, index: int, route: api.Route) -> list[Route]:
        path = f"spec.routes[{index}]"
        targets, hashing = self._targets(path, route.backend_refs)
        ref = self.policy.ref
        options = RouteOptions.of(route)
        name = names.route(ref.namespace, ref.name, route.name)
        return [Route(name, match, targets, options, hashing) for match in route.matches]

    def _targets(
        self, path: str, refs: tuple[api.BackendRef, ...]
    ) -> tuple[tuple[Target, ...], tuple[LoadBalancer, ...]]:
        found: dict[str, Target] = {}
        for index, ref in enumerate(refs):
            where = f"{path}.backendRefs[{index}]"
            backend = self._backend(where, ref)
            if backend is None or ref.weight == 0:
                continue
            known = found.get(backend.name)
            weight = ref.weight + (known.weight if known else 0)
            found[backend.name] = Target(backend.name, weight, backend.persistence)
        targets = self._without_dead(path, tuple(found.values()))
        balancers = (self.parts.backends[target.backend].load_balancer for target in targets)
        return targets, tuple(dict.fromkeys(one for one in balancers if one.consistent_hash is not None))

    def _without_dead(self, path: str, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        """Envoy answers 503 for the share of a side without endpoints, retries included: the others get it."""
        alive = tuple(target for target in targets if self.usable[target.backend])
        if not alive:
            return targets[:1] if targets else ()
        if len(alive) < len(targets):
            dead = ", ".join(target.backend for target in targets if not self.usable[target.backend])
            self.degraded.append(
                Problem("NoEndpoints", f"{path}.backendRefs", f"{dead}: no endpoint; its share goes to the others")
            )
        return alive

    # --- backends

    def _backend(self, path: str, ref: api.BackendRef) -> Backend | None:
        target = Ref(ref.kind, ref.namespace or self.policy.ref.namespace, ref.name)
        if not self.world.allows(self.policy.ref, target):
            self.resolved.append(
                Problem(
                    "RefNotPermitted",
                    path,
                    f"no ReferenceGrant in namespace {target.namespace} lets policies of namespace"
                    f" {self.policy.ref.namespace} refer to {ref.kind} {ref.name}",
                )
            )
            return None
        return self._external(path, target) if ref.kind == "Backend" else self._service(path, target, ref.port or 0)

    def _service(self, path: str, target: Ref, number: int) -> Backend | None:
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
            return None
        balancing = self._balancing(target)
        name = names.cluster(target.namespace, target.name, number, settings_of(balancing))
        self._bind(
            path,
            Binding(name, target, port.name, balancing.endpoints, slow_start=balancing.warms, active=balancing.active),
            balancing,
            (),
        )
        return self.parts.backends[name]

    def _external(self, path: str, target: Ref) -> Backend | None:
        backend = self.world.backends.get(target)
        if backend is None:
            self.resolved.append(
                Problem("BackendNotFound", f"{path}.name", f"Backend {target.namespace}/{target.name} does not exist")
            )
            return None
        balancing = self._balancing(target)
        name = names.cluster(target.namespace, f"backend/{target.name}", None, settings_of(balancing))
        entries = backend.spec.endpoints
        hosts = tuple(Host(e.hostname, e.port, e.weight) for e in entries if e.hostname is not None)
        static = tuple(XdsEndpoint(e.address, e.port, weight=e.weight) for e in entries if e.address is not None)
        self._bind(path, Binding(name, target, "", balancing.endpoints, static), balancing, hosts)
        return self.parts.backends[name]

    def _bind(self, path: str, binding: Binding, balancing: Balancing, hosts: tuple[Host, ...]) -> None:
        name = binding.cluster
        if name in self.parts.backends:
            return
        origins = (origin(self.policy, path), *balancing.origins)
        binding, check, problem = explicit(self.world, binding, balancing.health_check)
        if problem:
            self.degraded.append(Problem("ProbeNotUsable", path, f"{binding.source}: {problem}"))
        self.parts.backends[name] = Backend(
            name, balancing.load_balancer, balancing.persistence, check, hosts, origins=origins
        )
        self.attached_origins[name] = balancing.origins
        if not hosts:
            self.parts.bindings[name] = binding
        if doubted := self.world.doubted(binding.endpoints):
            self.degraded.append(Problem("NodesInDoubt", path, doubted))
        judged = assess(self.world, binding)
        counts = health.count(judged)
        usable = counts[Health.HEALTHY] + counts[Health.DEGRADED]
        self.usable[name] = bool(hosts or binding.static or usable)
        if not self.usable[name]:
            self.degraded.append(Problem("NoEndpoints", path, f"{binding.source} has no endpoint that may get traffic"))

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

    # --- listeners

    def _listener(
        self, index: int, listener: api.Listener, routes: list[tuple[api.Route, list[Route]]]
    ) -> ListenerPart | None:
        path = f"spec.listeners[{index}]"
        certificates = self._certificates(path, listener)
        if listener.tls is not None and not certificates:
            return None
        carried = [(spec, done) for spec, done in routes if not spec.listeners or listener.name in spec.listeners]
        return ListenerPart(
            listener.name,
            listener.port,
            listener.tls is not None,
            listener.hostnames,
            certificates,
            tuple(self._virtual_hosts(path, listener, carried)),
        )

    def _virtual_hosts(
        self, path: str, listener: api.Listener, routes: list[tuple[api.Route, list[Route]]]
    ) -> list[VirtualHost]:
        """A virtual host for each hostname, with every route that covers it, the most specific first."""
        served = [(hostnames.meet(spec.hostnames, listener.hostnames), done) for spec, done in routes]
        ref = self.policy.ref
        hosts = []
        for hostname in sorted({hostname for some, _ in served for hostname in some}):
            found = [
                (max(hostnames.specificity(own) for own in covering), route)
                for some, done in served
                if (covering := [own for own in some if hostnames.covers(own, hostname)])
                for route in done
            ]
            found.sort(key=lambda pair: (tuple(-part for part in pair[0]), matching.precedence(pair[1].match)))
            name = names.virtual_host(ref.namespace, ref.name, listener.name, hostname)
            routes_of_host = tuple(route for _, route in found)
            origins = (origin(self.policy, path), *self._attached_to(routes_of_host))
            hosts.append(VirtualHost(name, hostname, routes_of_host, origins))
        return hosts

    def _attached_to(self, routes: tuple[Route, ...]) -> list[Origin]:
        """The attached policies that say something in *routes*: what is hashed, and the session."""
        backends = (target.backend for route in routes for target in route.targets)
        return sorted({entry for backend in backends for entry in self.attached_origins[backend]})

    def _certificates(self, path: str, listener: api.Listener) -> tuple[str, ...]:
        found = []
        for index, entry in enumerate(listener.tls.certificate_refs if listener.tls else ()):
            where = f"{path}.tls.certificateRefs[{index}]"
            target = Ref("Secret", entry.namespace or self.policy.ref.namespace, entry.name)
            problem = self._secret_problem(target)
            if problem:
                self.resolved.append(Problem(problem[0], where, problem[1]))
            secret = self.world.secrets.get(target)
            if secret is None or not secret.certificate or (problem and problem[0] == "RefNotPermitted"):
                continue
            name = names.secret(target.namespace, target.name)
            self.parts.secrets[name] = Secret(name, secret.certificate, secret.key, (origin(self.policy, where),))
            found.append(name)
        return tuple(found)

    def _secret_problem(self, target: Ref) -> tuple[str, str] | None:
        if not self.world.allows(self.policy.ref, target):
            return (
                "RefNotPermitted",
                f"no ReferenceGrant in namespace {target.namespace} lets policies of namespace"
                f" {self.policy.ref.namespace} refer to Secret {target.name}",
            )
        secret = self.world.secrets.get(target)
        if secret is None:
            return "CertificateNotFound", f"Secret {target.namespace}/{target.name} does not exist"
        if not secret.error:
            return None
        kept = "; the certificate before it stays in use" if secret.certificate else ""
        return "InvalidCertificate", f"Secret {target.namespace}/{target.name}: {secret.error}{kept}"


def settings_of(balancing: Balancing, protocol: str = "") -> str:
    """What sets this cluster apart from others over the same endpoints; nothing for the defaults."""
    return names.settings(
        None if balancing.load_balancer == algorithm.DEFAULT else balancing.load_balancer,
        balancing.persistence.drain if balancing.persistence else None,
        None if balancing.endpoints == health.DEFAULT else balancing.endpoints,
        balancing.health_check,
        protocol or None,
    )


def _one_of(known: dict[str, api.Listener]) -> str:
    return "use one of " + ", ".join(known)
