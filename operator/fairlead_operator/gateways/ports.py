"""Which ports the Service of a gateway should have, so that its listeners are reached. Pure; ``gateways.service`` writes.

The chart gives the Service its first ports. Whatever other port a policy opens is added under a name of ours, and taken
away when the last listener on it goes; ports of others are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from fairlead_operator.api.core import Service, ServicePort

#: Ports that a gateway opens by itself, and what for.
RESERVED: Final = {19001: "its health and metrics"}
#: Ports of this name are ours.
_OURS = re.compile(r"listener-[0-9]+")


class Plan(NamedTuple):
    """The ports that are ours to have; ``needed`` are those of listeners that no port of somebody else leads to."""

    needed: tuple[int, ...]
    current: tuple[int, ...]

    @property
    def differs(self) -> bool:
        return self.needed != self.current


def plan(service: Service, listeners: Iterable[int]) -> Plan:
    """What to do about *service*, given the TCP ports of the gateway's listeners."""
    ours = {port.port for port in service.ports if _is_ours(port)}
    others = [port for port in service.ports if not _is_ours(port) and port.protocol == "TCP"]
    # A port that leads elsewhere (80 -> 8080) is taken all the same: the API server would refuse a second one.
    provided = {_listener(port) for port in others} | {port.port for port in others}
    return Plan(tuple(sorted(set(listeners) - provided)), tuple(sorted(ours)))


def missing(service: Service, listeners: Iterable[int]) -> tuple[int, ...]:
    """Ports of listeners to which no port of the Service leads."""
    return tuple(sorted(set(listeners) - {_listener(port) for port in service.ports if port.protocol == "TCP"}))


def elsewhere(service: Service, listener: int) -> ServicePort | None:
    """The port of the Service that has the number of *listener* and leads to another one."""
    found = (port for port in service.ports if port.protocol == "TCP" and port.port == listener)
    return next((port for port in found if _listener(port) != listener), None)


def manifest(namespace: str, name: str, ports: Iterable[int]) -> dict[str, Any]:
    """What is applied (server-side): our ports alone. Applied without a port, ours are given up."""
    entries = [{"name": f"listener-{port}", "port": port, "targetPort": port, "protocol": "TCP"} for port in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        **({"spec": {"ports": entries}} if entries else {}),
    }


def _listener(port: ServicePort) -> int:
    """The port of the pods that it leads to. Named ones are the chart's own, which names none but for its number."""
    return int(port.target) if port.target.isdecimal() else port.port


def _is_ours(port: ServicePort) -> bool:
    return port.protocol == "TCP" and _OURS.fullmatch(port.name) is not None
