"""``LoadBalancerPolicy``: what people write. ``crds/`` and the field reference are generated from these models."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from fairlead_operator.api.selection import Sidecars
from fairlead_xds.features.affinity import SessionPersistence
from fairlead_xds.features.algorithm import LoadBalancer
from fairlead_xds.features.endpoints import Endpoints
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.features.matching import RouteMatchRule
from fairlead_xds.features.options import RouteOptions
from fairlead_xds.features.value import DISTINCT, NAMED, Name, PortNumber, Rule, Value

#: A DNS name, or a wildcard in place of its first label (Gateway API's Hostname).
Hostname = Annotated[
    str,
    Field(
        pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        min_length=1,
        max_length=253,
    ),
]
#: The name of a Kubernetes object (RFC 1123 subdomain).
ObjectName = Annotated[
    str,
    Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", min_length=1, max_length=253),
]


class Proxies(Value):
    """Which proxies carry the policy."""

    gateway: Name | None = Field(None, description="Name of a gateway.")
    sidecars: Sidecars | None = Field(
        None, description="Sidecars of the application's own pods; their listeners are on the pod's loopback."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.gateway) != has(self.sidecars)",
            "set either gateway or sidecars",
            lambda v: (v.gateway is None) != (v.sidecars is None),
        ),
    )


class SecretRef(Value):
    """A Secret of type kubernetes.io/tls."""

    name: ObjectName = Field(description="Name of the Secret.")
    namespace: Name | None = Field(
        None, description="Its namespace; another one than the policy's needs a ReferenceGrant there."
    )


class Tls(Value):
    """What happens to TLS connections."""

    mode: Literal["Terminate"] = Field("Terminate", description="TLS ends here, and HTTP goes on to the backends.")
    certificate_refs: Annotated[tuple[SecretRef, ...], Field(min_length=1, max_length=8)] = Field(
        description="Certificates; a client gets the one that fits its key type."
    )


class Listener(Value):
    """A port that the proxies open."""

    name: Name = Field(description="Unique in the policy; routes refer to it.")
    port: PortNumber = Field(description="Port; policies of one gateway may share it if their hostnames differ.")
    protocol: Literal["HTTP", "HTTPS"] = Field(description="Protocol of the clients.")
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=32), DISTINCT] = Field(
        (), description="Hosts (and SNI names, for HTTPS) that are served. None: every host."
    )
    tls: Tls | None = Field(None, description="Set when protocol is HTTPS.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.protocol != 'HTTPS' || has(self.tls)",
            "tls must be set when protocol is HTTPS",
            lambda v: v.protocol != "HTTPS" or v.tls is not None,
            "tls",
        ),
        Rule(
            "self.protocol == 'HTTPS' || !has(self.tls)",
            "tls may only be set when protocol is HTTPS",
            lambda v: v.protocol == "HTTPS" or v.tls is None,
            "tls",
        ),
    )


class BackendRef(Value):
    """One side of a split."""

    kind: Literal["Service", "Backend"] = Field("Service", description="Kind of the backend.")
    name: ObjectName = Field(description="Name of the Service or Backend.")
    namespace: Name | None = Field(
        None, description="Its namespace; another one than the policy's needs a ReferenceGrant there."
    )
    port: PortNumber | None = Field(
        None, description="Port of the Service. A Backend has the ports of its endpoints instead."
    )
    weight: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        1, description="Share of the requests: this weight over the sum of all. 0: none."
    )
    fallback: bool = Field(
        False,
        description="It has no share: its endpoints take what those of the others cannot (activateBelowHealthyPercent).",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.fallback || self.weight == 1",
            "a fallback has no weight: it takes what the others cannot",
            lambda v: not v.fallback or v.weight == 1,
            "weight",
        ),
        Rule(
            "self.kind == 'Service' ? has(self.port) : !has(self.port)",
            "port must be set for a Service, and must not for a Backend",
            lambda v: (v.port is not None) == (v.kind == "Service"),
            "port",
        ),
    )


class Route(RouteOptions):
    """Requests that match one of ``matches`` go to ``backendRefs``."""

    name: Name = Field(description="Unique in the policy.")
    listeners: Annotated[tuple[Name, ...], Field(max_length=32), DISTINCT] = Field(
        (), description="Names of listeners. None: all of the policy's."
    )
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=32), DISTINCT] = Field(
        (), description="Hosts, each covered by a hostname of the listener. None: those of the listener."
    )
    matches: Annotated[tuple[RouteMatchRule, ...], Field(min_length=1, max_length=16)] = Field(
        (RouteMatchRule(),), description="What requests it takes: one of these must match. Default: all."
    )
    backend_refs: Annotated[tuple[BackendRef, ...], Field(min_length=1, max_length=16)] = Field(
        description="Where the requests go, by weight."
    )
    activate_below_healthy_percent: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description=(
            "Below so many percent of healthy endpoints of a side, requests begin to go to the fallbacks: the more, the fewer"
            " are left. Default: 70."
        ),
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.backendRefs.exists(r, !r.fallback)",
            "at least one must not be a fallback",
            lambda v: not all(ref.fallback for ref in v.backend_refs),
            "backendRefs",
        ),
        Rule(
            "!has(self.activateBelowHealthyPercent) || self.backendRefs.exists(r, r.fallback)",
            "may only be set with a backendRef that has fallback: true",
            lambda v: v.activate_below_healthy_percent is None or any(ref.fallback for ref in v.backend_refs),
            "activateBelowHealthyPercent",
        ),
    )


class TargetRef(Value):
    """What an attached policy is about."""

    kind: Literal["Service"] = Field("Service", description="Kind of the target.")
    name: ObjectName = Field(description="Name of the Service, in the policy's namespace.")


class LoadBalancerPolicySpec(Value):
    """Either a whole site (proxies, listeners, routes), or how some Services are balanced wherever they are used."""

    proxies: Proxies | None = Field(None, description="Inline shape: which proxies carry it.")
    listeners: Annotated[tuple[Listener, ...], Field(min_length=1, max_length=32), NAMED] | None = Field(
        None, description="Inline shape: the ports."
    )
    routes: Annotated[tuple[Route, ...], Field(min_length=1, max_length=64), NAMED] | None = Field(
        None, description="Inline shape: the routes. The most specific match wins, whatever the order."
    )
    target_refs: Annotated[tuple[TargetRef, ...], Field(min_length=1, max_length=16), NAMED] | None = Field(
        None, description="Attached shape: the Services that it is about."
    )
    load_balancer: LoadBalancer | None = Field(
        None,
        description="How an endpoint is chosen. An attached policy's wins for its Services. Default: LeastRequest.",
    )
    session_persistence: SessionPersistence | None = Field(
        None, description="Keeps a client on its endpoint. An attached policy's wins for its Services."
    )
    health_check: HealthCheck | None = Field(
        None, description="How proxies find out which endpoints work. An attached policy's wins for its Services."
    )
    endpoints: Endpoints | None = Field(
        None, description="What becomes of endpoints that are not ready or terminate. An attached policy's wins."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.proxies) != has(self.targetRefs)",
            "set either proxies, listeners and routes (a whole site), or targetRefs (how Services are balanced)",
            lambda v: (v.proxies is None) != (v.target_refs is None),
        ),
        Rule(
            "has(self.proxies) == has(self.targetRefs) || (has(self.targetRefs)"
            " ? !has(self.listeners) && !has(self.routes) : has(self.listeners) && has(self.routes))",
            "listeners and routes belong to proxies: set all three, or none of them beside targetRefs",
            lambda v: (
                v.listeners is None and v.routes is None
                if v.target_refs is not None
                else v.listeners is not None and v.routes is not None
            ),
        ),
        Rule(
            "!has(self.listeners) || self.listeners.all(a, self.listeners.exists_one(b, b.port == a.port))",
            "listeners must have different ports",
            lambda v: v.listeners is None or len({a.port for a in v.listeners}) == len(v.listeners),
            "listeners",
        ),
        Rule(
            "!has(self.targetRefs) || has(self.loadBalancer) || has(self.sessionPersistence) || has(self.healthCheck)"
            " || has(self.endpoints)",
            "targetRefs needs at least one of loadBalancer, sessionPersistence, healthCheck and endpoints beside it",
            lambda v: (
                v.target_refs is None or bool(v.load_balancer or v.session_persistence or v.health_check or v.endpoints)
            ),
        ),
    )
