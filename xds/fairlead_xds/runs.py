"""What two sequences have in common at both ends, by identity: one change among many is found without a look at the rest."""

from __future__ import annotations

from collections.abc import Sequence


def common_ends(old: Sequence[object], new: Sequence[object]) -> tuple[int, int]:
    """How many items at the start, and how many of the rest at the end, are the same objects."""
    most = min(len(old), len(new))
    start = 0
    for one, other in zip(old, new, strict=False):
        if one is not other:
            break
        start += 1
    end = 0
    while end < most - start and old[-1 - end] is new[-1 - end]:
        end += 1
    return start, end
