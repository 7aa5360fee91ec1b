"""The world -> what every gateway and sidecar should do, and what was found about every policy. Pure and total: it never raises.

What a policy brings a part of this to raise is a ``Fault`` of that policy: it keeps what was served of it, and the others go on.

Full recomputation, always. ``translate`` remembers bytes by value and the store sends differences only, so the thorough
way costs little; it is also the reference for the endpoint lane, which is the one shortcut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from fairlead_operator import advice, checks, hostnames, sidecars
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import InvalidPolicy, LoadBalancerPolicy
from fairlead_operator.attach import Attached, attach
from fairlead_operator.bindings import Binding, Named, load_assignment
from fairlead_operator.conditions import Findings, Problem, origin
from fairlead_operator.faults import Fault
from fairlead_operator.gateways.access import EVERYTHING, Access
from fairlead_operator.resolve import ListenerPart, Parts, resolve
from fairlead_operator.resolve_captured import resolve_captured
from fairlead_operator.world import World
from fairlead_xds import names
from fairlead_xds.model import (
    Backend,
    CapturedListener,
    Chain,
    Listener,
    LoadAssignment,
    ProxyConfig,
    RouteTable,
    Secret,
    VirtualHost,
)

#: Policies that a proxy refused -> what stands in for each: its last good form, or None for nothing.
Held = Mapping[Ref, LoadBalancerPolicy | None]


@dataclass(slots=True)
class Reconciled:
    """The output of one run.

    Attributes:
        proxies: what the proxies of each key should do: of a gateway, or of a group of sidecars.
        findings: what was found about each policy.
        gateways: the keys that carry each policy; for an attached one, those of the policies that it changes.
        bindings: for each Service, the clusters over it and the keys that have them.
        clusters: the clusters of each policy, for its endpoint counts.
        named: of a policy that has some, the clusters whose endpoints Envoys find by DNS.
        checked: the clusters whose endpoints are asked.
        served: each inline policy in the form that is served, and its parts: the next run keeps them where it has to.
        faults: what policies brought this run to raise.
    """

    proxies: dict[str, ProxyConfig] = field(default_factory=dict)
    findings: dict[Ref, Findings] = field(default_factory=dict)
    gateways: dict[Ref, set[str]] = field(default_factory=dict)
    bindings: dict[Ref, dict[str, tuple[Binding, set[str]]]] = field(default_factory=dict)
    clusters: dict[Ref, list[Binding]] = field(default_factory=dict)
    named: dict[Ref, list[Named]] = field(default_factory=dict)
    checked: dict[str, checks.Asked] = field(default_factory=dict)
    served: dict[Ref, tuple[LoadBalancerPolicy, Parts]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def refuse(self, fault: Fault, instead: str) -> None:
        """Its policy could not be resolved."""
        self.faults.append(fault)
        self.findings[fault.policy] = Findings(accepted=(fault.problem(instead),))

    def degrade(self, fault: Fault, instead: str) -> None:
        """A part of what its policy asks for could not be made."""
        self.faults.append(fault)
        known, problem = self.findings.get(fault.policy), fault.problem(instead)
        if known is not None and problem not in known.degraded:  # what is served may be of a policy that is gone
            self.findings[fault.policy] = known.also(problem)


@dataclass(slots=True)
class _Port:
    """A port of a gateway while policies claim it.

    Attributes:
        hostnames: whose each is: of policies that are served here, and of those that are held and keep their place.
        parts: what is served.
    """

    tls: bool
    owner: Ref
    hostnames: dict[str, Ref] = field(default_factory=dict)
    parts: list[tuple[LoadBalancerPolicy, ListenerPart]] = field(default_factory=list)

    def served(self) -> dict[str, Ref]:
        """Those of ``hostnames`` whose policies are served."""
        serving = {policy.ref for policy, _ in self.parts}
        return {hostname: owner for hostname, owner in self.hostnames.items() if owner in serving}


@dataclass(slots=True)
class _Gateway:
    """The proxies of one key while policies are placed on them."""

    address: str
    ports: dict[int, _Port] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    captured: list[CapturedListener] = field(default_factory=list)
    captured_tables: list[RouteTable] = field(default_factory=list)


def reconcile(
    world: World,
    held: Held | None = None,
    *,
    address: str = "0.0.0.0",  # noqa: S104 - a gateway's listeners are for everyone
    access: Access = EVERYTHING,
    closed: advice.Closed | None = None,
    crowd: Mapping[str, int] | None = None,
    before: Reconciled | None = None,
) -> Reconciled:
    """Everything, from nothing.

    Args:
        world: what is known.
        held: policies that a proxy refused.
        address: what the gateways' listeners bind to.
        access: the gateways that there are, and whose policies they take.
        closed: ports of gateways that their Services do not have.
        crowd: for how many proxies of each key active checks are made (``crowd``).
        before: the run before this one, for what cannot be made anew.
    """
    out, before = Reconciled(), before or Reconciled()
    placing = _Placing(world, address, access, out, before)
    policies = [_stand_in(policy, held or {}) for policy in world.valid_policies()]
    placing.attached, found = attach(policies, world.services)
    for ref, findings in found.items():
        out.findings[ref], out.gateways[ref], out.clusters[ref] = findings, set(), []
    for policy, effective in policies:
        if policy.spec.target_refs is None:
            placing.place(policy, effective)
    placing.place_captured()
    advice.name_pods_without(world, out.findings)
    advice.name_pods_not_capturing(world, out.findings)
    valid = [policy for policy, _ in policies]
    served = (binding for gateway in placing.gateways.values() for binding in gateway.bindings.values())
    advice.name_for_attached(world, valid, out.clusters, served, out.findings, degrade=out.degrade)
    advice.name_closed_ports(valid, closed or {}, out.gateways, out.findings)
    _name_errors(world, out)
    for gateway in placing.gateways.values():
        _yield_hosts(gateway, out)
    _stretch_checks(placing.gateways, crowd or {}, out)
    for key, gateway in placing.gateways.items():
        config = before.proxies.get(key)
        kept = {one.name: one for one in config.assignments} if config is not None else {}
        out.proxies[key] = _proxy(gateway, tuple(_assignments(world, gateway, kept, out)))
    for key, gateway in placing.gateways.items():
        for name, binding in gateway.bindings.items():
            for source in binding.sources:
                out.bindings.setdefault(source, {}).setdefault(name, (binding, set()))[1].add(key)
    return out


def _stand_in(policy: LoadBalancerPolicy, held: Held) -> tuple[LoadBalancerPolicy, LoadBalancerPolicy | None]:
    return policy, held.get(policy.ref, policy)


def _name_errors(world: World, out: Reconciled) -> None:
    for ref, entry in world.policies.items():
        if isinstance(entry, InvalidPolicy):
            problems = tuple(Problem("Invalid", path, message) for path, message in entry.errors)
            out.findings[ref] = Findings(accepted=problems)


class _Placing:
    """Puts inline policies, the older first, on the proxies that carry them."""

    def __init__(self, world: World, address: str, access: Access, out: Reconciled, before: Reconciled) -> None:
        self.world, self.access, self.out, self._before = world, access, out, before
        self.attached: Attached = {}
        self._groups = tuple(world.pods.groups())
        self.gateways = {group.key: _Gateway(sidecars.ADDRESS) for group in self._groups}
        self._address = address
        self._keys: dict[Ref, list[str]] = {}
        for group in self._groups:
            for name in group.policies:
                self._keys.setdefault(Ref("LoadBalancerPolicy", group.namespace, name), []).append(group.key)

    def place(self, policy: LoadBalancerPolicy, effective: LoadBalancerPolicy | None) -> None:
        """Add a policy to its proxies, unless it is invalid or an older one has what it claims."""
        try:
            self._place(policy, effective)
        except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
            self._keep(Fault(policy.ref, error))

    def _keep(self, fault: Fault) -> None:
        """Serve the policy as it was served last."""
        kept, out = self._before.served.get(fault.policy), self.out
        out.refuse(fault, "what was served of it stays" if kept is not None else "nothing is served of it")
        out.gateways[fault.policy], out.clusters[fault.policy] = set(), []
        if kept is not None and not self._barred(kept[0]):
            keys = self._keys_of(kept[0])
            out.gateways[fault.policy] = set(keys)
            self._serve(*kept, keys)

    def _place(self, policy: LoadBalancerPolicy, effective: LoadBalancerPolicy | None) -> None:
        parts, out = resolve(self.world, policy, self.attached), self.out
        out.gateways[policy.ref], out.clusters[policy.ref] = set(), []
        if barred := self._barred(policy):
            out.findings[policy.ref] = replace(parts.findings, accepted=(barred, *parts.findings.accepted))
            return
        keys = self._keys_of(policy)
        conflicts = {key: found for key in keys if (found := _conflicts(self.gateways[key], policy))}
        findings = _with_conflicts(parts.findings, conflicts, everywhere=len(conflicts) == len(keys))
        out.findings[policy.ref] = findings
        out.gateways[policy.ref] = set(keys)
        if findings.accepted:
            return
        if effective is policy:
            self._serve(policy, parts, keys)
        elif effective is None or not self._stands_in(effective):
            for key in keys:
                if key not in conflicts:
                    _claim(self.gateways[key], policy)

    def _stands_in(self, effective: LoadBalancerPolicy) -> bool:
        """Serve *effective* instead of the policy as it is now. False: that cannot be served any more."""
        parts = resolve(self.world, effective, self.attached)
        if self._barred(effective) or parts.findings.accepted:
            return False
        self._serve(effective, parts, self._keys_of(effective))
        return True

    def _serve(self, policy: LoadBalancerPolicy, parts: Parts, keys: list[str]) -> None:
        """Add *policy* to the proxies of *keys* where no older one has what it claims."""
        free = [key for key in keys if not _conflicts(self.gateways[key], policy)]
        for key in free:
            _claim(self.gateways[key], policy)
            _merge(self.gateways[key], policy, parts)
        if free or not keys:
            self._count(policy.ref, parts, free)
            self.out.served[policy.ref] = policy, parts

    def place_captured(self) -> None:
        """Connections to Services that have a policy, in the sidecars that capture; the policies count these too."""
        keys: dict[str, list[str]] = {}
        for group in self._groups:
            if group.capture:
                keys.setdefault(group.namespace, []).append(group.key)
        for namespace, some in keys.items():
            captured = resolve_captured(self.world, namespace, self.attached)
            for fault in captured.faults:
                self.out.degrade(fault, "connections to its Services go where they would without it")
            for policy, binding in captured.carried:
                self.out.gateways[policy.ref].update(some)
                if binding not in self.out.clusters[policy.ref]:
                    self.out.clusters[policy.ref].append(binding)
            for key in some:
                gateway = self.gateways[key]
                gateway.captured, gateway.captured_tables = captured.listeners, captured.tables
                _merge_backends(gateway, captured.backends)
                gateway.bindings.update({binding.cluster: binding for _, binding in captured.carried})

    def _barred(self, policy: LoadBalancerPolicy) -> Problem | None:
        """Why the policy may not attach to its gateway."""
        gateway = policy.spec.proxies.gateway if policy.spec.proxies is not None else None
        return self.access.problem(gateway, policy.ref.namespace, self.world) if gateway is not None else None

    def _keys_of(self, policy: LoadBalancerPolicy) -> list[str]:
        proxies = policy.spec.proxies
        if proxies is None or proxies.gateway is None:
            return self._keys.get(policy.ref, [])
        self.gateways.setdefault(proxies.gateway, _Gateway(self._address))
        return [proxies.gateway]

    def _count(self, ref: Ref, parts: Parts, keys: list[str]) -> None:
        """The policy is served with *parts* by the proxies of *keys*: note it, also for the attached ones."""
        out = self.out
        out.clusters[ref] = list(parts.bindings.values())
        if parts.named:
            out.named[ref] = list(parts.named.values())
        for binding in parts.bindings.values():
            over = self.attached.get(binding.source)
            if over is not None:
                out.gateways[over.ref].update(keys)
                if binding not in out.clusters[over.ref]:
                    out.clusters[over.ref].append(binding)


def _with_conflicts(findings: Findings, conflicts: dict[str, list[Problem]], *, everywhere: bool) -> Findings:
    """*conflicts* by key. A policy that is served by some groups of sidecars is accepted, and says where it is not."""
    found = tuple(dict.fromkeys(problem for some in conflicts.values() for problem in some))
    if not found:
        return findings
    if everywhere:
        return replace(findings, accepted=(*findings.accepted, *found))
    where = "; pods that both select have the older one only"
    some = tuple(problem._replace(message=problem.message + where) for problem in found)
    return findings.also(*some)


def _conflicts(gateway: _Gateway, policy: LoadBalancerPolicy) -> list[Problem]:
    """What of *policy* an older policy has already (its ports are shared by hostname)."""
    found = []
    for index, listener in enumerate(policy.spec.listeners or ()):
        port = gateway.ports.get(listener.port)
        if port is None:
            continue
        path = f"spec.listeners[{index}]"
        if port.tls != (listener.tls is not None):
            has = "HTTPS" if port.tls else "HTTP"
            found.append(
                Problem("Conflicted", f"{path}.port", f"the older {port.owner} has port {listener.port} for {has}")
            )
            continue
        for hostname in listener.hostnames or ("*",):
            owner = port.hostnames.get(hostname)
            if owner is not None:
                what = "every host" if hostname == "*" else hostname
                message = f"the older {owner} has port {listener.port} for {what}: use another port or other hostnames"
                found.append(Problem("Conflicted", f"{path}.port" if hostname == "*" else f"{path}.hostnames", message))
    return found


def _claim(gateway: _Gateway, policy: LoadBalancerPolicy) -> None:
    """The ports and hostnames are this policy's: served, or kept for it while it is held and has no form that is good."""
    for listener in policy.spec.listeners or ():
        port = gateway.ports.setdefault(listener.port, _Port(listener.tls is not None, policy.ref))
        port.hostnames.update(dict.fromkeys(listener.hostnames or ("*",), policy.ref))


