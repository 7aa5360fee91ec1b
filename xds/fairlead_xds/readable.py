"""A snapshot as people read it: Envoy's JSON form, defaults left out. For ``fairlead translate`` and for goldens."""

from __future__ import annotations

from typing import Any

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.clusters.dns.v3 import dns_cluster_pb2 as _dns
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2 as _session
from envoy.extensions.filters.listener.original_dst.v3 import original_dst_pb2 as _original_dst
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as _inspector
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as _hcm
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2 as _tcp_proxy
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2 as _cookie
from envoy.extensions.load_balancing_policies.least_request.v3 import least_request_pb2 as _least
from envoy.extensions.load_balancing_policies.maglev.v3 import maglev_pb2 as _maglev
from envoy.extensions.load_balancing_policies.random.v3 import random_pb2 as _random
from envoy.extensions.load_balancing_policies.ring_hash.v3 import ring_hash_pb2 as _ring
from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2 as _round
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as _previous
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _http_options
from google.protobuf.json_format import MessageToDict

from fairlead_xds.snapshot import Snapshot, TypeUrl

TYPES = {
    TypeUrl.CLUSTER: cluster_pb2.Cluster,
    TypeUrl.ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    TypeUrl.SECRET: secret_pb2.Secret,
    TypeUrl.LISTENER: listener_pb2.Listener,
    TypeUrl.ROUTE: route_pb2.RouteConfiguration,
}
#: Imported for the descriptors: JSON shows what is inside an Any only for types that are known.
KNOWN = (
    _dns,
    _router,
    _session,
    _inspector,
    _hcm,
    _cookie,
    _least,
    _maglev,
    _random,
    _ring,
    _round,
    _previous,
    _original_dst,
    _tcp_proxy,
    _http_options,
    tls_pb2,
)

REDACTED = "[redacted]"


def snapshot(value: Snapshot) -> dict[str, list[dict[str, Any]]]:
    """``{"Cluster": [...], ...}``, by name. Private keys are never shown."""
    return {
        type_url.short: [
            _readable(type_url, resource.body) for _, resource in sorted(value.resources(type_url).items())
        ]
        for type_url in TypeUrl
        if value.resources(type_url)
    }


def _readable(type_url: TypeUrl, body: bytes) -> dict[str, Any]:
    message = TYPES[type_url].FromString(body)
    shown: dict[str, Any] = _plain(MessageToDict(message, preserving_proto_field_name=True))
    if type_url is TypeUrl.SECRET:
        shown["tls_certificate"] = dict.fromkeys(shown.get("tls_certificate", {}), REDACTED)
    return shown


def _plain(value: Any) -> Any:
    """Protobuf shows an Any as an OrderedDict, which YAML does not know."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, list) else value
