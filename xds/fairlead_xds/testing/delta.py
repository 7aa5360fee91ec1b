"""The client half of incremental xDS."""

from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2

from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing.client import LEADS_TO, Client, Item, node_of


class DeltaClient(Client):
    """An Envoy that speaks delta."""

    def _open_stream(self) -> None:
        self._introduced = False

    def _decode(self, data: bytes) -> tuple[TypeUrl, str, list[Item], list[str]]:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
        type_url = TypeUrl(response.type_url)
        items = []
        for resource in response.resources:
            assert resource.resource.type_url == type_url
            items.append(Item(resource.name, resource.version, resource.resource.value))
        names = [item.name for item in items]
        assert len(set(names)) == len(names), f"a name twice in one response: {names}"
        return type_url, response.nonce, items, list(response.removed_resources)

    def _first(self, type_url: TypeUrl) -> bytes:
        self._asked.add(type_url)
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=["*"] if type_url in LEADS_TO else sorted(self._wanted[type_url]),
            initial_resource_versions=self.held[type_url],
        )
        if not self._introduced:
            self._introduced = True
            request.MergeFrom(discovery_pb2.DeltaDiscoveryRequest(node=node_of(self)))
        return bytes(request.SerializeToString())

    def _answer(self, type_url: TypeUrl, nonce: str, error: str | None) -> bytes:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce)
        if error is not None:
            request.error_detail.code = 3
            request.error_detail.message = error
        return bytes(request.SerializeToString())

    def _change(self, type_url: TypeUrl, added: set[str], gone: set[str]) -> bytes:
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=sorted(added),
            resource_names_unsubscribe=sorted(gone),
        )
        return bytes(request.SerializeToString())
