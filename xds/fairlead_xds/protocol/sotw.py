"""State of the world: each request carries the whole subscription, each cluster or listener response the whole state.

Clusters and listeners that are left out of a response are deleted by it. So what may not change yet, or was refused, is
sent as the client has it: a refused listener stays at its last accepted bytes, and a cluster that a route may still
name stays until the client has accepted the routes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, ClassVar

from envoy.service.discovery.v3 import discovery_pb2

from fairlead_xds.protocol import wire
from fairlead_xds.protocol.events import Event
from fairlead_xds.protocol.ledger import Flight, Held, Ledger
from fairlead_xds.protocol.stream import WILDCARD, WILDCARD_TYPES, Stream
from fairlead_xds.snapshot import Resource

_NO_VERSIONS: Mapping[str, str] = {}


class SotwStream(Stream):
    """One client of ``StreamAggregatedResources``."""

    variant = "sotw"
    removes_one_by_one = False
    _request: ClassVar[Any] = discovery_pb2.DiscoveryRequest

    def _accept(self, ledger: Ledger, request: Any, *, first: bool) -> list[Event]:
        # A nonce before the first response is from an earlier stream, and means nothing here (XDS_RULES 5, 20).
        if not first and request.response_nonce != ledger.last_nonce:
            return []  # XDS_RULES 19
        events = self._answered(ledger, request) if not first and request.response_nonce else []
        self._subscribe(ledger, request)
        if (
            first
            and ledger.wild
            and not ledger.names
            and request.version_info == self._snapshot.type_version(ledger.type_url)
            and ledger.resources
        ):
            ledger.trust()
            ledger.answer = False
        return events

    def _subscribe(self, ledger: Ledger, request: Any) -> None:
        """Take the subscription of *request* for the new one; what both cover the client has as before."""
        names, wild = frozenset(request.resource_names), False
        if ledger.type_url in WILDCARD_TYPES:
            wild = WILDCARD in names or not (names or ledger.named)  # XDS_RULES 28, 29
            ledger.named = ledger.named or bool(names)
            names -= {WILDCARD}
        if wild and not ledger.wild:
            ledger.subscribe_all(_NO_VERSIONS)
            ledger.answer = True
        if names != ledger.names:
            ledger.unsubscribe(ledger.names - names)
            added = names - ledger.names
            if added:
                ledger.subscribe(sorted(map(sys.intern, added)), _NO_VERSIONS)
                ledger.answer = ledger.everything
        if ledger.wild and not wild:  # XDS_RULES 30; last, so that names that it covered are no new ones
            ledger.unsubscribe_all()

    @staticmethod
    def _comes_back(request: Any) -> bool:
        return bool(request.version_info)  # outlives the stream, the nonce does not (XDS_RULES 20)

    def _encode(self, ledger: Ledger, flight: Flight) -> tuple[bytes, ...]:
        version = self._snapshot.type_version(ledger.type_url)
        if not ledger.everything:
            wires = [resource.sotw_wire for resource in flight.sent.values() if resource is not None]
            return wire.sotw_response(ledger.type_url, flight.nonce, version, wires)
        instead = {**ledger.puts, **ledger.removes, **ledger.parked}
        if ledger.wild and not instead:
            wires = [resource.sotw_wire for resource in ledger.resources.values()]
        else:
            wires = [resource.sotw_wire for resource in _whole(ledger, instead)]
            version = _amended(version, ledger, instead)
        return wire.sotw_response(ledger.type_url, flight.nonce, version, wires)

    def _chunk(self, ledger: Ledger) -> tuple[int, int]:
        return (sys.maxsize, sys.maxsize) if ledger.everything else self._chunk_by_blame(ledger.type_url)


def _whole(ledger: Ledger, instead: Mapping[str, Held]) -> list[Resource]:
    """All that the client is subscribed to, with what it has *instead* of what it is not to have yet."""
    merged: dict[str, Held] = {**ledger.resources, **instead}
    return [held for name, held in merged.items() if isinstance(held, Resource) and ledger.covers(name)]


def _amended(version: str, ledger: Ledger, instead: Mapping[str, Held]) -> str:
    """The version of a response that differs from the snapshot by *instead*, made as ``Snapshot.type_version`` is."""
    total = int(version, 16)
    for name, held in instead.items():
        for resource in (ledger.resources.get(name), held):
            if isinstance(resource, Resource):
                total ^= resource.fingerprint
    return f"{total:016x}"
