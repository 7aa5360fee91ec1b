"""Minimal resources and snapshots for tests of the protocol and the server."""

from __future__ import annotations

from collections.abc import Iterable

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import config_source_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb2

from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl


def ads() -> config_source_pb2.ConfigSource:
    return config_source_pb2.ConfigSource(ads={}, resource_api_version="V3")


def cluster(name: str, *, connect_timeout: int = 1) -> Resource:
    message = cluster_pb2.Cluster(
        name=name, type="EDS", eds_cluster_config={"eds_config": ads()}, connect_timeout={"seconds": connect_timeout}
    )
    return Resource(TypeUrl.CLUSTER, name, message.SerializeToString())


def endpoints(name: str, *ports: int) -> Resource:
    message = endpoint_pb2.ClusterLoadAssignment(cluster_name=name)
    for port in ports:
        address = message.endpoints.add().lb_endpoints.add().endpoint.address.socket_address
        address.address, address.port_value = "127.0.0.1", port
    return Resource(TypeUrl.ENDPOINT, name, message.SerializeToString())


def listener(name: str, *, route: str, port: int = 10000, stat_prefix: str = "http") -> Resource:
    manager = hcm_pb2.HttpConnectionManager(
        stat_prefix=stat_prefix, rds={"route_config_name": route, "config_source": ads()}
    )
    manager.http_filters.add(name="envoy.filters.http.router").typed_config.Pack(router_pb2.Router())
    message = listener_pb2.Listener(name=name)
    message.address.socket_address.address = "127.0.0.1"
    message.address.socket_address.port_value = port
    network_filter = message.filter_chains.add().filters.add(name="envoy.filters.network.http_connection_manager")
    network_filter.typed_config.Pack(manager)
    return Resource(TypeUrl.LISTENER, name, message.SerializeToString())


def route(name: str, target: str) -> Resource:
    message = route_pb2.RouteConfiguration(name=name)
    host = message.virtual_hosts.add(name="all", domains=["*"])
    host.routes.add(match={"prefix": "/"}, route={"cluster": target})
    return Resource(TypeUrl.ROUTE, name, message.SerializeToString())


def blob(type_url: TypeUrl, name: str, content: str) -> Resource:
    """A resource whose bytes the protocol never looks into."""
    return Resource(type_url, name, content.encode())


def site(names: Iterable[str] = ("a", "b")) -> Snapshot:
    """Clusters with their endpoints, one listener, and a route to the first of them."""
    names = list(names)
    parts = [part for name in names for part in (cluster(name), endpoints(name, 9000))]
    if names:
        parts += [listener("http", route="main"), route("main", names[0])]
    return Snapshot.of(parts)
