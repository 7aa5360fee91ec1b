"""The proxies of all replicas together: what this one says of its own, and what the others said last. No I/O, no clock.

A replica that died says nothing more. Its report is dropped when it was not renewed for *lasting* seconds as this process
saw them pass, since clocks of different machines may differ; or before, when its ConfigMap goes with its pod.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.propagation import pre_stop
from fairlead_operator.replicas.report import NOBODY, FleetReport, Share
from fairlead_operator.status import Rollout

#: Seconds in which a proxy that has moved to another replica may be in the reports of both.
LAG: Final = 3.0

#: Policies whose status may be another now; ``None``: any.
Doubt = set[Ref] | None


@dataclass(slots=True)
class _Heard:
    """One other replica. ``since`` is when its report was seen to change last."""

    report: FleetReport
    stamp: str
    since: float


class Peers:
    """One for a process.

    Attributes:
        own: the report of this replica.
        name: of this replica.
    """

    def __init__(self, name: str, *, lasting: float) -> None:
        self.name, self._lasting = name, lasting
        self._connected: dict[str, int] = {}
        self._shares: dict[Ref, Share] = {}
        self._slowest = 0.0
        self._others: dict[str, _Heard] = {}
        self._hearing_since = float("-inf")

    # --- what this replica says

    @property
    def own(self) -> FleetReport:
        return FleetReport(dict(self._connected), dict(self._shares), self._slowest)

    def serves(self, connected: Mapping[str, int]) -> None:
        """So many proxies of each key are connected here."""
        self._connected = dict(connected)

    def has(self, ref: Ref, generation: int, rollout: Rollout) -> None:
        """So far are they with one policy."""
        share = Share(generation, rollout.programmed, rollout.rejected, rollout.refusal)
        if share.tells:
            self._shares[ref] = share
        else:
            self._shares.pop(ref, None)

    def took(self, seconds: float) -> None:
        """So long the slowest change took to reach them."""
        self._slowest = math.ceil(seconds * 10) / 10

    def forget(self, ref: Ref) -> None:
        """The policy is no more."""
        self._shares.pop(ref, None)

    # --- what the others say

    @property
    def others(self) -> list[str]:
        """Names of the replicas that count."""
        return sorted(self._others)

    def heard(self, name: str, report: FleetReport, stamp: str, now: float) -> Doubt:
        """*name* has said this. *stamp* differs with each time that it does."""
        known = self._others.get(name)
        if name == self.name or (known is not None and known.stamp == stamp):
            return set()
        self._others[name] = _Heard(report, stamp, now)
        return _difference(known.report if known else NOBODY, report)

    def gone(self, name: str) -> Doubt:
        """*name* is no more."""
        known = self._others.pop(name, None)
        return _difference(known.report, NOBODY) if known is not None else set()

    def deaf(self, now: float) -> None:
        """This process cannot reach the API server: that it hears nothing says nothing about the others."""
        self._hearing_since = now

    def drop_silent(self, now: float) -> Doubt:
        """Forget those that have not been heard of for too long."""
        silent = [
            name for name, heard in self._others.items() if now - max(heard.since, self._hearing_since) > self._lasting
        ]
        doubts = [self.gone(name) for name in silent]
        known = [doubt for doubt in doubts if doubt is not None]
        return set().union(*known) if len(known) == len(doubts) else None

    # --- together

    def connected(self) -> dict[str, int]:
        """Proxies of each key, those of the others too."""
        total = Counter(self._connected)
        for heard in self._others.values():
            total.update(heard.report.connected)
        return dict(total)

    @property
    def lag(self) -> float:
        """Seconds for which ``connected`` may count a proxy twice: it needs another replica for that."""
        return LAG if self._others else 0.0

    def slowest(self) -> float:
        """Seconds that the slowest change took to reach the proxies of the others."""
        return max((heard.report.slowest for heard in self._others.values()), default=0.0)

    def total(self, ref: Ref, generation: int, rollout: Rollout) -> Rollout:
        """*rollout*, which is this replica's, with the proxies of the others."""
        reports = [heard.report for heard in self._others.values()]
        if not reports:
            return rollout
        shares = [share for report in reports if (share := report.policies.get(ref)) and share.generation == generation]
        refusals = (share.refusal for share in shares if share.refusal)
        connected = rollout.connected + _connected(reports, rollout.gateways)
        return replace(
            rollout,
            connected=connected,
            # At most all: another replica may know of pods, and so of proxies, of which this one hears in a moment.
            programmed=min(connected, rollout.programmed + sum(share.programmed for share in shares)),
            rejected=tuple(sorted({*rollout.rejected, *(name for share in shares for name in share.rejected)})),
            refusal=rollout.refusal or next(refusals, ""),
        )


def _connected(reports: Iterable[FleetReport], keys: Iterable[str]) -> int:
    return sum(report.connected.get(key, 0) for report in reports for key in keys)


def _difference(old: FleetReport, new: FleetReport) -> Doubt:
    if old.connected != new.connected or pre_stop(old.slowest) != pre_stop(new.slowest):
        return None
    return {ref for ref in old.policies.keys() | new.policies.keys() if old.policies.get(ref) != new.policies.get(ref)}
