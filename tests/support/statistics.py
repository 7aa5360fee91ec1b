"""Bounds that a right distribution leaves less than once in a million runs.

Envoy's random numbers cannot be seeded, so traffic tests do not compare with an expected count but with what chance
allows. ``RARE`` is split over the counts that a test looks at (Bonferroni), so it holds for the test as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

RARE = 1e-6


def binomial_bounds(n: int, p: float, *, looks: int = 1) -> tuple[int, int]:
    """Smallest and largest count of *n* trials of probability *p*, exact: outside of it with less than RARE / *looks*."""
    tail = RARE / looks / 2
    mass = [_mass(n, p, k) for k in range(n + 1)]
    low, total = 0, mass[0]
    while total <= tail:
        low += 1
        total += mass[low]
    high, total = n, mass[n]
    while total <= tail:
        high -= 1
        total += mass[high]
    return low, high


def _mass(n: int, p: float, k: int) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def chi_square(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Pearson's statistic of *counts* against shares in proportion to *weights*."""
    total = sum(counts) / sum(weights)
    return sum((count - total * weight) ** 2 / (total * weight) for count, weight in zip(counts, weights, strict=True))


def chi_square_bound_of_three() -> float:
    """What Pearson's statistic of three counts exceeds with RARE: with two degrees of freedom P(X > x) = exp(-x / 2)."""
    return -2 * math.log(RARE)
