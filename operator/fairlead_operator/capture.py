"""Capture mode: which addresses of Services go through the sidecars of a namespace, and which pods lack some. Pure.

Injection writes the addresses into a pod's iptables when it is made, and into its annotation; what is attached later is
redirected by new pods only. ``world`` asks what a pod lacks, ``reconcile`` tells the policy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from fairlead_operator.api.core import Service, ServicePort
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.attach import Attached, attach

if TYPE_CHECKING:
    from fairlead_operator.world import World

#: What ``appProtocol`` says of HTTP (Kubernetes' own names), in lower case.
_HTTP = frozenset({"http", "kubernetes.io/h2c", "kubernetes.io/ws"})
H2C = "kubernetes.io/h2c"

#: Namespace -> attached policy -> the addresses that its Services have.
Addresses = Mapping[str, Mapping[Ref, frozenset[str]]]


class CapturedPort(NamedTuple):
    """A port of a Service, for every address that the Service has, and the policy that is attached."""

    service: Ref
    addresses: tuple[str, ...]
    port: ServicePort
    policy: LoadBalancerPolicy


def ports(attached: Attached, services: Mapping[Ref, Service]) -> Iterator[CapturedPort]:
    """The TCP ports of the Services that have a policy; no address has two owners, whatever the objects say."""
    taken: set[tuple[str, int]] = set()
    for ref, policy in sorted(attached.items(), key=lambda item: item[0]):
        service = services.get(ref)
        if service is None or service.external_name:
            continue
        for port in service.ports:
            free = tuple(ip for ip in service.cluster_ips if (ip, port.port) not in taken)
            if port.protocol == "TCP" and free:
                taken.update((ip, port.port) for ip in free)
                yield CapturedPort(ref, free, port, policy)


def is_http(port: ServicePort) -> bool:
    """By ``appProtocol``, or else by name: ``http``, ``http-…``."""
    if port.app_protocol:
        return port.app_protocol.lower() in _HTTP
    return port.name == "http" or port.name.startswith("http-")


def addresses(policies: list[LoadBalancerPolicy], services: Mapping[Ref, Service]) -> Addresses:
    """The addresses that are captured, as ``IP:port``; *policies* with the older first."""
    attached, _ = attach(((policy, policy) for policy in policies), services)
    found: dict[str, dict[Ref, frozenset[str]]] = {}
    for entry in ports(attached, services):
        of = found.setdefault(entry.service.namespace, {})
        texts = (_text(address, entry.port.port) for address in entry.addresses)
        of[entry.policy.ref] = of.get(entry.policy.ref, frozenset()).union(texts)
    return found


def captured_services(world: World, namespace: str) -> list[str]:
    """What a new pod of *namespace* redirects, sorted: for injection."""
    return sorted(frozenset[str]().union(*world.captured().get(namespace, {}).values()))


def _text(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
