"""``RouteTable`` -> ``envoy.config.route.v3.RouteConfiguration``.

Virtual hosts are encoded one by one and joined, so that a change of one policy encodes its own hosts only.
"""

from __future__ import annotations

from collections.abc import Sequence

from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.config.route.v3 import (
    DirectResponseAction,
    RouteAction,
    RouteConfiguration,
    WeightedCluster,
    WeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.config.route.v3 import Route as EnvoyRoute
from envoy_data_plane.envoy.config.route.v3 import VirtualHost as EnvoyVirtualHost

from fairlead_xds.encode import encode
from fairlead_xds.features import affinity, algorithm, matching, retry, timeouts
from fairlead_xds.model import Route, VirtualHost
from fairlead_xds.wire import delimited

# envoy.config.route.v3.RouteConfiguration.virtual_hosts
_VIRTUAL_HOSTS = 2


def route_configuration(name: str, virtual_hosts: Sequence[bytes]) -> bytes:
    """The table from ready virtual hosts. Protobuf fields may come in any order, so parts may be joined."""
    # A Host header with a port is the same host: RFC 9110, 7.2.
    table = RouteConfiguration(name=name, ignore_port_in_host_matching=True)
    return encode(table) + b"".join(delimited(_VIRTUAL_HOSTS, host) for host in virtual_hosts)


def virtual_host(host: VirtualHost) -> bytes:
    return encode(
        EnvoyVirtualHost(name=host.name, domains=[host.hostname], routes=[_route(route) for route in host.routes])
    )


def _route(route: Route) -> EnvoyRoute:
    match = matching.route_match(route.match)
    if not route.targets:
        body = DataSource(inline_string="no backend: see the policy's conditions\n")
        return EnvoyRoute(name=route.name, match=match, direct_response=DirectResponseAction(status=503, body=body))
    single = route.targets[0] if len(route.targets) == 1 else None
    return EnvoyRoute(
        name=route.name,
        match=match,
        route=_action(route),
        typed_per_filter_config=affinity.typed_per_filter_config(single.persistence) if single else {},
    )


def _action(route: Route) -> RouteAction:
    hash_policy = [part for value in route.hashing for part in algorithm.hash_policy(value)]
    options, single = route.options, len(route.targets) == 1
    return RouteAction(
        cluster=route.targets[0].backend if single else None,
        weighted_clusters=None if single else _weighted(route),
        timeout=timeouts.timeout(options.timeouts),
        retry_policy=retry.retry_policy(
            options.retry,
            hashing=bool(hash_policy),
            per_try_timeout=timeouts.per_try_timeout(options.timeouts),
        ),
        hash_policy=hash_policy,
    )


def _weighted(route: Route) -> WeightedCluster:
    return WeightedCluster(
        clusters=[
            WeightedClusterClusterWeight(
                name=target.backend,
                weight=target.weight,
                typed_per_filter_config=affinity.typed_per_filter_config(target.persistence),
            )
            for target in route.targets
        ]
    )
