"""How long to wait after a failure: growing, and never the same for two replicas."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fairlead_operator.sources.client import CONNECTION_ERRORS

#: Most seconds between two looks for an API server that is not there: to be behind for longer than it was gone is worse
#: than the few requests that this costs.
RECONNECT: Final = 2.0


@dataclass(slots=True)
class Backoff:
    """Delays in seconds from *first*, doubling up to *longest*, each shortened by up to half at random."""

    first: float = 0.1
    longest: float = 30.0
    chance: Callable[[], float] = random.random
    _failures: int = 0

    def next(self) -> float:
        """The delay before the next attempt."""
        delay = min(self.longest, self.first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return delay * (1 - self.chance() / 2)

    def reset(self) -> None:
        """It works again."""
        self._failures = 0


class Backoffs:
    """For what an API server answers, and for one that is *away*.

    Two, because one that comes back refuses the first requests: after an outage those are no long row of failures.
    """

    def __init__(self, first: float, longest: float) -> None:
        self._answers, self._away = Backoff(first, longest), Backoff(first, min(longest, RECONNECT))

    def after(self, error: BaseException | None) -> float:
        """The delay before the next attempt; *error*: why the last one failed, or None: it ended."""
        return (self._away if isinstance(error, CONNECTION_ERRORS) else self._answers).next()

    def reset(self) -> None:
        """It works again."""
        self._answers.reset()
        self._away.reset()
