"""A figure of the cluster, in milliseconds."""

from __future__ import annotations

from bench.figure import Figure


def milliseconds(what: str, samples: list[float], *, target: float | None = None) -> Figure:
    return Figure(what=what, services=1, unit="ms", samples=samples, target=target)
