"""The Services of a namespace that have a policy -> what the sidecars that capture do with connections to them. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass, field

from fairlead_operator import capture, health, sidecars
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.attach import Attached
from fairlead_operator.bindings import Binding, explicit
from fairlead_operator.capture import CapturedPort
from fairlead_operator.conditions import origin
from fairlead_operator.faults import Fault
from fairlead_operator.resolve_backends import Balancing, settings_of
from fairlead_operator.world import World
from fairlead_xds import names
from fairlead_xds.features import algorithm
from fairlead_xds.features.matching import RouteMatchRule
from fairlead_xds.features.options import RouteOptions
from fairlead_xds.features.timeouts import Timeouts
from fairlead_xds.model import Backend, CapturedChain, CapturedListener, Route, RouteTable, Target, VirtualHost

#: Attached policies have no timeouts, and the application has its own: nothing that worked without us ends early.
_OPTIONS = RouteOptions(timeouts=Timeouts(request="0s"))


@dataclass(slots=True)
class Captured:
    """For the sidecars that capture in one namespace.

    Attributes:
        carried: each cluster's endpoints with the attached policy that speaks for them.
        faults: of policies; connections to their Services go on to where they were going.
    """

    listeners: list[CapturedListener] = field(default_factory=list)
    tables: list[RouteTable] = field(default_factory=list)
    backends: dict[str, Backend] = field(default_factory=dict)
    carried: list[tuple[LoadBalancerPolicy, Binding]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def resolve_captured(world: World, namespace: str, attached: Attached) -> Captured:
    """*attached*: Services and the policies that say how they are balanced, in the form that is served."""
    out = Captured()
    chains: dict[int, list[CapturedChain]] = {4: []}  # without a chain too: what once was captured is passed through
    if any(text.startswith("[") for pod in world.pods.of(namespace) if pod.capture for text in pod.captured):
        chains[6] = []
    here = {ref: policy for ref, policy in attached.items() if ref.namespace == namespace}
    for entry in capture.ports(here, world.services):
        try:
            added = list(_add(world, entry, out))
        except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
            out.faults.append(Fault(entry.policy.ref, error))
            continue
        for chain in added:
            chains.setdefault(ipaddress.ip_address(chain.address).version, []).append(chain)
    for version, some in sorted(chains.items()):
        address = sidecars.ADDRESS if version == 4 else sidecars.ADDRESS_6
        name = names.captured_listener(version)
        out.listeners.append(CapturedListener(name, address, sidecars.CAPTURE_PORT, tuple(some)))
    return out


def _add(world: World, entry: CapturedPort, out: Captured) -> Iterator[CapturedChain]:
    ref, policy, number = entry.service, entry.policy, entry.port.port
    balancing = Balancing(
        policy.spec.load_balancer or algorithm.DEFAULT,
        policy.spec.session_persistence,
        policy.spec.health_check,
        policy.spec.endpoints or health.DEFAULT,
        (origin(policy, "spec"),),
    )
    http = capture.is_http(entry.port)
    as_downstream = entry.port.app_protocol.lower() == capture.H2C
    cluster = names.cluster(ref.namespace, ref.name, number, settings_of(balancing, "h2c" if as_downstream else ""))
    balancer, persistence, origins = balancing.load_balancer, balancing.persistence, balancing.origins
    binding = Binding(
        cluster, ref, entry.port.name, balancing.endpoints, slow_start=balancing.warms, active=balancing.active
    )
    binding, check = explicit(world, binding, balancing.health_check)
    out.backends[cluster] = Backend(
        cluster, balancer, persistence, check, downstream_protocol=as_downstream, origins=origins
    )
    out.carried.append((policy, binding))
    table = names.captured_table(ref.namespace, ref.name, number)
    hashing = (balancer,) if balancer.consistent_hash is not None else ()
    if http:
        route = Route(table, RouteMatchRule(), (Target(cluster, 1, persistence),), _OPTIONS, hashing)
        out.tables.append(RouteTable(table, (VirtualHost(table, "*", (route,), origins),)))
    by_source = any(part.type == "SourceIP" for some in hashing for part in _parts(some))
    for address in entry.addresses:
        name = names.captured_chain(ref.namespace, ref.name, number, address)
        to = "" if http else cluster
        yield CapturedChain(name, address, number, table, to, by_source and not http, origins)


def _parts(balancer: algorithm.LoadBalancer) -> tuple[algorithm.HashOn, ...]:
    return balancer.consistent_hash.hash_on if balancer.consistent_hash is not None else ()
