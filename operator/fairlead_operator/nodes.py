"""Which nodes are lost, and whether that can be believed. Pure; a part of ``World``.

When many nodes are lost at the same moment, it is more likely that the control plane of the cluster cannot see them: then
their endpoints stay, because sending requests nowhere helps nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from fairlead_operator.api.nodes import Node

#: Deleted nodes that are remembered: their endpoints may be there for a while.
_DELETED: Final = 1000


class Lost(NamedTuple):
    """Why the pods of a node get nothing, and since when (seconds since the epoch; 0: unknown)."""

    why: str
    since: float = 0.0


NOTHING: Final[Mapping[str, Lost]] = {}


class Nodes:
    """The nodes by name. Where none is known (a folder of manifests), none is lost."""

    def __init__(self) -> None:
        self._known: dict[str, Node] = {}
        self._deleted: dict[str, Lost] = {}

    def put(self, name: str, node: Node | None, now: float) -> bool:
        """Remember *node*, or that it is gone as of *now*; whether endpoints may be judged otherwise."""
        before = self._known.get(name)
        if node is None:
            if self._known.pop(name, None) is not None:
                self._deleted[name] = Lost(f"node {name} was deleted", now)
                while len(self._deleted) > _DELETED:
                    del self._deleted[next(iter(self._deleted))]
            return before is not None
        self._known[name] = node
        back = self._deleted.pop(name, None) is not None
        return back or (before.lost if before else "") != node.lost

    @property
    def any_lost(self) -> bool:
        return bool(self._deleted) or any(one.lost for one in self._known.values())

    def names(self) -> set[str]:
        return set(self._known)

    def lost(self, used: Collection[str], max_percent: int) -> Mapping[str, Lost]:
        """The nodes whose endpoints get nothing; none when they are too many to be believed.

        Args:
            used: the nodes that endpoints name; deleted ones count only while they do.
            max_percent: of all nodes, so many may be lost at once.
        """
        found = self._found(used)
        return found if found and not self._too_many(found, max_percent) else NOTHING

    def doubted(self, used: Collection[str], max_percent: int) -> str:
        """Why lost nodes are kept, in words; empty: they are not."""
        found = self._found(used)
        if not found or not self._too_many(found, max_percent):
            return ""
        return f"{len(found)} of {self._total(found)} nodes are lost at the same moment: their endpoints are kept"

    def _found(self, used: Collection[str]) -> dict[str, Lost]:
        found = {name: Lost(f"node {name} {one.lost}", one.since) for name, one in self._known.items() if one.lost}
        return found | {name: why for name, why in self._deleted.items() if name in used}

    def _total(self, found: Mapping[str, Lost]) -> int:
        return len(self._known.keys() | found.keys())

    def _too_many(self, found: Mapping[str, Lost], max_percent: int) -> bool:
        return len(found) * 100 > self._total(found) * max_percent
