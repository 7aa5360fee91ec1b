"""Python's cyclic collector, told what the memory of a server is like. Used by the commands that serve."""

from __future__ import annotations

import gc
from typing import Final

#: Allocations between two looks at the youngest objects. Python's 700 are a few pushes: with 100 streams one change in
#: twenty then paid for a look at all that there is.
YOUNG: Final = 10_000


def tune() -> None:
    """Call it once, when the modules are loaded: they are for ever, and are never looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 10, 10)
