"""The proxies of one key while policies are placed on them: who has which port and hostname, and what is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from fairlead_operator import hostnames
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.bindings import Binding
from fairlead_operator.conditions import Problem, origin
from fairlead_operator.resolve import ListenerPart, Parts
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


@dataclass(slots=True)
class Port:
    """A port of the proxies while policies claim it.

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
class ProxyPlan:
    """The proxies of one key while policies are placed on them."""

    address: str
    ports: dict[int, Port] = field(default_factory=dict)
    backends: dict[str, Backend] = field(default_factory=dict)
    bindings: dict[str, Binding] = field(default_factory=dict)
    secrets: dict[str, Secret] = field(default_factory=dict)
    captured: list[CapturedListener] = field(default_factory=list)
    captured_tables: list[RouteTable] = field(default_factory=list)

    def conflicts(self, policy: LoadBalancerPolicy) -> list[Problem]:
        """What of *policy* an older policy has already (its ports are shared by hostname)."""
        found = []
        for index, listener in enumerate(policy.spec.listeners or ()):
            port = self.ports.get(listener.port)
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
                    message = (
                        f"the older {owner} has port {listener.port} for {what}: use another port or other hostnames"
                    )
                    found.append(
                        Problem("Conflicted", f"{path}.port" if hostname == "*" else f"{path}.hostnames", message)
                    )
        return found

    def claim(self, policy: LoadBalancerPolicy) -> None:
        """The ports and hostnames are this policy's: served, or kept for it while it is held and has no form that is good."""
        for listener in policy.spec.listeners or ():
            port = self.ports.setdefault(listener.port, Port(listener.tls is not None, policy.ref))
            port.hostnames.update(dict.fromkeys(listener.hostnames or ("*",), policy.ref))

    def merge(self, policy: LoadBalancerPolicy, parts: Parts) -> None:
        """Serve *parts* of *policy*, which has claimed its ports."""
        for part in parts.listeners:
            self.ports[part.port].parts.append((policy, part))
        self.merge_backends(parts.backends)
        self.bindings.update(parts.bindings)
        for name, secret in parts.secrets.items():
            before = self.secrets.get(name)
            origins = (*before.origins, *secret.origins) if before else secret.origins
            self.secrets[name] = replace(secret, origins=origins)

    def merge_backends(self, backends: Mapping[str, Backend]) -> None:
        """Add clusters; one that is there already gets further origins."""
        for name, backend in backends.items():
            known = self.backends.get(name)
            origins = (*known.origins, *backend.origins) if known else backend.origins
            self.backends[name] = replace(backend, origins=origins)

    def yield_hosts(self) -> list[tuple[Ref, Problem]]:
        """A host belongs to the listener on its port whose hostname covers it best: others yield it, and are told.

        So it is for TLS, where SNI picks the chain, and so it is for plain HTTP, where Envoy refuses a whole table that has
        a hostname twice.
        """
        yielded = []
        for number, port in self.ports.items():
            owners = port.served()
            for index, (policy, part) in enumerate(port.parts):
                kept = []
                for host in part.virtual_hosts:
                    name = host.hostname
                    owner = next(owners[own] for own in hostnames.covering(name) if own in owners)
                    if owner == policy.ref:
                        kept.append(host)
                        continue
                    message = f"{name} on port {number} belongs to {owner}, whose listener names it more closely"
                    yielded.append((policy.ref, Problem("HostnameTaken", "spec.routes", message)))
                port.parts[index] = (policy, replace(part, virtual_hosts=tuple(kept)))
        return yielded

    def config(self, assignments: tuple[LoadAssignment, ...]) -> ProxyConfig:
        """What the proxies should do."""
        listeners, tables = [], []
        for number, port in sorted(self.ports.items()):
            chains = _tls_chains(port) if port.tls else _http_chain(number, port)
            if not chains:
                continue
            listeners.append(
                Listener(names.listener(number), self.address, number, tuple(chain for chain, _ in chains))
            )
            tables += [RouteTable(names.route_table(chain.name), hosts) for chain, hosts in chains]
        tables += self.captured_tables
        return ProxyConfig(
            tuple(listeners),
            tuple(tables),
            tuple(self.backends[name] for name in sorted(self.backends)),
            assignments,
            tuple(self.secrets[name] for name in sorted(self.secrets)),
            tuple(self.captured),
        )


def _http_chain(number: int, port: Port) -> list[tuple[Chain, tuple[VirtualHost, ...]]]:
    """Plain HTTP: one chain and one table, shared by every policy on the port."""
    hosts = tuple(host for _, part in port.parts for host in part.virtual_hosts)
    origins = tuple(origin(policy, "spec.listeners") for policy, _ in port.parts)
    return [(Chain(names.http_chain(number), origins=origins), hosts)] if port.parts else []


def _tls_chains(port: Port) -> list[tuple[Chain, tuple[VirtualHost, ...]]]:
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
