"""Fairlead itself in the cluster: its operators and gateways, which pods they are, who leads."""

from __future__ import annotations

import json
import secrets

from e2e.cluster import install
from e2e.support.running import RunningCluster

NAMESPACE = install.NAMESPACE
OPERATOR, GATEWAY = "fairlead-operator", "fairlead-gateway-edge"
SELECTORS = {OPERATOR: "app.kubernetes.io/component=operator", GATEWAY: "fairlead.dev/gateway=edge"}


class Installation:
    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster

    def pods(self, name: str) -> set[str]:
        """Names of the pods of a Deployment: ``OPERATOR`` or ``GATEWAY``."""
        return self._cluster.names(NAMESPACE, SELECTORS[name])

    def leader(self) -> str:
        """Name of the pod that holds the Lease, dead or alive."""
        found = self._cluster.request(
            "GET", f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/fairlead-leader"
        )
        return str(found["spec"].get("holderIdentity") or "")

    def led(self) -> None:
        """Wait until a living operator leads."""
        self._cluster.wait_for(lambda: self.leader() in self.pods(OPERATOR), "a living leader", seconds=60)

    def kill(self, pods: set[str]) -> int:
        """End them at once, without grace; how many they were."""
        self._cluster.kill(NAMESPACE, pods)
        return len(pods)

    def whole(self) -> None:
        """Wait until all operators and gateways that there shall be are ready."""
        for name in (OPERATOR, GATEWAY):
            self._cluster.rolled_out(NAMESPACE, name)

    def revision(self) -> int:
        """Of the Helm release, as it is now."""
        words = ("history", install.RELEASE, "--namespace", NAMESPACE, "--max", "1", "--output", "json")
        return int(json.loads(install.helm(*words, kubeconfig=self._cluster.kubeconfig))[-1]["revision"])

    def restart(self, name: str) -> set[str]:
        """Begin to replace the pods of a Deployment, as ``helm upgrade`` does; returns the old ones."""
        before = self.pods(name)
        change = {"spec": {"template": {"metadata": {"annotations": {"e2e/restarted": secrets.token_hex(4)}}}}}
        self._cluster.request("PATCH", f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}", change)
        return before

    def replaced(self, name: str, before: set[str]) -> None:
        """Wait until none of *before* is left."""
        self._cluster.rolled_out(NAMESPACE, name)
        self._cluster.wait_for(lambda: not before & self.pods(name), f"all pods of {name} are new ones", seconds=90)
