"""Which nodes are lost, and whether that can be believed. Pure; a part of ``World``.

When many nodes are lost at the same moment, it is more likely that the control plane of the cluster cannot see them: then
their endpoints stay, because sending requests nowhere helps nobody. Those that were lost one by one are believed, however
many they have become.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Final, NamedTuple

from fairlead_operator.api.nodes import Node

#: Seconds that a moment lasts. Kubernetes looks every 5 s for nodes that have been silent for 40 s, and marks some twenty a
#: second: of a cluster of 5000 nodes whose view is broken all but the first few hundred are in a moment of too many.
MOMENT: Final = 120.0
#: Deleted nodes that are remembered: their endpoints may be there for a while.
_DELETED: Final = 1000


class Lost(NamedTuple):
    """Why the pods of a node get nothing.

    Attributes:
        since: seconds since the epoch; 0: unknown.
        deleted: when it was deleted, if it was lost already then; else 0.
    """

    why: str
    since: float = 0.0
    deleted: float = 0.0


class Judged(NamedTuple):
    """What is made of the nodes that seem to be lost.

    Attributes:
        lost: by name, those whose endpoints get nothing.
        doubted: why others keep theirs, in words; empty: there are no others.
    """

    lost: Mapping[str, Lost]
    doubted: str = ""


NOTHING: Final = Judged({})


def judge(lost: Mapping[str, Lost], fine: int, max_percent: int) -> Judged:
    """Which of the nodes that seem to be lost are, those too that were deleted meanwhile; the rest as ``_judge``.

    Who was believed to be lost by then is out, and belongs to no other moment; who was doubted is lost anew.
    """
    if not any(one.deleted for one in lost.values()):
        return _judge(lost, fine, max_percent)
    believed = _judge(lost, fine, max_percent).lost
    anew = {name: Lost(one.why, one.deleted) for name, one in lost.items() if one.deleted and name not in believed}
    return _judge({**lost, **anew}, fine, max_percent)


def _judge(lost: Mapping[str, Lost], fine: int, max_percent: int) -> Judged:
    """Which of the nodes that seem to be lost are. The same whatever the order of *lost*, and whenever it is asked.

    Of the nodes that are left when a moment begins, so many may go in it and no more; every loss begins one, so moments overlap.
    Hence who was lost longer ago than a moment stays what it was, out or doubted, whatever is lost later: no dead node comes
    back because others die. And doubt stays, whatever time passes, until some of its nodes come back, or are deleted (which is
    another moment).

    Args:
        lost: by name. Those that were lost nobody knows when count as one moment.
        fine: how many nodes there are besides.
        max_percent: of the nodes that are left, so many may be lost in a moment.
    """
    order = sorted(lost, key=lambda name: (lost[name].since, name))
    total = fine + len(lost)
    doubted: list[tuple[int, int]] = []
    for first, end in _moments([lost[name].since for name in order]):
        if (end - first) * 100 > (total - first) * max_percent:
            begin = doubted.pop()[0] if doubted and first < doubted[-1][1] else first
            doubted.append((begin, end))
    kept = {name for first, end in doubted for name in order[first:end]}
    return Judged({name: lost[name] for name in order if name not in kept}, _words(doubted, total))


def _moments(times: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Where each begins and ends in *times*, which are sorted."""
    for first, since in enumerate(times):
        if first == 0 or since != times[first - 1]:
            yield first, bisect.bisect_right(times, since + MOMENT)


def _words(doubted: list[tuple[int, int]], total: int) -> str:
    if not doubted:
        return ""
    number = sum(end - first for first, end in doubted)
    if len(doubted) == 1:
        return f"{number} of {total - doubted[0][0]} nodes are lost at the same moment: their endpoints are kept"
    return f"{number} of {total} nodes are lost, at {len(doubted)} moments too many at once: their endpoints are kept"


class Nodes:
    """The nodes by name. Where none is known (a folder of manifests), none is lost."""

    def __init__(self) -> None:
        self._known: dict[str, Node] = {}
        self._deleted: dict[str, Lost] = {}

    def put(self, name: str, node: Node | None, now: float) -> bool:
        """Remember *node*, or that it is gone as of *now*; whether endpoints may be judged otherwise."""
        before = self._known.get(name)
        if node is None:
            if before is not None:
                del self._known[name]
                why = f"node {name} was deleted"
                self._remember(name, Lost(why, before.since, now) if before.lost else Lost(why, now))
            return before is not None
        if node.joining and before is not None and not before.joining:
            # In its first minute its condition alone does not tell (``read_node``), but it was seen ready.
            node = before if before.lost else replace(node, joining=False, lost="is not ready", since=now)
        self._known[name] = node
        back = self._deleted.pop(name, None) is not None
        if back or before == node:
            return back
        return self.any_lost or bool(before and before.lost)

    def listed(self, used: Collection[str]) -> None:
        """All nodes are known by now. What endpoints name and is not there was deleted before anybody looked.

        Only now: a node that is named later may be one that the watch of nodes has not told of yet.
        """
        for name in sorted(set(used) - self._known.keys() - self._deleted.keys()) if self._known else ():
            self._remember(name, Lost(f"node {name} does not exist"))

    def _remember(self, name: str, lost: Lost) -> None:
        self._deleted[name] = lost
        while len(self._deleted) > _DELETED:
            del self._deleted[next(iter(self._deleted))]

    @property
    def any_lost(self) -> bool:
        return bool(self._deleted) or any(one.lost for one in self._known.values())

    @property
    def deleted(self) -> AbstractSet[str]:
        """Those that are remembered; they count while endpoints name them."""
        return self._deleted.keys()

    def names(self) -> set[str]:
        return set(self._known)

    def judged(self, used: Collection[str], max_percent: int) -> Judged:
        """Which nodes are lost under a policy.

        Args:
            used: the nodes that endpoints name; deleted ones count only while they do.
            max_percent: see ``judge``.
        """
        found = {name: Lost(f"node {name} {one.lost}", one.since) for name, one in self._known.items() if one.lost}
        fine = sum(not (one.lost or one.joining) for one in self._known.values())
        return judge(found | {name: why for name, why in self._deleted.items() if name in used}, fine, max_percent)
