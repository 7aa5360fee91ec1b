"""``python -m bench [--json] [--quick] [NAME...]``: measures, prints, and ends with 0 whatever the figures are."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

from bench import computing, serving, with_envoy
from bench.figure import Figure, table
from fairlead_xds import eventloop

Measure = Callable[..., Awaitable[Sequence[Figure]]]

SUITES: dict[str, Measure] = {
    "computing": computing.measure,
    "envoy": with_envoy.measure,
    "grpc": serving.alone,
    "serving": serving.measure,
}
SERVICES = (10, 1000)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the figures as JSON")
    parser.add_argument("--quick", action="store_true", help="a fifth of the runs")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(SUITES)}; default: all")
    args = parser.parse_args()
    if unknown := set(args.names) - SUITES.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    eventloop.prepare()  # for the children
    figures: list[Figure] = []
    before = _slowness()
    for name in args.names or SUITES:
        for services in SERVICES:
            print(f"{name}, {services} services …", file=sys.stderr, flush=True)
            figures += asyncio.run(_run(SUITES[name], services, quick=args.quick))
    after = _slowness()
    machine = {
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "slowness_ms": [before, after],
    }
    if args.json:
        print(json.dumps({"machine": machine, "figures": [figure.row() for figure in figures]}, indent=2))
    else:
        print(table(figures))
        print(f"Python {machine['python']}, {machine['cores']} cores, load {machine['load']}. A target is for the p50.")
        print(
            f"A million additions took {before} ms of CPU before and {after} after: what else runs here slows all alike."
        )
    return 0


def _slowness() -> float:
    """ms of CPU for a fixed piece of work: tells a slow machine, or a busy one, from a slow program."""
    samples = []
    for _ in range(9):
        start = time.thread_time()
        total = 0
        for number in range(1_000_000):
            total += number
        samples.append((time.thread_time() - start) * 1000)
    return round(statistics.median(samples), 1)


async def _run(measure: Measure, services: int, *, quick: bool) -> Sequence[Figure]:
    return await measure(services, quick=quick)


if __name__ == "__main__":
    sys.exit(main())
