"""What a pod's status tells of its containers, beyond ready or not: restarts, what they wait for, since when. Pure.

Fields are those of ``core/v1`` PodStatus. Times are seconds since the epoch; 0 is unknown.
"""

from __future__ import annotations

import datetime
import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from fairlead_operator.api import probes
from fairlead_operator.api.lenient import child, children, text

#: Restarts that are remembered of a pod: no policy counts more.
KEPT: Final = 16
#: Seconds between two runs where nothing tells: the kubelet's first back-off.
_GAP: Final = 10.0
#: Seconds in which a kubelet first tells of a pod that it starts; times are in whole ones.
_FIRST: Final = 3.0
#: Seconds within which the runs of several containers end together: their node, or the pod's sandbox, was started again.
_TOGETHER: Final = 10.0
_YEAR: Final = 366 * 86400


class Restarts(NamedTuple):
    """The restarts of a pod's containers.

    Attributes:
        counts: by container, as the kubelet counts.
        times: when runs ended, the latest last; at most ``KEPT``. Containers that end together count as one.
        started: when the youngest container began to run; 0: one of them does not run.
        of: whose runs those of *times* were.
        ahead: seconds by which that was in the future when it was first told: the clock of the node is wrong.
    """

    counts: tuple[tuple[str, int], ...] = ()
    times: tuple[float, ...] = ()
    started: float = 0.0
    of: tuple[str, ...] = ()
    ahead: float = 0.0

    @property
    def began(self) -> float:
        """When the last run began, as far as anybody can tell, by the clock of whoever reads it."""
        return (self.started or self.ended) - self.ahead

    @property
    def ended(self) -> float:
        """When the run before it ended."""
        return (self.times[-1] if self.times else 0.0) - self.ahead

    def within(self, seconds: float) -> int:
        """How many there were in the *seconds* before the containers last started."""
        if not self.times:
            return 0
        began = (self.started or self.times[-1]) - seconds
        return sum(time > began for time in self.times)


NONE: Final = Restarts()


@dataclass(frozen=True, slots=True)
class PodState:
    """What ``health`` asks of a pod.

    Attributes:
        restarts: of its containers; sidecars that are init containers do not count.
        waiting: why a container does not run: ``CrashLoopBackOff``, ``ContainerCreating``.
        starting: a startup probe has not passed yet.
        ready_since: when the condition Ready last changed.
        deleted: when it was asked to end.
        grace: seconds that it has for that (``terminationGracePeriodSeconds``).
        probes: of its containers.
        ip: its address; empty: it has none yet.
        ready: what the condition Ready says.
        joining: it is not ready, and has not been since its kubelet started it.
    """

    restarts: Restarts = NONE
    waiting: str = ""
    starting: bool = False
    ready_since: float = 0.0
    deleted: float = 0.0
    grace: int = 30
    probes: probes.Probes = probes.NONE
    ip: str = ""
    ready: bool = False
    joining: bool = False

    def since(self, *, ready: bool) -> float:
        """Since when it is *ready*, or is not; 0 where its slice says so and it does not yet: they come one after the other."""
        return self.ready_since if self.ready == ready else 0.0

    def outages(self) -> tuple[float, float]:
        """Since when it is not ready, and ends: what is told of an endpoint that is out and decides nothing."""
        return self.since(ready=False), self.deleted

    @property
    def notable(self) -> bool:
        """It may get something else than what its endpoint's conditions say."""
        return bool(self.restarts.times or self.waiting or self.starting)

    def judged_by(self) -> tuple[Restarts, str, bool]:
        """What of it decides over health: the rest is for people."""
        return self.restarts, self.waiting, self.starting

    @property
    def hasty(self) -> bool:
        """It has less time to end than pods have by default, and was not told to end yet."""
        return self.grace < 30 and not self.deleted


UNKNOWN: Final = PodState()


