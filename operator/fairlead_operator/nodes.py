"""Which nodes are lost, and whether that can be believed. Pure; a part of ``World``.

When many nodes are lost at the same moment, it is more likely that the control plane of the cluster cannot see them: then
their endpoints stay, because sending requests nowhere helps nobody. Those that were lost one by one are believed, however
many they have become.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple

from fairlead_operator.api.nodes import Node

#: Seconds between two losses of one moment. Kubernetes looks every 5 s for nodes that have been silent for 40 s, and marks some
#: twenty a second: all of a large cluster take minutes, but never this long from one to the next.
MOMENT: Final = 120.0
#: Deleted nodes that are remembered: their endpoints may be there for a while.
_DELETED: Final = 1000


class Lost(NamedTuple):
    """Why the pods of a node get nothing, and since when (seconds since the epoch; 0: unknown)."""

    why: str
    since: float = 0.0


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
    """Which of the nodes that seem to be lost are. The same whatever the order of *lost*, and whenever it is asked.

    Moment by moment, the first one first: of the nodes that were left then, so many may go and no more. A moment that is not
    believed stays so, whatever time passes, until some of its nodes come back, or are deleted (which is another moment).

    Args:
        lost: by name. Those that were lost nobody knows when count as one moment.
        fine: how many nodes there are besides.
        max_percent: of the nodes that are left, so many may be lost in a moment.
    """
    left = fine + len(lost)
    believed: dict[str, Lost] = {}
    doubted: list[tuple[int, int]] = []
    for moment in _moments(lost):
        if len(moment) * 100 > left * max_percent:
            doubted.append((len(moment), left))
        else:
            believed |= {name: lost[name] for name in moment}
        left -= len(moment)
    return Judged(believed, _words(doubted, len(lost) + fine))


def _moments(lost: Mapping[str, Lost]) -> Iterator[list[str]]:
    """Names that were lost one soon after the other, the first ones first.

    A chain, not a fixed span: else a broken view of a cluster that is large enough would be many small losses.
    """
    moment: list[str] = []
    last = 0.0
    for since, name in sorted((one.since, name) for name, one in lost.items()):
        if moment and since - last > MOMENT:
            yield moment
            moment = []
        moment.append(name)
        last = since
    if moment:
        yield moment


def _words(doubted: list[tuple[int, int]], total: int) -> str:
    if not doubted:
        return ""
    if len(doubted) == 1:
        number, left = doubted[0]
        return f"{number} of {left} nodes are lost at the same moment: their endpoints are kept"
    number, times = sum(number for number, _ in doubted), len(doubted)
    return f"{number} of {total} nodes are lost, at {times} moments too many at once: their endpoints are kept"


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
                self._remember(name, Lost(f"node {name} was deleted", now))
            return before is not None
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
