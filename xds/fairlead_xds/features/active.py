"""What Envoy asks an endpoint by itself: ``healthCheck.active`` -> ``Cluster.health_checks``.

Where the pods' own probes say how, the operator makes an explicit check of them first: nothing here knows of pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Final, Literal

from envoy_data_plane.envoy.config.cluster.v3 import ClusterTransportSocketMatch
from envoy_data_plane.envoy.config.core.v3 import (
    HeaderValue,
    HeaderValueOption,
    HeaderValueOptionHeaderAppendAction,
    HealthCheck,
    HealthCheckGrpcHealthCheck,
    HealthCheckHttpHealthCheck,
    HealthCheckTcpHealthCheck,
    TransportSocket,
)
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import CommonTlsContext, UpstreamTlsContext
from envoy_data_plane.envoy.type.v3 import Int64Range
from envoy_data_plane.google.protobuf import Struct
from envoy_data_plane.google.protobuf import Value as ProtobufValue
from pydantic import Field

from fairlead_xds.encode import any_of
from fairlead_xds.features.value import (
    DURATION_PATTERN,
    Duration,
    PositiveDuration,
    Rule,
    Value,
    milliseconds,
    timedelta,
    union,
)

#: What a kubelet takes for success (HTTP probes).
_GOOD = ((200, 399),)
_ANY_STATUS = Int64Range(start=100, end=600)
#: What holds where nothing else is said.
INTERVAL, TIMEOUT, UNHEALTHY, HEALTHY, JITTER = "10s", "5s", 3, 2, "1s"
#: Longest that a check may wait for an answer. Until each endpoint of a new cluster has answered its first check, or has not,
#: a proxy takes no other change of clusters, listeners or routes; and after 20 s the server waits for it no longer
#: (``Options.stuck_after``), and routes lead to a cluster that is not there yet.
LONGEST_TIMEOUT: Final = "15s"
#: Metadata by which the check of a cluster finds its TLS, while requests go on as they do.
_OVER_TLS = "fairlead.check.tls"


class StatusRange(Value):
    """HTTP status codes, both ends included."""

    first: Annotated[int, Field(ge=100, le=599)] = Field(description="The lowest.")
    last: Annotated[int, Field(ge=100, le=599)] = Field(description="The highest.")

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.first <= self.last", "must not be below first", lambda v: v.first <= v.last, "last"),
    )


class CheckHeader(Value):
    """A header of the request."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~\-]+$", max_length=256)] = Field(
        description="Its name; not Host, which is host."
    )
    value: Annotated[str, Field(max_length=4096, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")] = Field(
        description="Its value."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.name.lowerAscii() != 'host'", "say it as host", lambda v: v.name.lower() != "host", "name"),
    )


class HttpCheck(Value):
    """A GET."""

    path: Annotated[str, Field(pattern=r"^/[^\s#]*$", max_length=1024)] = Field("/", description="What is asked for.")
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:\-\[\]]+$", min_length=1, max_length=253)] | None = Field(
        None, description="The Host header. Default: the endpoint's address or hostname, and the port that is asked."
    )
    scheme: Literal["HTTP", "HTTPS"] = Field(
        "HTTP", description="HTTPS: over TLS, whatever the certificate says, as a kubelet does."
    )
    headers: Annotated[tuple[CheckHeader, ...], Field(max_length=16)] = Field((), description="More headers.")
    expected_statuses: Annotated[tuple[StatusRange, ...], Field(min_length=1, max_length=8)] | None = Field(
        None, description="What counts as success. Default: 200 to 399, as for a kubelet."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.path.matches('^[ -~]*$')",
            "must be percent-encoded where it is not ASCII (/caf%C3%A9)",
            lambda v: v.path.isascii(),
            "path",
        ),
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

    type: Literal["ReadinessProbe", "LivenessProbe", "HTTP", "GRPC", "TCP"] = Field(
        description="How an endpoint is asked: as its pod's own probe does, or as the member of the same name says."
    )
    http: HttpCheck | None = Field(None, description="Set when type is HTTP.")
    grpc: GrpcCheck | None = Field(None, description="Set when type is GRPC.")
    tcp: TcpCheck | None = Field(None, description="Set when type is TCP.")
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None, description="Which port is asked. Default: the endpoint's own; of a probe: the probe's."
    )
    interval: PositiveDuration | None = Field(
        None,
        description=(
            "Time from a check's end to the next one, 100ms or longer. Default: 10s; of a probe: its periodSeconds, or timeout"
            " where that is longer; of a liveness probe less, so that who is dead is out before it is killed."
        ),
    )
    timeout: PositiveDuration | None = Field(
        None,
        description=(
            "A check without an answer for so long has failed; 15s at most, as a proxy takes no other change while a new"
            " cluster waits for its first checks. Default: 5s; of a probe: its timeoutSeconds."
        ),
    )
    unhealthy_threshold: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description=(
            "So many failed checks in a row take an endpoint out; a wrong status counts as one of them. Default: 3; of a"
            " probe: its failureThreshold, of a liveness probe at least one less, if it is above 1."
        ),
    )
    healthy_threshold: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None,
        description=(
            "So many successes in a row bring it back. The first check of a new endpoint decides alone. Default: 2; of a"
            " probe: its successThreshold."
        ),
    )
    jitter: Duration | None = Field(
        None,
        description=(
            "Up to so much is added to each interval, so that the proxies do not all ask at once. Default: 1s; of a probe:"
            " at most half of the interval, of a liveness probe a tenth."
        ),
    )

    max_checks_per_second: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        None,
        description=(
            "So many checks a second an endpoint gets at most, of all proxies together and for all clusters of policies that"
            " say this: the more there are, the longer the interval; who does not say it adds to it. Default: each proxy asks"
            " at its interval."
        ),
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *union("type", "http", "HTTP"),
        *union("type", "grpc", "GRPC"),
        *union("type", "tcp", "TCP"),
        Rule(
            "!self.type.endsWith('Probe') || !has(self.port)",
            "may not be set with a probe, which says its port",
            lambda v: not v.of_probe or v.port is None,
            "port",
        ),
        Rule(
            f"!has(self.interval) || !self.interval.matches('{DURATION_PATTERN}')"
            " || duration(self.interval) >= duration('100ms')",
            "must be 100ms or longer",  # each proxy asks each endpoint so often
            lambda v: v.interval is None or milliseconds(v.interval) >= 100,
            "interval",
        ),
        Rule(
            f"!has(self.timeout) || !self.timeout.matches('{DURATION_PATTERN}')"
            f" || duration(self.timeout) <= duration('{LONGEST_TIMEOUT}')",
            f"must be {LONGEST_TIMEOUT} or shorter: a proxy takes no other change while a new cluster waits for its first checks",
            lambda v: v.timeout is None or milliseconds(v.timeout) <= milliseconds(LONGEST_TIMEOUT),
            "timeout",
        ),
        Rule(
            "self.type.endsWith('Probe') && !(has(self.timeout) && has(self.interval))"
            " || duration(has(self.timeout) ? self.timeout : '5s') <= duration(has(self.interval) ? self.interval : '10s')",
            "must not be longer than interval",
            lambda v: (
                (v.of_probe and None in {v.timeout, v.interval})
                or milliseconds(v.timeout or TIMEOUT) <= milliseconds(v.interval or INTERVAL)
            ),
            "timeout",
        ),
    )

    @property
    def every(self) -> float:
        """Seconds from one check to the next, of one proxy."""
        return milliseconds(self.interval or INTERVAL) / 1000

    @property
    def of_probe(self) -> bool:
        """The pods say how they are asked."""
        return self.type in {"ReadinessProbe", "LivenessProbe"}


