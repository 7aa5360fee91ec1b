"""What a scenario works with: a namespace and a host of its own, the sample application, a policy, load."""

from __future__ import annotations

import contextlib
import itertools
import secrets
from collections.abc import Iterator
from typing import Any

from e2e.support import objects
from e2e.support.load import Load
from e2e.support.running import RunningCluster
from tests.support.kube import ApiError

#: Labels of pods that have a sidecar.
CALLER = {"e2e": "caller"}
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

    def policy(self, weights: dict[str, int], **more: Any) -> None:
        """Split the site between Services by *weights*; returns when the gateway has it."""
        self.cluster.programmed(objects.policy(self.namespace, weights, hostname=self.hostname, **more))

    def load(self, *arguments: str, node: str = "") -> Load:
        """Continuous load through the gateway, from *node*; *arguments* are those of ``e2e/app/load.py``."""
        name = f"load-{next(self._numbers)}"
        words = ["--url", f"{GATEWAY}/", "--host", self.hostname, *arguments]
        return Load(self.cluster, self.namespace, name, words, node=node)

    def sidecar_policy(self, weights: dict[str, int]) -> None:
        """The same split for pods that call their own sidecar: those of ``sidecar_load``."""
        self.cluster.apply(objects.sidecar_policy(self.namespace, weights, labels=CALLER))

    def sidecar_load(self, *arguments: str) -> Load:
        """Continuous load from a pod with a sidecar, which it calls on its loopback."""
        name = f"caller-{next(self._numbers)}"
        words = ["--url", "http://127.0.0.1/", "--host", "web", *arguments]
        return Load(self.cluster, self.namespace, name, words, labels=CALLER)

    def sidecars_programmed(self, count: int) -> None:
        """Wait until *count* sidecars have the policy as it is now."""
        policy = objects.sidecar_policy(self.namespace, {}, labels=CALLER)

        def done() -> bool:
            found = self.cluster.get(policy)
            status = found.get("status", {})
            return bool(
                status.get("observedGeneration") == found["metadata"]["generation"]
                and status.get("proxies", {}).get("summary") == f"{count}/{count}"
            )

        self.cluster.wait_for(done, f"{count} sidecars are programmed", seconds=60)

    # Changes

    def scale(self, app: str, replicas: int) -> None:
        self._patch(app, {"spec": {"replicas": replicas}})

    def restart(self, app: str) -> None:
        """As ``kubectl rollout restart`` does."""
        mark = {"e2e/restarted": secrets.token_hex(4)}
        self._patch(app, {"spec": {"template": {"metadata": {"annotations": mark}}}})

    def _patch(self, app: str, change: dict[str, Any]) -> None:
        self.cluster.request("PATCH", f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{app}", change)
        self.cluster.rolled_out(self.namespace, app)

    def kill(self, namespace: str, selector: str) -> int:
        """End all pods of *selector* at once, without grace; returns how many there were."""
        pods = self.cluster.pods(namespace, selector)
        for pod in pods:
            path = f"/api/v1/namespaces/{namespace}/pods/{pod['metadata']['name']}?gracePeriodSeconds=0"
            self.cluster.request("DELETE", path)
        return len(pods)

    # Nodes

    def workers(self) -> list[str]:
        """Nodes that run pods of ours."""
        nodes = self.cluster.request("GET", "/api/v1/nodes")["items"]
        return sorted(node["metadata"]["name"] for node in nodes if not node["spec"].get("taints"))

    @contextlib.contextmanager
    def cordoned(self, node: str) -> Iterator[None]:
        """Nothing new on *node* meanwhile."""
        path = f"/api/v1/nodes/{node}"
        self.cluster.request("PATCH", path, {"spec": {"unschedulable": True}})
        try:
            yield
        finally:
            self.cluster.request("PATCH", path, {"spec": {"unschedulable": None}})

    def drain(self, node: str) -> int:
        """Evict what runs on *node*, as ``kubectl drain`` does, budgets respected; returns how many pods that were."""
        path = f"/api/v1/pods?fieldSelector=spec.nodeName={node}"
        skipped = {"DaemonSet", "Node"}
        evicted: set[tuple[str, str]] = set()

        def empty() -> bool:
            pods = [
                (pod["metadata"]["namespace"], pod["metadata"]["name"])
                for pod in self.cluster.request("GET", path)["items"]
                if not {owner["kind"] for owner in pod["metadata"].get("ownerReferences", [])} & skipped
            ]
            for pod in set(pods) - evicted:
                with contextlib.suppress(ApiError):  # 429: a budget does not allow it yet
                    self._evict(*pod)
                    evicted.add(pod)
            return not pods

        self.cluster.wait_for(empty, f"{node} is drained", seconds=180)
        return len(evicted)

    def _evict(self, namespace: str, name: str) -> None:
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
        }
        self.cluster.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)

    # State

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

    def restarts(self, pod: str) -> int:
        found = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{pod}")
        return sum(status["restartCount"] for status in found["status"].get("containerStatuses", []))

    def absent(self, manifest: dict[str, Any]) -> bool:
        try:
            self.cluster.get(manifest)
        except ApiError as error:
            return error.code == 404
        return False
