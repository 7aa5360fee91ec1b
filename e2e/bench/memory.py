"""What the containers of the installation take, as the kubelets say (working set: what counts against a limit)."""

from __future__ import annotations

from bench.figure import Figure
from e2e.support.running import RunningCluster

#: Container -> what it is, and the most MB that one may take.
PARTS = {"operator": ("operator", 120.0), "fairlead-proxy": ("sidecar", 40.0), "envoy": ("gateway", None)}


def measure(cluster: RunningCluster) -> list[Figure]:
    """One figure a part, of its largest container; parts that do not run are left out."""
    found: dict[str, list[float]] = {}
    for node in cluster.request("GET", "/api/v1/nodes")["items"]:
        summary = cluster.request("GET", f"/api/v1/nodes/{node['metadata']['name']}/proxy/stats/summary")
        for pod in summary.get("pods", []):
            for container in pod.get("containers", []):
                if container["name"] in PARTS and "workingSetBytes" in container.get("memory", {}):
                    found.setdefault(container["name"], []).append(container["memory"]["workingSetBytes"] / 1e6)
    return [
        Figure(
            what=f"memory: {PARTS[name][0]}, the largest of {len(sizes)}",
            services=1,
            unit="MB",
            samples=[max(sizes)],
            target=PARTS[name][1],
        )
        for name, sizes in sorted(found.items())
    ]
