"""Which endpoints of a Service turn not ready again and again, and when they did. Pure; a part of ``World``, which says when.

An endpoint that flips every second would else be a change for every proxy twice a second. What is remembered here keeps it out
for a time that grows (``health``), so that most of its flips change nothing; it ends by itself.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.slices import SliceEndpoint
from fairlead_xds.runs import common_ends

#: Turns that are remembered of an endpoint, and for how many seconds after the last one.
KEPT: Final = 16
MEMORY: Final = 3600.0
#: Endpoints that are remembered: more than flip in any cluster that works.
MOST: Final = 65536
#: Fewer than these are no flapping under any policy.
_FEWEST: Final = 2
Who = tuple[str, str]
"""The address and the pod of an endpoint."""

Turned = Mapping[Who, tuple[float, ...]]
NO_TURNS: Final[Turned] = {}

turned_as: Final = operator.itemgetter(0, SliceEndpoint._fields.index("pod"))
"""``Who`` an endpoint is."""


class Flaps:
    """By Service and endpoint, when endpoints turned from ready to not ready (seconds since the epoch).

    By Service: a pod that turns once does so in each of its Services, at moments of their own. By address and pod: pods of a
    node's network share one address, and a pod may get the address of another one that is gone.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        #: The one that turned last is the last: what is to be forgotten stands in front, whatever its Service.
        self._turns: OrderedDict[tuple[Ref, Who], tuple[float, ...]] = OrderedDict()
        self._notable: dict[Ref, dict[Who, tuple[float, ...]]] = {}

    def __len__(self) -> int:
        """Endpoints that are remembered."""
        return len(self._turns)

    def seen(self, service: Ref, before: Sequence[SliceEndpoint], after: Sequence[SliceEndpoint], now: float) -> None:
        """A slice was replaced. One that leaves and comes back is another pod, or the same: it counts as it was."""
        start, end = common_ends(before, after)
        changed = after[start : len(after) - end]
        if not changed:
            return
        were = {turned_as(endpoint): endpoint for endpoint in before[start : len(before) - end]}
        for endpoint in changed:
            was = were.get(turned_as(endpoint))
            # One that terminates does not come back.
            if was is not None and was.ready and not endpoint.ready and not endpoint.terminating:
                self._turned(service, turned_as(endpoint), now)

    def of(self, service: Ref, now: float) -> Turned:
        """The endpoints of *service* that turned at least twice not long ago."""
        self._forget(now)
        return self._notable.get(service, NO_TURNS)

    def _turned(self, service: Ref, who: Who, now: float) -> None:
        times = (*self._turns.pop((service, who), ()), now)[-KEPT:]
        self._turns[service, who] = times
        if len(times) >= _FEWEST:
            self._notable.setdefault(service, {})[who] = times
        self._forget(now)

    def _forget(self, now: float) -> None:
        while self._turns:
            oldest = next(iter(self._turns))
            if len(self._turns) <= self._most and self._turns[oldest][-1] >= now - MEMORY:
                return
            del self._turns[oldest]
            service, who = oldest
            there = self._notable.get(service, {})
            there.pop(who, None)
            if not there:
                self._notable.pop(service, None)
