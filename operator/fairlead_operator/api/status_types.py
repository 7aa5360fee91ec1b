"""``status`` of a LoadBalancerPolicy as pydantic: the schema of the CRD, and what the status writer fills in."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fairlead_xds.features.value import AllDiffer, Value

Count = Annotated[int, Field(ge=0, le=2**31 - 1, json_schema_extra={"format": "int32"})]
Generation = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]


class Condition(Value):
    """One condition, in the shape of ``metav1.Condition``."""

    type: Annotated[str, Field(pattern=r"^[A-Za-z0-9][-A-Za-z0-9_.]*$", max_length=316)] = Field(
        description="Accepted, ResolvedRefs, Programmed or Degraded."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: Generation = Field(0, description="The metadata.generation that it is about.")
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] = Field(
        description="When status changed last (RFC 3339)."
    )
    reason: Annotated[str, Field(pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$", max_length=1024)] = Field(
        description="Why, in one word for programs."
    )
    message: Annotated[str, Field(max_length=32768)] = Field(
        description="Why, for people: the field at fault and what to do."
    )


class ProxyCounts(Value):
    """The proxies that the policy applies to, by how far they are."""

    connected: Count = Field(0, description="Proxies with an open stream.")
    programmed: Count = Field(0, description="Those that acknowledged this generation.")
    rejected: Count = Field(0, description="Those that refused a part of it.")
    summary: Annotated[str, Field(max_length=32)] = Field("", description="programmed/connected, for the table.")


class EndpointCounts(Value):
    """The endpoints of every backend of the policy, by what they may get."""

    ready: Count = Field(0, description="Endpoints that get new requests.")
    draining: Count = Field(0, description="Endpoints that keep their sessions and get nothing new.")
    degraded: Count = Field(0, description="Endpoints that get requests when no ready one is left.")
    excluded: Count = Field(0, description="Endpoints that get nothing.")
    summary: Annotated[str, Field(max_length=32)] = Field("", description="ready/all, for the table.")


class UnhealthyEndpoint(Value):
    """An endpoint that does not get its full share."""

    backend: Annotated[str, Field(max_length=512)] = Field(description="Its Service, as namespace/name:port-name.")
    address: Annotated[str, Field(max_length=64)] = Field(description="With its port.")
    pod: Annotated[str, Field(max_length=253)] | None = Field(None, description="Its pod.")
    node: Annotated[str, Field(max_length=253)] | None = Field(None, description="Where that runs.")
    health: Literal["Degraded", "Draining", "Excluded"] = Field(description="What it may get.")
    reason: Annotated[str, Field(max_length=1024)] = Field(description="Why.")
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        None, description="When that began (RFC 3339), where it is known."
    )


class EjectedEndpoint(Value):
    """An endpoint that Kubernetes calls fit and that proxies keep out: what their own checks found."""

    backend: Annotated[str, Field(max_length=512)] = Field(description="Its Service, as namespace/name:port-name.")
    address: Annotated[str, Field(max_length=64)] = Field(description="With its port.")
    pod: Annotated[str, Field(max_length=253)] | None = Field(None, description="Its pod.")
    node: Annotated[str, Field(max_length=253)] | None = Field(None, description="Where that runs.")
    ejected_by: Count = Field(0, description="Proxies whose passive checks eject it.")
    failed_checks_by: Count = Field(0, description="Proxies whose active checks fail.")
    proxies: Count = Field(0, description="Proxies of the policy that were asked and answered.")
    reason: Annotated[str, Field(max_length=1024)] = Field(description="The same in words.")


class ActiveChecks(Value):
    """How often each endpoint of a backend is asked by active checks."""

    backend: Annotated[str, Field(max_length=512)] = Field(description="The Service, as namespace/name.")
    interval: Annotated[str, Field(max_length=32)] = Field(description="From one check of a proxy to its next.")
    per_second: Annotated[str, Field(max_length=32)] = Field(
        description="Checks a second that an endpoint gets of all connected proxies."
    )


class LoadBalancerPolicyStatus(Value):
    """What became of the policy."""

    observed_generation: Generation | None = Field(None, description="The metadata.generation that this is about.")
    type: Literal["Gateway", "Sidecar", "Attached"] | None = Field(
        None, description="Shape of the policy: a whole site on a gateway or on sidecars, or attached to Services."
    )
    algorithm: Annotated[str, Field(max_length=64)] | None = Field(None, description="The algorithm in effect.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8), AllDiffer("type")] = Field(
        (), description="Accepted, ResolvedRefs, Programmed, Degraded."
    )
    proxies: ProxyCounts | None = Field(None, description="The proxies that it applies to.")
    endpoints: EndpointCounts | None = Field(None, description="The endpoints of its backends.")
    unhealthy_endpoints: Annotated[tuple[UnhealthyEndpoint, ...], Field(max_length=20)] = Field(
        (), description="Up to 20 endpoints that are not healthy, and why."
    )
    ejected_endpoints: Annotated[tuple[EjectedEndpoint, ...], Field(max_length=20)] = Field(
        (), description="Up to 20 endpoints that proxies keep out by themselves, as of the last time they were asked."
    )
    active_checks: Annotated[tuple[ActiveChecks, ...], Field(max_length=128), AllDiffer("backend")] = Field(
        (), description="How often endpoints are asked, by backend: of up to 128 that are asked most."
    )
