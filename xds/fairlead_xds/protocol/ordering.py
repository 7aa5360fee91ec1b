"""When a type may be sent: make before break, in each stream and across coalesced pushes (XDS_RULES 43, 44, 48).

Routes are not warmed, so a route that names a new cluster goes when that cluster is in place: its response was
answered, which Envoy does when the cluster is warm. Or it goes right behind the endpoints of the cluster, one round trip
sooner: who asks for the endpoints of a new cluster has taken the cluster, and reads the endpoints before the route. Not so a
cluster that waits for checks besides (``Resource.prompt``), or one that the client had before. An Envoy that comes back
while a cluster of it warms asks for all but clusters; until it asks for these nobody knows what is in place (``Stream.warming``).

A route may also lead to a cluster that was empty until now, so what is known of endpoints is sent before it (and is applied
before it, being on the same stream). While a cluster warms Envoy answers nothing for clusters, so what warming needs
(endpoints, secrets) waits for nothing. What is no longer referenced goes last: after listeners and routes that stopped
referring to it were accepted. A refused listener or route keeps its old references, and so keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fairlead_xds.protocol.ledger import Flight, Ledger
from fairlead_xds.snapshot import TypeUrl

ORDER: Final = (TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.SECRET, TypeUrl.LISTENER, TypeUrl.ROUTE)
"""In which order types are sent when several may be."""

TOGETHER: Final = frozenset({TypeUrl.LISTENER})
"""Removed in the same response as additions: Envoy takes removals first, and a new listener may need the address."""

LAST: Final = (TypeUrl.ROUTE, TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.SECRET)
"""Removed when nothing refers to them any more."""


def may_put(type_url: TypeUrl, ledgers: Mapping[TypeUrl, Ledger], *, warming: bool) -> bool:
    """Additions and updates of *type_url* may go now; *warming*: ``Stream.warming``."""
    if type_url is TypeUrl.LISTENER:
        return _in_place(ledgers, warming=warming)
    if type_url is TypeUrl.ROUTE:
        listener = ledgers.get(TypeUrl.LISTENER)
        listeners_sent = listener is None or not (listener.puts or listener.removes)
        endpoints = ledgers.get(TypeUrl.ENDPOINT)
        endpoints_sent = endpoints is None or not endpoints.puts
        return listeners_sent and endpoints_sent and _in_place(ledgers, warming=warming)
    return True


def asking_tells(clusters: Flight, ledgers: Mapping[TypeUrl, Ledger]) -> bool:
    """Whether the client's request for the load assignments of *clusters*, which go now, will tell that it took them.

    Where neither a listener nor a route waits for them, the answer about them is soon enough.
    """
    endpoints = ledgers.get(TypeUrl.ENDPOINT)
    waiting = (ledgers.get(type_url) for type_url in (TypeUrl.LISTENER, TypeUrl.ROUTE))
    if endpoints is None or not any(ledger.puts for ledger in waiting if ledger is not None):
        return False
    return bool(clusters.sent) and all(
        clusters.prior[name] is None
        and cluster is not None
        and cluster.prompt
        and name in endpoints.resources
        and not endpoints.covers(name)
        for name, cluster in clusters.sent.items()
    )


def may_remove(ledgers: Mapping[TypeUrl, Ledger]) -> bool:
    """What is no longer referenced may go now."""
    for type_url in (TypeUrl.LISTENER, TypeUrl.ROUTE):
        ledger = ledgers.get(type_url)
        if ledger is not None and not (ledger.settled and not ledger.parked):
            return False
    listener = ledgers.get(TypeUrl.LISTENER)
    return _settled(TypeUrl.CLUSTER, ledgers) and (listener is None or not listener.removes)


def _in_place(ledgers: Mapping[TypeUrl, Ledger], *, warming: bool) -> bool:
    """What the client was told about clusters, it has done; also on an earlier stream, if it is *warming*."""
    clusters = ledgers.get(TypeUrl.CLUSTER)
    if clusters is None:
        return not warming
    if clusters.settled:
        return True
    if clusters.puts or clusters.late is not None or clusters.flight is None or not clusters.flight.telling:
        return False  # a late answer may be about clusters that warm still
    endpoints = ledgers[TypeUrl.ENDPOINT]
    return not endpoints.puts and all(
        endpoints.covers(name) and name in endpoints.resources and name not in endpoints.owed
        for name in clusters.flight.sent
    )


def _settled(type_url: TypeUrl, ledgers: Mapping[TypeUrl, Ledger]) -> bool:
    ledger = ledgers.get(type_url)
    return ledger is None or ledger.settled
