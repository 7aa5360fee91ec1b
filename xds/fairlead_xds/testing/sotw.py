"""The client half of state-of-the-world xDS."""

from __future__ import annotations

import hashlib

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.service.discovery.v3 import discovery_pb2

from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing.client import LEADS_TO, Client, Item, node_of

_MESSAGES = {
    TypeUrl.CLUSTER: cluster_pb2.Cluster,
    TypeUrl.ENDPOINT: endpoint_pb2.ClusterLoadAssignment,
    TypeUrl.SECRET: secret_pb2.Secret,
    TypeUrl.LISTENER: listener_pb2.Listener,
    TypeUrl.ROUTE: route_pb2.RouteConfiguration,
}


class SotwClient(Client):
    """An Envoy that speaks state of the world. Versions in ``held`` are hashes of the bytes, as Fairlead makes them."""

    def _open_stream(self) -> None:
        self._introduced = False
        self._nonces: dict[TypeUrl, str] = {}
        # The version accepted last survives a broken stream, the nonce does not (XDS_RULES 20).
        self._versions: dict[TypeUrl, str] = getattr(self, "_versions", {})
        self._offered: dict[TypeUrl, str] = {}

    def _decode(self, data: bytes) -> tuple[TypeUrl, str, list[Item], list[str]]:
        response = discovery_pb2.DiscoveryResponse.FromString(data)
        type_url = TypeUrl(response.type_url)
        items = []
        for resource in response.resources:
            assert resource.type_url == type_url
            message = _MESSAGES[type_url].FromString(resource.value)
            name = message.cluster_name if type_url is TypeUrl.ENDPOINT else message.name
            version = hashlib.blake2b(resource.value, digest_size=8).hexdigest()
            items.append(Item(name, version, resource.value))
        names = {item.name for item in items}
        assert len(names) == len(items), f"a name twice in one response: {names}"
        removed = [name for name in self.held[type_url] if name not in names] if type_url in LEADS_TO else []
        self._offered[type_url] = response.version_info
        return type_url, response.nonce, items, removed

    def _first(self, type_url: TypeUrl) -> bytes:
        self._asked.add(type_url)
        request = self._request(type_url)
        if not self._introduced:
            self._introduced = True
            request.MergeFrom(discovery_pb2.DiscoveryRequest(node=node_of(self)))
        return bytes(request.SerializeToString())

    def _answer(self, type_url: TypeUrl, nonce: str, error: str | None) -> bytes:
        self._nonces[type_url] = nonce
        if error is None:
            self._versions[type_url] = self._offered[type_url]
        request = self._request(type_url)
        if error is not None:
            request.error_detail.code = 3
            request.error_detail.message = error
        return bytes(request.SerializeToString())

    def _change(self, type_url: TypeUrl, added: set[str], gone: set[str]) -> bytes:  # noqa: ARG002 - always the whole set
        return bytes(self._request(type_url).SerializeToString())

    def _request(self, type_url: TypeUrl) -> discovery_pb2.DiscoveryRequest:
        return discovery_pb2.DiscoveryRequest(
            type_url=type_url,
            version_info=self._versions.get(type_url, ""),
            response_nonce=self._nonces.get(type_url, ""),
            resource_names=[] if type_url in LEADS_TO else sorted(self._wanted[type_url]),
        )
