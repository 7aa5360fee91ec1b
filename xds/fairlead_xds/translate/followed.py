"""``endpoints.cluster_load_assignment`` for the endpoint lane: follows a load assignment from one change to the next.

Of a hundred endpoints one has changed: the bytes of the others stay where they are. The reference is the pure function; a
property test holds this against it.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from fairlead_xds.model import Endpoint, LoadAssignment
from fairlead_xds.runs import common_ends
from fairlead_xds.translate import endpoints

#: Endpoints that differ at once, beyond which it is not worth while.
_MOST: Final = 32

_Key = tuple[str, int]


class _Form:
    """A load assignment taken apart: each group's addresses, sorted, and the bytes that belong to them."""

    def __init__(self, all_endpoints: tuple[Endpoint, ...], *, named: bool) -> None:
        self.endpoints, self.named = all_endpoints, named
        self._groups: dict[endpoints.Group, tuple[list[_Key], list[bytes]]] = {}
        for endpoint in sorted(all_endpoints, key=endpoints.address_and_port):
            keys, parts = self._groups.setdefault(endpoints.group(endpoint), ([], []))
            keys.append(endpoint[:2])
            parts.append(endpoints.lb_endpoint(endpoint, named))

    def follow(self, all_endpoints: tuple[Endpoint, ...]) -> bool:
        """Become the form of *all_endpoints*. False: too much has changed, and this is of no use any more."""
        start, end = common_ends(self.endpoints, all_endpoints)
        old, new = self.endpoints[start : len(self.endpoints) - end], all_endpoints[start : len(all_endpoints) - end]
        if max(len(old), len(new)) > _MOST:
            return False
        for endpoint in old:
            keys, parts = self._groups[endpoints.group(endpoint)]
            at = bisect_left(keys, endpoint[:2])
            del keys[at], parts[at]
        for endpoint in new:
            keys, parts = self._groups.setdefault(endpoints.group(endpoint), ([], []))
            at = bisect_left(keys, endpoint[:2])
            if keys[at : at + 1] == [endpoint[:2]]:  # an address that is there twice: nothing that a Service has
                return False
            keys.insert(at, endpoint[:2])
            parts.insert(at, endpoints.lb_endpoint(endpoint, self.named))
        self.endpoints = all_endpoints
        return True

    def parts(self) -> dict[endpoints.Group, list[bytes]]:
        return {group: parts for group, (_, parts) in self._groups.items() if parts}


class Followed:
    """The load assignments of one control plane, by name."""

    def __init__(self) -> None:
        self._forms: dict[str, _Form] = {}

    def encode(self, assignment: LoadAssignment) -> bytes:
        """As ``cluster_load_assignment``."""
        form = self._forms.get(assignment.name)
        if form is None or form.named != assignment.named or not form.follow(assignment.endpoints):
            form = self._forms[assignment.name] = _Form(assignment.endpoints, named=assignment.named)
        return endpoints.assembled(assignment, form.parts())

    def forget(self) -> None:
        """Whatever comes next is taken apart anew."""
        self._forms.clear()
