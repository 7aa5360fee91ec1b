"""What a load has seen: every request of it, counted and judged."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        began: wall clock of the cluster's machines, seconds; the same clock for all loads.
        failure: "" or how it failed, by ``e2e/app/load.py``.
        client: who sent it: each is a client with a connection and cookies of its own.
        way: what it went through, for people: ``the gateway``, ``a sidecar``.
    """

    began: float
    status: int
    pod: str
    milliseconds: float
    failure: str
    client: str
    way: str

    @property
    def good(self) -> bool:
        return self.status == 200 and not self.failure


@dataclasses.dataclass(frozen=True)
class Report:
    """What loads have seen, or a part of it."""

    requests: tuple[Request, ...]

    @classmethod
    def joined(cls, reports: Iterable[Report]) -> Report:
        return cls(tuple(request for report in reports for request in report.requests))

    def __len__(self) -> int:
        return len(self.requests)

    def after(self, began: float) -> Report:
        return Report(tuple(request for request in self.requests if request.began >= began))

    def ways(self) -> dict[str, Report]:
        """The parts that went through the gateway, and through a sidecar."""
        names = dict.fromkeys(request.way for request in self.requests)
        return {name: Report(tuple(one for one in self.requests if one.way == name)) for name in names}

    @property
    def failed(self) -> list[Request]:
        return [request for request in self.requests if not request.good]

    def by_app(self) -> collections.Counter[str]:
        """Good answers for each Deployment."""
        return collections.Counter(request.pod.rsplit("-", 2)[0] for request in self.requests if request.good)

    def by_pod(self) -> collections.Counter[str]:
        return collections.Counter(request.pod for request in self.requests if request.good)

    def percentile(self, share: float) -> float:
        """Milliseconds within which that share of the requests was answered."""
        times = sorted(request.milliseconds for request in self.requests if request.good)
        return times[min(len(times) - 1, int(len(times) * share))] if times else 0.0

    def words(self) -> str:
        """`through the gateway 1,234 requests, 0 failed, p99 4 ms; through a sidecar …`, with what failed named."""
        return "; ".join(f"through {way} {report._counts()}" for way, report in self.ways().items()) or "no request"

    def _counts(self) -> str:
        text = f"{len(self):,} requests, {len(self.failed)} failed, p99 {self.percentile(0.99):.0f} ms"
        kinds = collections.Counter((request.failure or str(request.status)) for request in self.failed)
        return text + (f" ({', '.join(f'{count} {kind}' for kind, count in kinds.most_common())})" if kinds else "")
