"""What Envoy asks an endpoint by itself: ``healthCheck.active`` -> ``Cluster.health_checks``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from envoy_data_plane.envoy.config.core.v3 import (
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    HealthCheckHttpHealthCheck,
    HealthCheckTcpHealthCheck,
)
from envoy_data_plane.envoy.type.v3 import Int64Range
from pydantic import Field

from fairlead_xds.features.value import Duration, PositiveDuration, Rule, Value, milliseconds, timedelta, union

#: What a kubelet takes for success (HTTP probes).
_GOOD = ((200, 399),)
_ANY_STATUS = Int64Range(start=100, end=600)


class StatusRange(Value):
    """HTTP status codes, both ends included."""

    first: Annotated[int, Field(ge=100, le=599)] = Field(description="The lowest.")
    last: Annotated[int, Field(ge=100, le=599)] = Field(description="The highest.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.first <= self.last", "must not be below first", lambda v: v.first <= v.last, "last"),
    )


class HttpCheck(Value):
    """A GET."""

    path: Annotated[str, Field(pattern=r"^/[^\s#]*$", max_length=1024)] = Field("/", description="What is asked for.")
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\-\[\]]+$", min_length=1, max_length=253)] | None = Field(
        None, description="The Host header. Default: the name of the cluster."
    )
    expected_statuses: Annotated[tuple[StatusRange, ...], Field(min_length=1, max_length=8)] | None = Field(
        None, description="What counts as success. Default: 200 to 399, as for a kubelet."
    )


class GrpcCheck(Value):
    """``grpc.health.v1.Health/Check``. The backend is spoken to by HTTP/2."""

    service: Annotated[str, Field(max_length=253)] = Field(
        "", description="Name of the gRPC service that is asked about. Empty: the server as a whole."
    )


class TcpCheck(Value):
    """A connection that is made and closed."""


class ActiveHealthCheck(Value):
    """How each proxy asks each endpoint whether it works. One that fails gets no requests."""

    type: Literal["HTTP", "GRPC", "TCP"] = Field(description="How an endpoint is asked.")
    http: HttpCheck | None = Field(None, description="Set when type is HTTP.")
    grpc: GrpcCheck | None = Field(None, description="Set when type is GRPC.")
    tcp: TcpCheck | None = Field(None, description="Set when type is TCP.")
    interval: PositiveDuration = Field("10s", description="Time from one check to the next.")
    timeout: PositiveDuration = Field("5s", description="A check without an answer for so long has failed.")
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100)] = Field(
        3, description="So many failed checks in a row take an endpoint out; a wrong status counts as one of them."
    )
    healthy_threshold: Annotated[int, Field(ge=1, le=100)] = Field(
        2, description="So many successes in a row bring it back. The first check of a new endpoint decides alone."
    )
    jitter: Duration = Field(
        "1s", description="Up to so much is added to each interval, so that the proxies do not all ask at once."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *union("type", "http", "HTTP"),
        *union("type", "grpc", "GRPC"),
        *union("type", "tcp", "TCP"),
        Rule(
            "duration(self.timeout) <= duration(self.interval)",
            "must not be longer than interval",
            lambda v: milliseconds(v.timeout) <= milliseconds(v.interval),
            "timeout",
        ),
    )


def needs_http2(value: ActiveHealthCheck | None) -> bool:
    """Envoy refuses a gRPC check of a cluster that is not spoken to by HTTP/2."""
    return value is not None and value.type == "GRPC"


def health_check(value: ActiveHealthCheck) -> HealthCheck:
    """``Cluster.health_checks[0]``.

    ``no_traffic_interval`` is the interval: Envoy's second check else comes after 60 s. Each status that is not expected
    counts toward the threshold (``retriable_statuses``): else a single one is final.
    """
    interval = timedelta(value.interval)
    check = HealthCheck(
        timeout=timedelta(value.timeout),
        interval=interval,
        no_traffic_interval=interval,
        interval_jitter=timedelta(value.jitter) if milliseconds(value.jitter) else None,
        unhealthy_threshold=value.unhealthy_threshold,
        healthy_threshold=value.healthy_threshold,
    )
    match value.type:
        case "HTTP":
            assert value.http is not None
            ranges = [(entry.first, entry.last) for entry in value.http.expected_statuses or ()] or _GOOD
            check.http_health_check = HealthCheckHttpHealthCheck(
                path=value.http.path,
                host=value.http.host or "",
                expected_statuses=[Int64Range(start=first, end=last + 1) for first, last in ranges],
                retriable_statuses=[_ANY_STATUS],
            )
        case "GRPC":
            assert value.grpc is not None
            check.grpc_health_check = HealthCheckGrpcHealthCheck(service_name=value.grpc.service)
        case "TCP":
            check.tcp_health_check = HealthCheckTcpHealthCheck()
    return check
