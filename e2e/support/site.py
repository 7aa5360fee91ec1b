"""What a scenario works with: a namespace and a host of its own, the sample application, a policy, load."""

from __future__ import annotations

import itertools
from typing import Any

from e2e.support import objects
from e2e.support.load import Load
from e2e.support.running import RunningCluster

GATEWAY = "http://fairlead-gateway-edge.fairlead-system"


class Site:
    """One site behind the gateway `edge`. Tests share the gateway's port, so each has its host name."""

    def __init__(self, cluster: RunningCluster, namespace: str) -> None:
        self.cluster, self.namespace, self.hostname = cluster, namespace, f"{namespace}.example.com"
        self._numbers = itertools.count(1)

    def app(self, name: str, *, replicas: int = 2, drain: int = 5) -> None:
        """The sample application with its Service, rolled out."""
        self.cluster.apply(objects.service(self.namespace, name))
        self.cluster.apply(objects.deployment(self.namespace, name, replicas=replicas, drain=drain))
        self.cluster.rolled_out(self.namespace, name)

    def policy(self, weights: dict[str, int], **route: Any) -> None:
        """Split the site between Services by *weights*; returns when the gateway has it."""
        self.cluster.programmed(objects.policy(self.namespace, weights, hostname=self.hostname, **route))

    def load(self, *arguments: str) -> Load:
        """Continuous load through the gateway; *arguments* are those of ``e2e/app/load.py``."""
        name = f"load-{next(self._numbers)}"
        return Load(self.cluster, self.namespace, name, ["--url", f"{GATEWAY}/", "--host", self.hostname, *arguments])

    def pods(self, app: str) -> dict[str, str]:
        """Pod -> node."""
        found = self.cluster.pods(self.namespace, f"app={app}")
        return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in found}

    def call(self, pod: str, path: str) -> None:
        """POST to one pod of the sample application: its switches."""
        self.cluster.request("POST", self.cluster.proxied(self.namespace, pod, 8080, path))

    def ready(self, pod: str) -> bool:
        found = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{pod}")
        return any(c["type"] == "Ready" and c["status"] == "True" for c in found["status"].get("conditions", []))
