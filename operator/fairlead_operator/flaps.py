"""Which endpoints turn not ready again and again, and when they did. Pure; a part of ``World``, which says when.

An endpoint that flips every second would else be a change for every proxy twice a second. What is remembered here keeps it out
for a time that grows (``health``), so that most of its flips change nothing; it ends by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from fairlead_operator.api.core import SliceEndpoint
from fairlead_xds.runs import common_ends

#: Turns that are remembered of an endpoint, and for how many seconds after the last one.
KEPT: Final = 16
MEMORY: Final = 3600.0
#: Fewer than these are no flapping under any policy.
_FEWEST: Final = 2
NONE: Final[Mapping[str, tuple[float, ...]]] = {}


class Flaps:
    """By namespace and address, when endpoints turned from ready to not ready (seconds since the epoch)."""

    def __init__(self) -> None:
        self._turns: dict[str, dict[str, tuple[float, ...]]] = {}
        self._notable: dict[str, dict[str, tuple[float, ...]]] = {}

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
        found = self._notable.get(namespace)
        if found is None:
            return NONE
        for address in [address for address, times in found.items() if times[-1] < now - MEMORY]:
            del found[address]
        if not found:
            del self._notable[namespace]
        return found

    def _turned(self, namespace: str, address: str, now: float) -> None:
        there = self._turns.setdefault(namespace, {})
        for old in [one for one, times in there.items() if times[-1] < now - MEMORY]:
            del there[old]
        times = there[address] = (*there.get(address, ()), now)[-KEPT:]
        if len(times) >= _FEWEST:
            self._notable.setdefault(namespace, {})[address] = times