def _merge(gateway: _Gateway, policy: LoadBalancerPolicy, parts: Parts) -> None:
    for part in parts.listeners:
        gateway.ports[part.port].parts.append((policy, part))
    _merge_backends(gateway, parts.backends)
    gateway.bindings.update(parts.bindings)
    for name, secret in parts.secrets.items():
        before = gateway.secrets.get(name)
        origins = (*before.origins, *secret.origins) if before else secret.origins
        gateway.secrets[name] = replace(secret, origins=origins)


def _merge_backends(gateway: _Gateway, backends: Mapping[str, Backend]) -> None:
    for name, backend in backends.items():
        known = gateway.backends.get(name)
        origins = (*known.origins, *backend.origins) if known else backend.origins
        gateway.backends[name] = replace(backend, origins=origins)


def _assignments(
    world: World, gateway: _Gateway, kept: Mapping[str, LoadAssignment], out: Reconciled
) -> Iterator[LoadAssignment]:
    """Those of the gateway's clusters. *kept*: as they were, for endpoints that cannot be judged."""
    for name in sorted(gateway.bindings):
        try:
            found = load_assignment(world, gateway.bindings[name])
        except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
            found = kept.get(name, LoadAssignment(name, ()))
            for owner in {one.owner for one in gateway.backends[name].origins}:
                out.degrade(Fault(Ref(*owner), error), f"the endpoints of {name} stay as they were")
        yield found


