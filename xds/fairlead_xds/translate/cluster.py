"""``Backend`` -> ``envoy.config.cluster.v3.Cluster``."""

from __future__ import annotations

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterClusterProtocolSelection,
    ClusterDiscoveryType,
    ClusterDnsLookupFamily,
    ClusterEdsClusterConfig,
)
from envoy_data_plane.envoy.config.core.v3 import Address, SocketAddress
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)

from fairlead_xds.encode import encode
from fairlead_xds.features import algorithm, endpoints, limits
from fairlead_xds.features.source import ads
from fairlead_xds.features.value import timedelta
from fairlead_xds.model import Backend, Host

CONNECT_TIMEOUT = "5s"


def cluster(backend: Backend) -> bytes:
    """The cluster of *backend*; its load assignment has the same name, so a cluster names its endpoints."""
    by_dns = bool(backend.hosts)
    return encode(
        Cluster(
            name=backend.name,
            type=ClusterDiscoveryType.STRICT_DNS if by_dns else ClusterDiscoveryType.EDS,
            eds_cluster_config=None if by_dns else ClusterEdsClusterConfig(eds_config=ads()),
            load_assignment=_hosts(backend) if by_dns else None,
            dns_lookup_family=ClusterDnsLookupFamily.ALL if by_dns else ClusterDnsLookupFamily.AUTO,
            respect_dns_ttl=by_dns,
            connect_timeout=timedelta(CONNECT_TIMEOUT),
            load_balancing_policy=algorithm.load_balancing_policy(backend.load_balancer),
            common_lb_config=endpoints.common_lb_config(backend.persistence),
            circuit_breakers=limits.circuit_breakers(),
            # A pod that is gone leaves at once, whatever active checks last said of it.
            ignore_health_on_host_removal=True,
            protocol_selection=ClusterClusterProtocolSelection.USE_CONFIGURED_PROTOCOL,
        )
    )


def _hosts(backend: Backend) -> ClusterLoadAssignment:
    return ClusterLoadAssignment(
        cluster_name=backend.name, endpoints=[LocalityLbEndpoints(lb_endpoints=[_host(host) for host in backend.hosts])]
    )


def _host(host: Host) -> LbEndpoint:
    address = Address(socket_address=SocketAddress(address=host.hostname, port_value=host.port))
    return LbEndpoint(endpoint=Endpoint(address=address, hostname=host.hostname), load_balancing_weight=host.weight)
