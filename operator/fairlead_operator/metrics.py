"""Counters and times in Prometheus' text format, for ``/metrics``."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field

#: Upper bounds in seconds of the propagation histogram.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class Histogram:
    """Counts of observations by upper bound."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str) -> list[str]:
        out, running = [], 0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            running += count
            out.append(f'{name}_bucket{{le="{bound}"}} {running}')
        return [*out, f"{name}_sum {self.total:.6f}", f"{name}_count {running}"]


@dataclass(slots=True)
class Metrics:
    """What the control plane counts.

    Attributes:
        more: lines of other parts.
    """

    propagation: Histogram = field(default_factory=Histogram)
    changes: int = 0
    more: list[Callable[[], list[str]]] = field(default_factory=list)

    def text(self, *, policies: int, programmed: int, proxies: int, status_writes: int | None = None) -> str:
        """The page."""
        lines = [
            "# HELP fairlead_propagation_seconds From an event to its acknowledgement by every proxy of a gateway.",
            "# TYPE fairlead_propagation_seconds histogram",
            *self.propagation.lines("fairlead_propagation_seconds"),
            "# HELP fairlead_changes_total Changes that every proxy of a gateway has acknowledged.",
            "# TYPE fairlead_changes_total counter",
            f"fairlead_changes_total {self.changes}",
            "# HELP fairlead_policies Policies, by whether they are programmed.",
            "# TYPE fairlead_policies gauge",
            f'fairlead_policies{{programmed="true"}} {programmed}',
            f'fairlead_policies{{programmed="false"}} {policies - programmed}',
            "# HELP fairlead_proxies_connected Proxies with an open xDS stream.",
            "# TYPE fairlead_proxies_connected gauge",
            f"fairlead_proxies_connected {proxies}",
        ]
        if status_writes is not None:
            lines += ["# TYPE fairlead_status_writes_total counter", f"fairlead_status_writes_total {status_writes}"]
        for part in self.more:
            lines += part()
        return "\n".join(lines) + "\n"
