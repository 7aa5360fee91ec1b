"""Incremental xDS: the client tells what it adds to and drops from its subscription, the server tells what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from envoy.service.discovery.v3 import discovery_pb2

from fairlead_xds.protocol import wire
from fairlead_xds.protocol.events import Event
from fairlead_xds.protocol.ledger import Flight, Ledger
from fairlead_xds.protocol.stream import WILDCARD, WILDCARD_TYPES, Stream
from fairlead_xds.snapshot import TypeUrl

_NOTHING: Mapping[str, str] = {}


class DeltaStream(Stream):
    """One client of ``DeltaAggregatedResources``."""

    variant = "delta"
    removes_one_by_one = True
    _request: ClassVar[Any] = discovery_pb2.DeltaDiscoveryRequest

    def _accept(self, ledger: Ledger, request: Any, *, first: bool) -> list[Event]:
        events = self._answered(ledger, request) if request.response_nonce else []
        # The subscription counts even if the nonce is stale (XDS_RULES 31).
        if first:
            self._open(ledger, request)
        elif request.resource_names_subscribe or request.resource_names_unsubscribe:
            self._amend(ledger, request, known=_NOTHING)
        return events

    def _open(self, ledger: Ledger, request: Any) -> None:
        """The first request of a type: a reconnecting client says what it has (XDS_RULES 39)."""
        known = dict(request.initial_resource_versions)
        if not request.resource_names_subscribe and ledger.type_url in WILDCARD_TYPES:  # XDS_RULES 37
            self._wild(ledger, known)
        self._amend(ledger, request, known=known)
        if ledger.type_url is TypeUrl.ENDPOINT and self._may_warm(request):
            # While a cluster warms Envoy withholds its requests about clusters, also on a new stream. So a client that
            # asks for the endpoints first may be warming clusters whose load assignments got lost (XDS_RULES 46), or are gone.
            # Told of that at once it waits no longer; one that was in place keeps its endpoints as long as it is there.
            for name in ledger.names:
                ledger.owe(name)
            for name in ledger.removes:
                ledger.owed[name] = True

    def _amend(self, ledger: Ledger, request: Any, *, known: Mapping[str, str]) -> None:
        dropped = set(request.resource_names_unsubscribe)
        added = list(request.resource_names_subscribe)
        if ledger.type_url in WILDCARD_TYPES:
            if WILDCARD in dropped:
                dropped.discard(WILDCARD)
                ledger.unsubscribe_all()
            if WILDCARD in added:
                added = [name for name in added if name != WILDCARD]
                self._wild(ledger, known)
        if dropped:
            ledger.unsubscribe(dropped)
        if added:
            ledger.subscribe(added, known)

    @staticmethod
    def _wild(ledger: Ledger, known: Mapping[str, str]) -> None:
        if not ledger.wild:
            ledger.subscribe_all(known)
        # An empty answer if there is nothing: Envoy waits for one to start (XDS_RULES 38), unless it has started.
        ledger.answer = not known and not ledger.puts

    @staticmethod
    def _comes_back(request: Any) -> bool:
        return bool(request.initial_resource_versions)

    def _encode(self, ledger: Ledger, flight: Flight) -> tuple[bytes, ...]:
        wires, removed = [], []
        for name, resource in flight.sent.items():
            if resource is not None:
                wires.append(resource.delta_wire)
            else:
                removed.append(name)
        version = self._snapshot.type_version(ledger.type_url)
        return wire.delta_response(ledger.type_url, flight.nonce, version, wires, removed)

    def _chunk(self, ledger: Ledger) -> tuple[int, int]:
        return self._chunk_by_blame(ledger.type_url)
