"""One inline policy and the world -> its parts of a proxy's configuration, and what is wrong with it.

Pure. Called by ``reconcile`` for each policy; whatever it finds concerns this policy only.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field

from fairlead_operator import hostnames, sidecars
from fairlead_operator.api import policy as api
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.attach import Attached
from fairlead_operator.bindings import Binding, Named
from fairlead_operator.conditions import Findings, Problem, origin
from fairlead_operator.gateways import ports
from fairlead_operator.resolve_backends import BackendResolver
from fairlead_operator.world import World
from fairlead_xds import names
from fairlead_xds.features import matching
from fairlead_xds.features.options import RouteOptions
from fairlead_xds.model import Backend, Route, Secret, VirtualHost
from fairlead_xds.snapshot import Origin


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
    named: dict[str, Named] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    findings: Findings = field(default_factory=Findings)


def resolve(world: World, policy: LoadBalancerPolicy, attached: Attached) -> Parts:
    """The parts of an inline *policy*; *attached* maps a Service to the policy that says how it is balanced."""
    return _Resolver(world, policy, attached).run()


class _Resolver:
    """The state of resolving one policy: what it needs so far, and what is wrong so far."""

    def __init__(self, world: World, policy: LoadBalancerPolicy, attached: Attached) -> None:
        self.world, self.policy = world, policy
        self.parts = Parts()
        self.accepted: list[Problem] = []
        self.resolved: list[Problem] = []
        self.degraded: list[Problem] = []
        self.backends = BackendResolver(world, policy, attached, resolved=self.resolved, degraded=self.degraded)

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
        self.parts.backends, self.parts.bindings = self.backends.backends, self.backends.bindings
        self.parts.named = self.backends.named
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
        targets = self.backends.targets(path, route)
        balancers = (self.backends.backends[target.backend].load_balancer for target in targets)
        hashing = tuple(dict.fromkeys(one for one in balancers if one.consistent_hash is not None))
        ref = self.policy.ref
        options = RouteOptions.of(route)
        name = names.route(ref.namespace, ref.name, route.name)
        return [Route(name, match, targets, options, hashing) for match in route.matches]

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
        return sorted({entry for backend in backends for entry in self.backends.attached_origins[backend]})

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
            what = f"Secret {target.namespace}/{target.name}"
            return "CertificateNotFound", f"{what} does not exist, or its type is not kubernetes.io/tls"
        if not secret.error:
            if secret.expires > self.world.now:
                return None
            ended = datetime.datetime.fromtimestamp(secret.expires, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            return "CertificateExpired", f"Secret {target.namespace}/{target.name} ended at {ended}: clients refuse it"
        kept = "; the certificate before it stays in use" if secret.certificate else ""
        return "InvalidCertificate", f"Secret {target.namespace}/{target.name}: {secret.error}{kept}"


def _one_of(known: dict[str, api.Listener]) -> str:
    return "use one of " + ", ".join(known)