def _proxy(gateway: _Gateway, assignments: tuple[LoadAssignment, ...]) -> ProxyConfig:
    listeners, tables = [], []
    for number, port in sorted(gateway.ports.items()):
        chains = _tls_chains(port) if port.tls else _http_chain(number, port)
        if not chains:
            continue
        listeners.append(Listener(names.listener(number), gateway.address, number, tuple(chain for chain, _ in chains)))
        tables += [RouteTable(names.route_table(chain.name), hosts) for chain, hosts in chains]
    tables += gateway.captured_tables
    return ProxyConfig(
        tuple(listeners),
        tuple(tables),
        tuple(gateway.backends[name] for name in sorted(gateway.backends)),
        assignments,
        tuple(gateway.secrets[name] for name in sorted(gateway.secrets)),
        tuple(gateway.captured),
    )


def _stretch_checks(gateways: Mapping[str, _Gateway], crowd: Mapping[str, int], out: Reconciled) -> None:
    """An endpoint is asked by all proxies that have a cluster of its backend."""
    by_dns = {one.cluster: one.source for some in out.named.values() for one in some}
    asked: dict[str, checks.Asked] = {}
    for key, gateway in gateways.items():
        for name, backend in gateway.backends.items():
            check = backend.health_check
            if check is None or check.active is None:
                continue
            if name in asked:
                asked[name] = asked[name]._replace(keys=(*asked[name].keys, key))
            elif name in gateway.bindings:
                asked[name] = checks.Asked(check, (key,), checks.backends_of(gateway.bindings[name]))
            else:
                asked[name] = checks.Asked(check, (key,), (by_dns[name],) if name in by_dns else ())
    for name, check in checks.stretched(asked, crowd).items():
        out.checked[name] = asked[name]._replace(check=check)
        for key in asked[name].keys:
            backends = gateways[key].backends
            backends[name] = replace(backends[name], health_check=check)


