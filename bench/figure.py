"""One measured figure, and the table of them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Samples of one quantity.

    Attributes:
        what: for people.
        services: how many the control plane had.
        streams: how many proxies were connected.
        unit: of the samples.
        samples: one a run; what is judged is their median, as other work on the machine disturbs single runs.
        target: the most that the median may be; ``None``: for information.
    """

    what: str
    services: int
    streams: int = 0
    unit: str
    samples: Sequence[float] = field(repr=False)
    target: float | None = None

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def p99(self) -> float:
        """The sample below which 99 % lie; the greatest of fewer than a hundred."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.median <= self.target

    def row(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "what": self.what,
            "services": self.services,
            "streams": self.streams,
            "unit": self.unit,
            "p50": self.median,
            "p99": self.p99,
            "samples": len(self.samples),
            "target": self.target,
            "met": self.met,
        }


_HEAD = ("", "services", "streams", "p50", "p99", "unit", "target", "", "runs")


def table(figures: Sequence[Figure]) -> str:
    """The figures in columns; a target that was missed says so."""
    rows = [_HEAD, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column in {0, 5, 7} else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def _cells(figure: Figure) -> tuple[str, ...]:
    target = "" if figure.target is None else f"≤ {figure.target:g}"
    verdict = {None: "", True: "met", False: "MISSED"}[figure.met]
    streams = str(figure.streams) if figure.streams else "-"
    p99 = _number(figure.p99) if len(figure.samples) > 1 else "-"
    numbers = (str(figure.services), streams, _number(figure.median), p99)
    return (figure.what, *numbers, figure.unit, target, verdict, str(len(figure.samples)))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value >= 1 or value == 0 else f"{value:.2f}"
