"""Tells of faults (``faults``) in the log: each once, with its traceback, however often its lane runs."""

from __future__ import annotations

import logging
import traceback

from fairlead_operator.api.meta import Ref
from fairlead_operator.faults import Fault

log = logging.getLogger(__name__)

#: Faults that are remembered as told.
_MOST = 1000


class FaultLog:
    """One for a control plane."""

    def __init__(self) -> None:
        self._told: set[tuple[Ref, str, str]] = set()

    def tell(self, fault: Fault) -> None:
        """Log *fault*, unless its policy had the same at the same line: what it says may differ each time."""
        frames = traceback.extract_tb(fault.error.__traceback__)
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        form = (fault.policy, type(fault.error).__name__, where)
        if form in self._told:
            return
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told.add(form)
        log.error("a mistake in Fairlead, of %s alone: %s", fault.policy, fault.error, exc_info=fault.error)