def _yield_hosts(gateway: _Gateway, out: Reconciled) -> None:
    """A host belongs to the listener on its port whose hostname covers it best: others yield it, and are told.

    So it is for TLS, where SNI picks the chain, and so it is for plain HTTP, where Envoy refuses a whole table that has
    a hostname twice.
    """
    for number, port in gateway.ports.items():
        owners = port.served()
        for index, (policy, part) in enumerate(port.parts):
            kept = []
            for host in part.virtual_hosts:
                owner = next(owners[own] for own in hostnames.covering(host.hostname) if own in owners)
                if owner == policy.ref:
                    kept.append(host)
                    continue
                message = f"{host.hostname} on port {number} belongs to {owner}, whose listener names it more closely"
                known = out.findings[policy.ref]
                problem = Problem("HostnameTaken", "spec.routes", message)
                if problem not in known.degraded:  # groups of sidecars find the same
                    out.findings[policy.ref] = known.also(problem)
            port.parts[index] = (policy, replace(part, virtual_hosts=tuple(kept)))


def _http_chain(number: int, port: _Port) -> list[tuple[Chain, tuple[VirtualHost, ...]]]:
    """Plain HTTP: one chain and one table, shared by every policy on the port."""
    hosts = tuple(host for _, part in port.parts for host in part.virtual_hosts)
    origins = tuple(origin(policy, "spec.listeners") for policy, _ in port.parts)
    return [(Chain(names.http_chain(number), origins=origins), hosts)] if port.parts else []


def _tls_chains(port: _Port) -> list[tuple[Chain, tuple[VirtualHost, ...]]]:
    """TLS: a chain and a table for each policy's listener, so that one host's certificate is nobody else's."""
    return [
        (
            Chain(
                names.tls_chain(policy.ref.namespace, policy.ref.name, part.name),
                part.server_names,
                part.certificates,
                (origin(policy, "spec.listeners"),),
            ),
            part.virtual_hosts,
        )
        for policy, part in port.parts
    ]
