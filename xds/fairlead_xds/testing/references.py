"""Which other resources a resource makes a client ask for, as Envoy does: endpoints, routes, secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2
from envoy.extensions.transport_sockets.quic.v3 import quic_transport_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2
from google.protobuf import any_pb2

from fairlead_xds.snapshot import TypeUrl

_BODIES: Final[Mapping[TypeUrl, Any]] = {
    TypeUrl.CLUSTER: cluster_pb2.Cluster,
    TypeUrl.LISTENER: listener_pb2.Listener,
}
_NESTED: Final[Mapping[str, Any]] = {
    message.DESCRIPTOR.full_name: message
    for message in (
        http_connection_manager_pb2.HttpConnectionManager,
        quic_transport_pb2.QuicDownstreamTransport,
        quic_transport_pb2.QuicUpstreamTransport,
        tls_pb2.DownstreamTlsContext,
        tls_pb2.UpstreamTlsContext,
    )
}


@lru_cache(maxsize=20_000)
def references(type_url: TypeUrl, body: bytes) -> frozenset[tuple[TypeUrl, str]]:
    """What a client asks for when it has accepted this resource; by value, so that many clients share the work."""
    message = _BODIES.get(type_url)
    return frozenset(_walk(message.FromString(body))) if message is not None else frozenset()


def _walk(message: Any) -> Iterator[tuple[TypeUrl, str]]:
    if isinstance(message, any_pb2.Any):
        nested = _NESTED.get(message.type_url.rpartition("/")[2])
        if nested is not None:
            yield from _walk(nested.FromString(message.value))
        return
    yield from _own(message)
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        for part in value if field.is_repeated else (value,):
            yield from _walk(part)


def _own(message: Any) -> Iterator[tuple[TypeUrl, str]]:
    if isinstance(message, cluster_pb2.Cluster) and message.type == cluster_pb2.Cluster.EDS:
        yield TypeUrl.ENDPOINT, message.eds_cluster_config.service_name or message.name
    elif isinstance(message, http_connection_manager_pb2.Rds):
        yield TypeUrl.ROUTE, message.route_config_name
    elif isinstance(message, secret_pb2.SdsSecretConfig) and message.HasField("sds_config"):
        yield TypeUrl.SECRET, message.name
