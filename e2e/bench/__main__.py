"""``python -m e2e.bench [--json FILE]``: measures in the cluster that runs (`make cluster`), prints a table.

It ends with 0 whatever the figures are; the table says which targets were missed.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import secrets
import signal
import sys

from bench.figure import Figure, table
from e2e.bench import memory, pods, routes
from e2e.cluster import install
from e2e.support import objects
from e2e.support.running import RunningCluster, kubeconfig
from e2e.support.site import Site


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=pathlib.Path, help="write the figures there too")
    parser.add_argument("--routes", type=int, default=40, help="how many are applied")
    parser.add_argument("--pods", type=int, default=50, help="how many come and go, one after the other")
    parser.add_argument("--together", type=int, default=4, help="how often five pods come and go at once")
    asked = parser.parse_args()
    # Also a SIGTERM ends the load and the namespace.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not routes.reachable():
        sys.exit(
            f"error: the gateway does not answer on port {install.host_port()} of this machine: `make cluster` opens that "
            "port, unless it was told HOST_PORT=0"
        )
    cluster = RunningCluster(kubeconfig())
    name = f"bench-{secrets.token_hex(3)}"
    figures: list[Figure] = []
    with cluster.namespace(name):
        labels = {objects.ACCESS: "edge"}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        site = Site(cluster, name)
        site.app("web", replicas=2, drain=3)
        if asked.routes:
            figures += _told(routes.to_a_new_service(site, asked.routes))
        site.policy({"web": 1})
        if asked.routes:
            figures += _told(routes.measure(site, asked.routes))
        load = site.load("--rate", "150", "--clients", "8")
        if asked.pods:
            figures += _told(pods.measure(site, load, asked.pods))
        if asked.together:
            figures += _told(pods.together(site, load, asked.together))
        figures += _told(memory.measure(cluster))  # while the sidecar is there
        load.stop()
    print(table(figures))
    print(f"{os.cpu_count()} cores for all nodes and the load, system load {os.getloadavg()[0]:.1f}.")
    print("A target is for the p50, but for EndpointSlices and memory, whose lines give the p99 and the largest.")
    if asked.json:
        rows = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "figures": [figure.row() for figure in figures]}
        asked.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def _told(figures: list[Figure]) -> list[Figure]:
    """What there is so far: the whole takes minutes."""
    print(table(figures), file=sys.stderr, flush=True)
    return figures


if __name__ == "__main__":
    sys.exit(main())
