"""What one group of proxies should do, in Envoy's terms but without Envoy's messages.

``reconcile`` makes it, ``translate`` makes bytes of it. Composition only: frozen, hashable, compared by value. Origins
take no part in comparison: a new generation that changes nothing changes no bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fairlead_xds.features.affinity import SessionPersistence
from fairlead_xds.features.algorithm import LoadBalancer
from fairlead_xds.features.endpoints import Health
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.features.matching import RouteMatchRule
from fairlead_xds.features.options import DEFAULT as DEFAULT_OPTIONS
from fairlead_xds.features.options import RouteOptions
from fairlead_xds.snapshot import Origin

#: An endpoint's ``check_port``: it is not asked at all.
NOT_ASKED = -1


class Endpoint(NamedTuple):
    """One address of a backend, as Envoy gets it.

    ``zone``: with its sub-zone after a slash. ``check_port``: where active checks ask; 0: at ``port``. ``priority``: 1 for
    those that get what the others cannot take.
    """

    address: str
    port: int
    health: Health = Health.HEALTHY
    weight: int = 1
    zone: str = ""
    check_port: int = 0
    priority: int = 0


class Host(NamedTuple):
    """One DNS name of a backend; Envoy resolves it. ``check_port``: as an ``Endpoint``'s."""

    hostname: str
    port: int
    weight: int = 1
    check_port: int = 0


@dataclass(frozen=True, slots=True)
class LoadAssignment:
    """The endpoints of a backend of the same name.

    ``failover``: below so many percent of healthy endpoints of priority 0 those of priority 1 get a share; 0: there are none.
    Excluded endpoints are told then: they are a part of the whole. ``named``: active checks call each by its address and port.
    """

    name: str
    endpoints: tuple[Endpoint, ...]
    failover: int = 0
    named: bool = False
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Backend:
    """A set of endpoints with the way it is balanced: a cluster.

    ``hosts`` are set where Envoy resolves DNS names; ``downstream_protocol``: endpoints are spoken to as the client spoke.
    """

    name: str
    load_balancer: LoadBalancer
    persistence: SessionPersistence | None = None
    health_check: HealthCheck | None = None
    hosts: tuple[Host, ...] = ()
    downstream_protocol: bool = False
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Target:
    """One side of a split: a backend by name, with its share."""

    backend: str
    weight: int
    persistence: SessionPersistence | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """Requests that match go to the targets. No target: 503 at once."""

    name: str
    match: RouteMatchRule
    targets: tuple[Target, ...]
    options: RouteOptions = DEFAULT_OPTIONS
    hashing: tuple[LoadBalancer, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualHost:
    """The routes of one hostname of one policy's listener, in the order in which they are tried."""

    name: str
    hostname: str
    routes: tuple[Route, ...]
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class RouteTable:
    """A route configuration, by the name of the chain that uses it."""

    name: str
    virtual_hosts: tuple[VirtualHost, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A filter chain. ``certificates`` (names of secrets) make it terminate TLS; ``server_names`` are its SNI."""

    name: str
    server_names: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Listener:
    """A port with its chains."""

    name: str
    address: str
    port: int
    chains: tuple[Chain, ...]


@dataclass(frozen=True, slots=True)
class CapturedChain:
    """What happens to captured connections to one address and port: HTTP by the chain's route table, or TCP.

    Attributes:
        table: route table where it is HTTP; the name in statistics in any case.
        tcp: the backend that gets the bytes; empty: HTTP.
        by_source: TCP connections are hashed by the address that they come from.
    """

    name: str
    address: str
    port: int
    table: str
    tcp: str = ""
    by_source: bool = False
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class CapturedListener:
    """Where captured connections arrive. Those that no chain is for go on to where they were going."""

    name: str
    address: str
    port: int
    chains: tuple[CapturedChain, ...]


@dataclass(frozen=True, slots=True)
class Secret:
    """A certificate chain and its key, PEM."""

    name: str
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    origins: tuple[Origin, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Everything for the proxies of one key."""

    listeners: tuple[Listener, ...] = ()
    route_tables: tuple[RouteTable, ...] = ()
    backends: tuple[Backend, ...] = ()
    assignments: tuple[LoadAssignment, ...] = ()
    secrets: tuple[Secret, ...] = ()
    captured: tuple[CapturedListener, ...] = ()
