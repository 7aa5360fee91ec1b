"""Which ports the Service of a gateway should have, so that its listeners are reached. Pure; ``gateways.service`` writes.

The chart gives the Service its first ports. Whatever other port a policy opens is added under a name of ours, and taken
away when the last listener on it goes; ports of others are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from fairlead_operator.api.core import Service, ServicePort

#: Ports of this name are ours.
_OURS = re.compile(r"listener-[0-9]+")


class Plan(NamedTuple):
    """The ports that are ours to have; ``needed`` are those of listeners that nobody else provides."""

    needed: tuple[int, ...]
    current: tuple[int, ...]

    @property
    def differs(self) -> bool:
        return self.needed != self.current


def plan(service: Service, listeners: Iterable[int]) -> Plan:
    """What to do about *service*, given the TCP ports of the gateway's listeners."""
    ours = {port.port for port in service.ports if _is_ours(port)}
    others = {port.port for port in service.ports if not _is_ours(port) and port.protocol == "TCP"}
    return Plan(tuple(sorted(set(listeners) - others)), tuple(sorted(ours)))


def missing(service: Service, listeners: Iterable[int]) -> tuple[int, ...]:
    """Ports of listeners that the Service does not have."""
    return tuple(sorted(set(listeners) - {port.port for port in service.ports if port.protocol == "TCP"}))


def manifest(namespace: str, name: str, ports: Iterable[int]) -> dict[str, Any]:
    """What is applied (server-side): our ports alone. Applied without a port, ours are given up."""
    entries = [{"name": f"listener-{port}", "port": port, "targetPort": port, "protocol": "TCP"} for port in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        **({"spec": {"ports": entries}} if entries else {}),
    }


def _is_ours(port: ServicePort) -> bool:
    return port.protocol == "TCP" and _OURS.fullmatch(port.name) is not None
