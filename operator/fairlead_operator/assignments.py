"""``bindings.load_assignment`` for the endpoint lane: follows a Service from one change of its slice to the next.

Of a hundred endpoints one has changed: the verdicts of the others stay. That is so where an endpoint's own conditions are all
that counts, and the Service has one slice (up to a hundred endpoints, as Kubernetes makes them); everything else is computed
from nothing, which is the reference that a property test holds this against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fairlead_operator import bindings, health
from fairlead_operator.api.slices import EndpointSlice, SliceEndpoint
from fairlead_operator.bindings import Binding
from fairlead_operator.world import World
from fairlead_xds.features import active
from fairlead_xds.model import Endpoint, LoadAssignment
from fairlead_xds.runs import common_ends

#: Endpoints that differ at once, beyond which it is not worth while.
_MOST: Final = 32


@dataclass(slots=True)
class _Known:
    """A Service's endpoints as they were judged last.

    Attributes:
        endpoints: of its slice.
        judged: for each what Envoy gets of it; ``None``: nothing.
        addresses: of all of them, each there once.
    """

    binding: Binding
    port: int
    last_resort: bool
    endpoints: tuple[SliceEndpoint, ...]
    judged: list[Endpoint | None]
    addresses: set[str]

    def follow(self, entry: EndpointSlice) -> bool:
        """The slice is *entry* now. False: too much has changed, and this is of no use any more."""
        start, end = common_ends(self.endpoints, entry.endpoints)
        old = self.endpoints[start : len(self.endpoints) - end]
        new = entry.endpoints[start : len(entry.endpoints) - end]
        if max(len(old), len(new)) > _MOST or entry.ports.get(self.binding.port_name) != self.port:
            return False
        self.addresses.difference_update([endpoint.address for endpoint in old])
        arrived = {endpoint.address for endpoint in new}
        if len(arrived) < len(new) or self.addresses & arrived or _last_resort(entry) != self.last_resort:
            return False
        self.addresses |= arrived
        self.judged[start : len(self.endpoints) - end] = [self.judge(endpoint) for endpoint in new]
        self.endpoints = entry.endpoints
        return True

    def judge(self, endpoint: SliceEndpoint) -> Endpoint | None:
        verdict = health.judge(endpoint, self.binding.endpoints, last_resort=self.last_resort)
        found = health.endpoints([(endpoint, self.port, verdict)], check_port=_check_port(self.binding))
        return found[0] if found else None


class Assignments:
    """One for a control plane."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._known: dict[str, _Known] = {}

    def forget(self) -> None:
        """The bindings are others now."""
        self._known.clear()

    def of(self, binding: Binding) -> LoadAssignment:
        """As ``bindings.load_assignment``."""
        slices = list(self._world.slices(binding.source))
        facts = self._world.facts(binding.source, binding.endpoints)
        if len(slices) != 1 or not _plain(binding) or facts.concern(slices[0].endpoints):
            self._known.pop(binding.cluster, None)
            return bindings.load_assignment(self._world, binding)
        known = self._known.get(binding.cluster)
        if known is None or known.binding is not binding or not known.follow(slices[0]):
            known = _new(binding, slices[0])
            if known is None:
                self._known.pop(binding.cluster, None)
                return bindings.load_assignment(self._world, binding)
            self._known[binding.cluster] = known
        judged = tuple([one for one in known.judged if one is not None])
        return LoadAssignment(binding.cluster, judged, named=active.by_address(binding.check))


def _plain(binding: Binding) -> bool:
    """Each endpoint is judged for itself."""
    of_probe = binding.active is not None and binding.active.of_probe
    return not (binding.static or binding.fallbacks or binding.slow_start or binding.failover or of_probe)


def _new(binding: Binding, entry: EndpointSlice) -> _Known | None:
    """``None``: it has not the port, or an address twice."""
    port = entry.ports.get(binding.port_name)
    addresses = {endpoint.address for endpoint in entry.endpoints}
    if port is None or len(addresses) < len(entry.endpoints):
        return None
    found = health.endpoints(
        health.assess([entry], binding.port_name, binding.endpoints), check_port=_check_port(binding)
    )
    by_address = {one.address: one for one in found}
    judged = [by_address.get(endpoint.address) for endpoint in entry.endpoints]
    return _Known(binding, port, _last_resort(entry), entry.endpoints, judged, addresses)


def _check_port(binding: Binding) -> int:
    return binding.active.port or 0 if binding.active is not None else 0


def _last_resort(entry: EndpointSlice) -> bool:
    return not any(endpoint.ready and not endpoint.terminating for endpoint in entry.endpoints)
