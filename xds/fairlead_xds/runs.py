"""What two sequences have in common at both ends, by identity: one change among many is found without a look at the rest."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Sequence
from itertools import compress, count


def common_ends(old: Sequence[object], new: Sequence[object]) -> tuple[int, int]:
    """How many items at the start, and how many of the rest at the end, are the same objects."""
    most = min(len(old), len(new))
    start = _first(map(operator.is_not, old, new), most)
    if start == most:
        return start, 0
    return start, _first(map(operator.is_not, reversed(old), reversed(new)), most - start)


def _first(flags: Iterator[bool], most: int) -> int:
    """Where the first true one of *flags* is, *most* at most. Without a loop in Python."""
    return min(next(compress(count(), flags), most), most)
