"""How long proxies take to hear that a pod ends, and what follows for the pod: its preStop sleep, its grace period. Pure.

A pod that is told to end and its leaving the load assignments are two ways of the same news. Until the second has arrived
everywhere, proxies send the pod new requests: it must go on serving for that long.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from fairlead_operator.conditions import Problem, some_of

#: Seconds in which the slowest change counts, in steps of so many.
WINDOW: Final = 3600.0
_STEP: Final = 300.0
#: The advice is so many times what was measured: the next change may be slower than all before.
_MARGIN: Final = 2.0
#: Seconds of the longest advice: a proxy that takes longer is not slow but stuck, which no sleep of a pod mends.
_LONGEST: Final = 20


class Slowest:
    """The slowest of the changes of the last hour. Times are of any clock that does not go back."""

    def __init__(self) -> None:
        self._steps: dict[int, float] = {}

    def observe(self, seconds: float, now: float) -> None:
        """A change took so long from its event to its last acknowledgement."""
        step = int(now // _STEP)
        self._steps[step] = max(seconds, self._steps.get(step, 0.0))

    def seconds(self, now: float) -> float:
        """0: there was none."""
        oldest = int((now - WINDOW) // _STEP)
        self._steps = {step: most for step, most in self._steps.items() if step >= oldest}
        return max(self._steps.values(), default=0.0)


def pre_stop(slowest: float) -> int:
    """Seconds that a pod should sleep before it ends (``lifecycle.preStop.sleep``): whole ones, from 1 to 20."""
    return max(1, math.ceil(min(slowest * _MARGIN, _LONGEST)))


def too_short(graces: Iterable[tuple[str, int]], slowest: float) -> Problem | None:
    """What to say of the pods whose ``terminationGracePeriodSeconds`` ends before proxies know, or at once after that."""
    sleep = pre_stop(slowest)
    pods = sorted(name for name, grace in graces if grace <= sleep)
    if not pods:
        return None
    why = f"the slowest change of the last hour took {slowest:.2f} s" if slowest else "no change was measured yet"
    return Problem(
        "GracePeriodTooShort",
        "",
        f"pods are killed before every proxy knows that they end ({len(pods)}): {some_of(pods)}: give them a preStop sleep of "
        f"{sleep} s and a terminationGracePeriodSeconds of that and what their requests take ({why})",
    )
