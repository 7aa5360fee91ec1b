"""Which endpoints turn not ready again and again, and when they did. Pure; a part of ``World``, which says when.

An endpoint that flips every second would else be a change for every proxy twice a second. What is remembered here keeps it out
for a time that grows (``health``), so that most of its flips change nothing; it ends by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from fairlead_operator.api.core import SliceEndpoint
from fairlead_xds.runs import common_ends

#: Turns that are remembered of an endpoint, and for how many seconds after the last one.
KEPT: Final = 16
MEMORY: Final = 3600.0
#: Endpoints that are remembered: more than flip in any cluster that works.
MOST: Final = 65536
#: Fewer than these are no flapping under any policy.
_FEWEST: Final = 2
NONE: Final[Mapping[str, tuple[float, ...]]] = {}


class Flaps:
    """By namespace and address, when endpoints turned from ready to not ready (seconds since the epoch)."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        #: The one that turned last is the last: what is to be forgotten stands in front, whatever its namespace.
        self._turns: OrderedDict[tuple[str, str], tuple[float, ...]] = OrderedDict()
        self._notable: dict[str, dict[str, tuple[float, ...]]] = {}

    def __len__(self) -> int:
        """Endpoints that are remembered."""
        return len(self._turns)

    def seen(self, namespace: str, before: Sequence[SliceEndpoint], after: Sequence[SliceEndpoint], now: float) -> None:
        """A slice was replaced. One that leaves and comes back is another pod, or the same: it counts as it was."""
        start, end = common_ends(before, after)
        changed = after[start : len(after) - end]
        if not changed:
            return
        were = {endpoint.address: endpoint for endpoint in before[start : len(before) - end]}
        for endpoint in changed:
            was = were.get(endpoint.address)
            # One that terminates does not come back.
            if was is not None and was.ready and not endpoint.ready and not endpoint.terminating:
                self._turned(namespace, endpoint.address, now)

    def of(self, namespace: str, now: float) -> Mapping[str, tuple[float, ...]]:
        """The endpoints of *namespace* that turned at least twice not long ago."""
        self._forget(now)
        return self._notable.get(namespace, NONE)

    def _turned(self, namespace: str, address: str, now: float) -> None:
        times = (*self._turns.pop((namespace, address), ()), now)[-KEPT:]
        self._turns[namespace, address] = times
        if len(times) >= _FEWEST:
            self._notable.setdefault(namespace, {})[address] = times
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._turns:
            oldest = next(iter(self._turns))
            if len(self._turns) <= self._most and self._turns[oldest][-1] >= now - MEMORY:
                return
            del self._turns[oldest]
            namespace, address = oldest
            there = self._notable.get(namespace, {})
            there.pop(address, None)
            if not there:
                self._notable.pop(namespace, None)
