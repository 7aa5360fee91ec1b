"""``endpoints.cluster_load_assignment`` for the endpoint lane: follows a load assignment from one change to the next.

Of a hundred endpoints one has changed: the bytes of the others stay where they are. The reference is the pure function; a
property test holds this against it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import Final

from fairlead_xds.features.endpoints import Health
from fairlead_xds.model import Endpoint, LoadAssignment
from fairlead_xds.runs import common_ends
from fairlead_xds.translate import endpoints

#: Endpoints that differ at once, beyond which it is not worth while.
_MOST: Final = 32

_Key = tuple[str, int]


class _Group:
    """The endpoints of one priority and zone: their addresses, sorted, the bytes that belong to them, and those together."""

    __slots__ = ("_joined", "keys", "parts")

    def __init__(self) -> None:
        self.keys: list[_Key] = []
        self.parts: list[bytes] = []
        self._joined: bytes | None = None

    def put(self, key: _Key, part: bytes) -> bool:
        """False: the address is there already, which is nothing that a Service has."""
        at = bisect_left(self.keys, key)
        if self.keys[at : at + 1] == [key]:
            return False
        self.keys.insert(at, key)
        self.parts.insert(at, part)
        self._joined = None
        return True

    def drop(self, key: _Key) -> None:
        at = bisect_left(self.keys, key)
        del self.keys[at], self.parts[at]
        self._joined = None

    def joined(self) -> bytes:
        """Joined again only where something has changed."""
        if self._joined is None:
            self._joined = b"".join(self.parts)
        return self._joined


class _Form:
    """A load assignment taken apart.

    Attributes:
        degraded: how many of its endpoints are.
        twice: an address is there more than once in a group, which nothing that a Service has is: not to be followed.
    """

    def __init__(self, all_endpoints: tuple[Endpoint, ...], *, named: bool) -> None:
        self.endpoints, self.named = all_endpoints, named
        self.degraded = sum(endpoint.health is Health.DEGRADED for endpoint in all_endpoints)
        self.twice = False
        self._groups: dict[endpoints.Group, _Group] = defaultdict(_Group)
        for endpoint in sorted(all_endpoints, key=endpoints.address_and_port):
            group = self._groups[endpoints.group(endpoint)]
            self.twice |= group.keys[-1:] == [endpoint[:2]]
            group.keys.append(endpoint[:2])
            group.parts.append(endpoints.lb_endpoint(endpoint, named))

    def follow(self, all_endpoints: tuple[Endpoint, ...]) -> bool:
        """Become the form of *all_endpoints*. False: too much has changed, and this is of no use any more."""
        start, end = common_ends(self.endpoints, all_endpoints)
        old, new = self.endpoints[start : len(self.endpoints) - end], all_endpoints[start : len(all_endpoints) - end]
        if max(len(old), len(new)) > _MOST:
            return False
        for endpoint in old:
            self._groups[endpoints.group(endpoint)].drop(endpoint[:2])
            self.degraded -= endpoint.health is Health.DEGRADED
        for endpoint in new:
            part = endpoints.lb_endpoint(endpoint, self.named)
            if not self._groups[endpoints.group(endpoint)].put(endpoint[:2], part):
                return False
            self.degraded += endpoint.health is Health.DEGRADED
        self.endpoints = all_endpoints
        return True

    def groups(self) -> dict[endpoints.Group, bytes]:
        return {key: group.joined() for key, group in self._groups.items() if group.parts}


class Followed:
    """The load assignments of one control plane, by name."""

    def __init__(self) -> None:
        self._forms: dict[str, _Form] = {}

    def encode(self, assignment: LoadAssignment) -> bytes:
        """As ``cluster_load_assignment``."""
        form = self._forms.pop(assignment.name, None)  # one that fails half-way is of no use any more
        if form is None or form.named != assignment.named or not form.follow(assignment.endpoints):
            form = _Form(assignment.endpoints, named=assignment.named)
        if not form.twice:
            self._forms[assignment.name] = form
        return endpoints.assembled(assignment, form.groups(), degraded=form.degraded > 0)

    def forget(self) -> None:
        """Whatever comes next is taken apart anew."""
        self._forms.clear()
