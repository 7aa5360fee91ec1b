"""``CapturedListener`` -> ``envoy.config.listener.v3.Listener``, and the cluster for what no chain is for.

iptables sends connections here; the original_dst filter finds out where they were going, and the chains match that. The
application knows nothing of it, so an HTTP chain changes nothing of a request but the endpoint that gets it.
"""

from __future__ import annotations

import ipaddress

from envoy_data_plane.envoy.config.cluster.v3 import Cluster, ClusterDiscoveryType, ClusterLbPolicy
from envoy_data_plane.envoy.config.core.v3 import Address, CidrRange, HttpProtocolOptions, SocketAddress
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy_data_plane.envoy.config.listener.v3 import Listener as EnvoyListener
from envoy_data_plane.envoy.extensions.filters.listener.original_dst.v3 import OriginalDst
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerServerHeaderTransformation,
    HttpConnectionManagerUpgradeConfig,
    Rds,
)
from envoy_data_plane.envoy.extensions.filters.network.tcp_proxy.v3 import TcpProxy
from envoy_data_plane.envoy.type.v3 import HashPolicy, HashPolicySourceIp

from fairlead_xds import names
from fairlead_xds.encode import any_of, encode
from fairlead_xds.features import limits
from fairlead_xds.features.source import ads
from fairlead_xds.features.value import timedelta
from fairlead_xds.model import CapturedChain, CapturedListener
from fairlead_xds.translate.cluster import CONNECT_TIMEOUT
from fairlead_xds.translate.listener import http_filters, proxy_status


def listener(value: CapturedListener) -> bytes:
    """The listener of *value*; chains in the order of their names, so that equal sets give equal bytes."""
    original = ListenerFilter(name="envoy.filters.listener.original_dst", typed_config=any_of(OriginalDst()))
    return encode(
        EnvoyListener(
            name=value.name,
            address=Address(socket_address=SocketAddress(address=value.address, port_value=value.port)),
            # A pod may be without IPv6 in a cluster that has it: nothing comes then, but it is no error.
            freebind=True if ":" in value.address else None,
            listener_filters=[original],
            filter_chains=[
                *(_chain(chain) for chain in sorted(value.chains, key=lambda chain: chain.name)),
                _itself(value.port),
            ],
            default_filter_chain=FilterChain(
                name=names.PASSTHROUGH, filters=[_tcp(names.PASSTHROUGH, names.PASSTHROUGH, by_source=False)]
            ),
        )
    )


def passthrough_cluster() -> bytes:
    """It has no endpoints of its own: a connection goes to the address that it was going to."""
    return encode(
        Cluster(
            name=names.PASSTHROUGH,
            type=ClusterDiscoveryType.ORIGINAL_DST,
            lb_policy=ClusterLbPolicy.CLUSTER_PROVIDED,
            connect_timeout=timedelta(CONNECT_TIMEOUT),
            circuit_breakers=limits.circuit_breakers(),
        )
    )


def _chain(chain: CapturedChain) -> FilterChain:
    address = ipaddress.ip_address(chain.address)
    return FilterChain(
        name=chain.name,
        filter_chain_match=FilterChainMatch(
            prefix_ranges=[CidrRange(address_prefix=chain.address, prefix_len=address.max_prefixlen)],
            destination_port=chain.port,
        ),
        filters=[_tcp(chain.table, chain.tcp, by_source=chain.by_source) if chain.tcp else _http(chain.table)],
    )


def _itself(port: int) -> FilterChain:
    """Who calls the listener's own port was not captured: passed through, it would come back for ever. Closed at once."""
    return FilterChain(name="captured/itself", filter_chain_match=FilterChainMatch(destination_port=port))


def _tcp(statistics: str, cluster: str, *, by_source: bool) -> Filter:
    config = TcpProxy(
        stat_prefix=statistics,
        cluster=cluster,
        hash_policy=[HashPolicy(source_ip=HashPolicySourceIp())] if by_source else [],
        # Both ends live as long as they did without us: an idle connection is not ours to close.
        idle_timeout=timedelta("0s"),
    )
    return Filter(name="envoy.filters.network.tcp_proxy", typed_config=any_of(config))


def _http(table: str) -> Filter:
    manager = HttpConnectionManager(
        stat_prefix=table,
        rds=Rds(config_source=ads(), route_config_name=table),
        http_filters=http_filters(),
        # The client is the pod itself; what it says of its own clients goes on as it is.
        use_remote_address=True,
        skip_xff_append=True,
        preserve_external_request_id=True,
        server_header_transformation=HttpConnectionManagerServerHeaderTransformation.PASS_THROUGH,
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=timedelta("1h")),
        stream_idle_timeout=timedelta("0s"),
        upgrade_configs=[HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")],
        proxy_status_config=proxy_status(),
    )
    return Filter(name="envoy.filters.network.http_connection_manager", typed_config=any_of(manager))
