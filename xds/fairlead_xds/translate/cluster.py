"""``Backend`` -> ``envoy.config.cluster.v3.Cluster``."""

from __future__ import annotations

from typing import Any

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterClusterProtocolSelection,
    ClusterCustomClusterType,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
)
from envoy_data_plane.envoy.config.core.v3 import Address, Http2ProtocolOptions, SocketAddress
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    EndpointHealthCheckConfig,
    LbEndpoint,
    LocalityLbEndpoints,
)
from envoy_data_plane.envoy.extensions.clusters.common.dns.v3 import DnsLookupFamily
from envoy_data_plane.envoy.extensions.clusters.dns.v3 import DnsCluster
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
    HttpProtocolOptionsUseDownstreamHttpConfig,
)

from fairlead_xds.encode import any_of, encode
from fairlead_xds.features import active, algorithm, endpoints, keepalive, limits, passive
from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.features.health_check import HealthCheck
from fairlead_xds.features.source import ads
from fairlead_xds.features.value import timedelta
from fairlead_xds.model import Backend, Host

CONNECT_TIMEOUT = "5s"
#: Pods are near, and by default another one is tried. On a node that vanished each connection waits this long, and retries
#: that wait count against the budget of retries: with 5 s a quarter of the requests failed, two of four pods alive.
POD_CONNECT_TIMEOUT = "1s"
#: What a cluster has whose endpoints only Kubernetes judges; not a value that a policy may write.
_UNCHECKED = HealthCheck.model_construct(panic_threshold=0, active=None, passive=None)


def cluster(backend: Backend) -> bytes:
    """The cluster of *backend*; its load assignment has the same name, so a cluster names its endpoints."""
    by_dns = bool(backend.hosts)
    check = backend.health_check or _UNCHECKED
    return encode(
        Cluster(
            name=backend.name,
            type=None if by_dns else ClusterDiscoveryType.EDS,
            cluster_type=_dns() if by_dns else None,
            eds_cluster_config=None if by_dns else ClusterEdsClusterConfig(eds_config=ads()),
            load_assignment=_hosts(backend, check.active) if by_dns else None,
            connect_timeout=timedelta(CONNECT_TIMEOUT if by_dns else POD_CONNECT_TIMEOUT),
            load_balancing_policy=algorithm.load_balancing_policy(backend.load_balancer),
            common_lb_config=endpoints.common_lb_config(
                backend.persistence, check.panic_threshold, asked=check.active is not None
            ),
            health_checks=[active.health_check(check.active)] if check.active is not None else [],
            transport_socket_matches=active.transport_socket_matches() if active.over_tls(check.active) else [],
            outlier_detection=passive.outlier_detection(check.passive) if check.passive is not None else None,
            circuit_breakers=limits.circuit_breakers(),
            upstream_connection_options=keepalive.upstream_connection_options(),
            # A pod that is gone leaves at once, whatever active checks last said of it.
            ignore_health_on_host_removal=True,
            protocol_selection=ClusterClusterProtocolSelection.USE_CONFIGURED_PROTOCOL,
            typed_extension_protocol_options=_protocols(backend, check),
        )
    )


def prompt(backend: Backend) -> bool:
    """The cluster is in place as soon as it has its load assignment (``Resource.prompt``)."""
    return not backend.hosts and (backend.health_check or _UNCHECKED).active is None


def _protocols(backend: Backend, check: HealthCheck) -> dict[str, Any]:
    """HTTP/2 without TLS cannot be negotiated.

    Who captures speaks as the client does, who knows what the Service speaks; endpoints that answer gRPC checks speak HTTP/2.
    """
    http2 = Http2ProtocolOptions()
    if backend.downstream_protocol:
        config = HttpProtocolOptionsUseDownstreamHttpConfig(http2_protocol_options=http2)
        options = HttpProtocolOptions(use_downstream_protocol_config=config)
    elif active.needs_http2(check.active):
        explicit = HttpProtocolOptionsExplicitHttpConfig(http2_protocol_options=http2)
        options = HttpProtocolOptions(explicit_http_config=explicit)
    else:
        return {}
    return {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": any_of(options)}


def _dns() -> ClusterCustomClusterType:
    """Every address of every name is an endpoint, for as long as DNS says."""
    config = DnsCluster(dns_lookup_family=DnsLookupFamily.ALL, respect_dns_ttl=True)
    return ClusterCustomClusterType(name="envoy.clusters.dns", typed_config=any_of(config))


def _hosts(backend: Backend, check: ActiveHealthCheck | None) -> ClusterLoadAssignment:
    return ClusterLoadAssignment(
        cluster_name=backend.name,
        endpoints=[LocalityLbEndpoints(lb_endpoints=[_host(host, check) for host in backend.hosts])],
    )


def _host(host: Host, check: ActiveHealthCheck | None) -> LbEndpoint:
    address = Address(socket_address=SocketAddress(address=host.hostname, port_value=host.port))
    called = _called(host, over_tls=active.over_tls(check)) if active.by_address(check) else ""
    asked = (
        EndpointHealthCheckConfig(port_value=host.check_port, hostname=called) if called or host.check_port else None
    )
    endpoint = Endpoint(address=address, hostname=host.hostname, health_check_config=asked)
    return LbEndpoint(endpoint=endpoint, load_balancing_weight=host.weight)


def _called(host: Host, *, over_tls: bool) -> str:
    """As clients do: servers of many names often know theirs without the port only."""
    port = host.check_port or host.port
    return host.hostname if port == (443 if over_tls else 80) else active.authority(host.hostname, port)
