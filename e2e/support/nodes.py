"""The nodes of the cluster: cordoned and drained by the API, or stopped as machines."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from e2e.support.machines import Machines
from e2e.support.running import RunningCluster
from tests.support.kube import ApiError


class Nodes:
    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster

    def workers(self) -> list[str]:
        """Nodes that run pods of ours."""
        nodes = self._cluster.request("GET", "/api/v1/nodes")["items"]
        return sorted(node["metadata"]["name"] for node in nodes if not node["spec"].get("taints"))

    def addresses(self) -> dict[str, str]:
        """Worker -> its address in the cluster's network."""
        workers = set(self.workers())
        return {
            node["metadata"]["name"]: next(
                one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"
            )
            for node in self._cluster.request("GET", "/api/v1/nodes")["items"]
            if node["metadata"]["name"] in workers
        }

    def control_planes(self) -> list[str]:
        path = "/api/v1/nodes?labelSelector=node-role.kubernetes.io/control-plane"
        return sorted(node["metadata"]["name"] for node in self._cluster.request("GET", path)["items"])

    @contextlib.contextmanager
    def cordoned(self, node: str) -> Iterator[None]:
        """Nothing new on *node* meanwhile."""
        path = f"/api/v1/nodes/{node}"
        self._cluster.request("PATCH", path, {"spec": {"unschedulable": True}})
        try:
            yield
        finally:
            self._cluster.request("PATCH", path, {"spec": {"unschedulable": None}})

    def drain(self, node: str) -> int:
        """Evict what runs on *node*, as ``kubectl drain`` does, budgets respected; returns how many pods that were."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName={node}"
        skipped = {"DaemonSet", "Node"}
        evicted: set[tuple[str, str]] = set()

        def empty() -> bool:
            pods = [
                (pod["metadata"]["namespace"], pod["metadata"]["name"])
                for pod in self._cluster.request("GET", path)["items"]
                if not {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])} & skipped
            ]
            for pod in set(pods) - evicted:
                with contextlib.suppress(ApiError):  # 429: a budget does not allow it yet
                    self._evict(*pod)
                    evicted.add(pod)
            return not pods

        self._cluster.wait_for(empty, f"{node} is drained", seconds=180)
        return len(evicted)

    def _evict(self, namespace: str, name: str) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        self._cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)

    @contextlib.contextmanager
    def vanished(self, node: str, machines: Machines) -> Iterator[None]:
        """Its machine stops without a word; afterwards it runs again, what Fairlead had on it too."""
        machines.stop(node)
        try:
            yield
        finally:
            machines.start(node)
            self._cluster.wait_for(lambda: self.ready(node), f"{node} is Ready again", seconds=180)
            for name in ("fairlead-operator", "fairlead-gateway-edge"):
                self._cluster.rolled_out("fairlead-system", name)

    def ready(self, node: str) -> bool:
        found = self._cluster.request("GET", f"/api/v1/nodes/{node}")
        return any(one["type"] == "Ready" and one["status"] == "True" for one in found["status"]["conditions"])
