"""The operators' own histogram of propagation: from an event to its acknowledgement by every proxy that it concerns."""

from __future__ import annotations

import dataclasses
import re
import urllib.request
from typing import Self

from e2e.support.running import RunningCluster

OPERATORS, PORT = "app.kubernetes.io/component=operator", 18001
_BUCKET = re.compile(r'^fairlead_propagation_seconds_bucket\{le="([^"]+)"\} (\d+)$', re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Propagation:
    """Upper bound of each bucket -> how many were at most that long, of all replicas together."""

    counts: dict[float, int]

    @classmethod
    def read(cls, cluster: RunningCluster) -> Self:
        counts: dict[float, int] = {}
        for pod in cluster.pods("fairlead-system", OPERATORS):
            path = cluster.proxied("fairlead-system", pod["metadata"]["name"], PORT, "metrics")
            with urllib.request.urlopen(cluster.url + path, context=cluster.tls, timeout=10) as response:
                for bound, count in _BUCKET.findall(response.read().decode()):
                    counts[float(bound)] = counts.get(float(bound), 0) + int(count)
        return cls(counts)

    def since(self, before: Propagation) -> Propagation:
        return Propagation({bound: count - before.counts.get(bound, 0) for bound, count in self.counts.items()})

    def bound(self, share: float) -> float:
        """Bound of the bucket within which that share of the changes lies; infinite where there was none."""
        total = max(self.counts.values(), default=0)
        return min(
            (bound for bound, count in self.counts.items() if total and count >= share * total), default=float("inf")
        )

    def words(self) -> str:
        total = max(self.counts.values(), default=0)
        within = ", ".join(
            f"{count} within {bound * 1000:g} ms" for bound, count in sorted(self.counts.items()) if count
        )
        return f"{total} changes acknowledged: {within}"