def needs_http2(value: ActiveHealthCheck | None) -> bool:
    """Envoy refuses a gRPC check of a cluster that is not spoken to by HTTP/2."""
    return value is not None and value.type == "GRPC"


def over_tls(value: ActiveHealthCheck | None) -> bool:
    """The check speaks TLS."""
    return value is not None and value.http is not None and value.http.scheme == "HTTPS"


def by_address(value: ActiveHealthCheck | None) -> bool:
    """Each endpoint is called by its ``authority``, as by a kubelet. Envoy's default is the cluster's name.

    That has a slash, which no host has: Go's net/http answers 400.
    """
    return value is not None and (value.type == "GRPC" or (value.http is not None and value.http.host is None))


def authority(address: str, port: int) -> str:
    """``Endpoint.health_check_config.hostname``, which comes before the host of the check: Host, or gRPC's authority."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def transport_socket_matches() -> list[ClusterTransportSocketMatch]:
    """``Cluster.transport_socket_matches``: TLS for checks alone, which no certificate fails, as with a kubelet."""
    context = any_of(UpstreamTlsContext(common_tls_context=CommonTlsContext()))
    return [
        ClusterTransportSocketMatch(
            name="checks",
            match=Struct(fields={_OVER_TLS: ProtobufValue(bool_value=True)}),
            transport_socket=TransportSocket(name="envoy.transport_sockets.tls", typed_config=context),
        )
    ]


def health_check(value: ActiveHealthCheck) -> HealthCheck:
    """``Cluster.health_checks[0]`` of an explicit check.

    ``no_traffic_interval`` is the interval: Envoy's second check else comes after 60 s. Each status that is not expected
    counts toward the threshold (``retriable_statuses``): else a single one is final. No ``initial_jitter``, though proxies that
    get a cluster at the same moment ask at once then: a new cluster, and an endpoint that has come, gets no request before its
    first check, which would wait that long.
    """
    interval, jitter = timedelta(value.interval or INTERVAL), value.jitter or JITTER
    check = HealthCheck(
        timeout=timedelta(value.timeout or TIMEOUT),
        interval=interval,
        no_traffic_interval=interval,
        interval_jitter=timedelta(jitter) if milliseconds(jitter) else None,
        unhealthy_threshold=value.unhealthy_threshold or UNHEALTHY,
        healthy_threshold=value.healthy_threshold or HEALTHY,
    )
    match value.type:
        case "HTTP":
            assert value.http is not None
            check.http_health_check = _http(value.http)
        case "GRPC":
            assert value.grpc is not None
            check.grpc_health_check = HealthCheckGrpcHealthCheck(service_name=value.grpc.service)
        case "TCP":
            check.tcp_health_check = HealthCheckTcpHealthCheck()
        case _:
            raise ValueError(f"{value.type}: a check of a probe has to be made explicit first")
    if over_tls(value):
        check.transport_socket_match_criteria = Struct(fields={_OVER_TLS: ProtobufValue(bool_value=True)})
    return check


def _http(value: HttpCheck) -> HealthCheckHttpHealthCheck:
    ranges = [(entry.first, entry.last) for entry in value.expected_statuses or ()] or _GOOD
    return HealthCheckHttpHealthCheck(
        path=value.path,
        host=value.host or "",
        request_headers_to_add=list(_headers(value.headers)),
        expected_statuses=[Int64Range(start=first, end=last + 1) for first, last in ranges],
        retriable_statuses=[_ANY_STATUS],
    )


def _headers(headers: tuple[CheckHeader, ...]) -> Iterator[HeaderValueOption]:
    """As they are: Envoy takes a percent sign for the begin of a command, and adds to its own User-Agent."""
    seen: set[str] = set()
    for one in headers:
        action = HeaderValueOptionHeaderAppendAction.APPEND_IF_EXISTS_OR_ADD
        if one.name.lower() not in seen:
            action = HeaderValueOptionHeaderAppendAction.OVERWRITE_IF_EXISTS_OR_ADD
        seen.add(one.name.lower())
        yield HeaderValueOption(
            header=HeaderValue(key=one.name, value=one.value.replace("%", "%%")), append_action=action
        )