def read_state(raw: Mapping[str, Any], before: PodState | None = None, now: float = math.inf) -> PodState:
    """The state of a Pod; *before*: of the same pod; *now*: the time. Whatever is not as the API has it counts as not there."""
    metadata, spec, status = (child(raw, name) for name in ("metadata", "spec", "status"))
    statuses = list(children(status, "containerStatuses"))
    running = [child(child(one, "state"), "running") for one in statuses]
    waiting = (_waits(child(one, "state")) for one in statuses)
    ready = next((one for one in children(status, "conditions") if one.get("type") == "Ready"), {})
    grace = metadata.get("deletionGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    # The API takes any 64-bit number; a longer time than a year is no time.
    seconds = grace if type(grace) is int and 0 <= grace <= _YEAR else 30
    deleted = _time(metadata.get("deletionTimestamp"))
    return PodState(
        _restarts(statuses, before.restarts if before is not None else None, now),
        next(filter(None, waiting), ""),
        any(run and one.get("started") is False for one, run in zip(statuses, running, strict=True)),
        _time(ready.get("lastTransitionTime")),
        max(0.0, deleted - seconds) if deleted else 0.0,
        seconds,
        probes.read_probes(spec),
        text(status, "podIP"),
        ready.get("status") == "True",
        _joins(ready, _time(status.get("startTime"))),
    )


def _waits(state: Mapping[str, Any]) -> str:
    """Why a container waits, in the kubelet's word, whichever: it knows more of them than the API lists. Empty: it does not."""
    return (text(child(state, "waiting"), "reason") or "Waiting") if isinstance(state.get("waiting"), dict) else ""


def _joins(ready: Mapping[str, Any], started: float) -> bool:
    """The kubelet says Ready ``False`` when it first tells of a pod, and that keeps its time until the pod is ready once."""
    return (
        bool(started) and ready.get("status") == "False" and _time(ready.get("lastTransitionTime")) <= started + _FIRST
    )


def _restarts(statuses: Iterable[Mapping[str, Any]], before: Restarts | None, now: float) -> Restarts:
    """Those of *before* and what came since; of a pod that was not seen before, its earlier runs are taken to be as the last."""
    counts, started = dict[str, int](), 0.0
    ends = list(zip(before.times, before.of, strict=True)) if before else []
    known = dict(before.counts) if before else {}
    runs = True
    for one in statuses:
        count = one.get("restartCount")
        if type(count) is not int or count <= 0:
            count = 0
        name = text(one, "name")
        counts[name] = count
        state = child(one, "state")
        last = child(state, "terminated") or child(child(one, "lastState"), "terminated")
        began = _time(child(state, "running").get("startedAt"))
        runs = runs and bool(began)
        started = max(started, began)
        fresh = count - known.get(name, 0)
        ended = _time(last.get("finishedAt"))
        if fresh <= 0 or not ended:
            continue
        gap = max(1.0, (began or ended + _GAP) - (_time(last.get("startedAt")) or ended))
        others = [end for end, of in ends if of != name]
        fresh_ends = [ended - number * gap for number in range(min(fresh, KEPT))]
        ends += [(end, name) for end in fresh_ends if all(abs(end - other) >= _TOGETHER for other in others)]
    if not ends and not any(counts.values()):
        return NONE
    kept = sorted(ends)[-KEPT:]
    times, of = tuple(end for end, _ in kept), tuple(name for _, name in kept)
    found = Restarts(tuple(sorted(counts.items())), times, started if runs else 0.0, of)
    if before is not None and before[:4] == found[:4]:
        return before  # told again: it is not in the future any more, perhaps
    return found._replace(ahead=max(0.0, found.began - now))


def _time(value: Any) -> float:
    return seconds_of(value) if isinstance(value, str) else 0.0


@functools.lru_cache(maxsize=4096)
def seconds_of(written: str) -> float:
    """An RFC 3339 time as seconds since the epoch; 0 for what is none."""
    try:
        found = datetime.datetime.fromisoformat(written)
        return found.timestamp() if found.tzinfo else 0.0
    except (ValueError, OverflowError):
        return 0.0
