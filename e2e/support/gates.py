"""Opens the readiness gates of pods, as the controller of an outside load balancer does: some time after the containers."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from e2e.support.repeating import Repeating
from e2e.support.running import RunningCluster
from tests.support.kube import ApiError

GATE = "e2e.fairlead.dev/registered"


class Gatekeeper(Repeating):
    """Sets the condition ``GATE`` of the pods of one application, *seconds* after it saw their containers ready."""

    def __init__(self, cluster: RunningCluster, namespace: str, app: str, *, seconds: float) -> None:
        super().__init__(0.2)
        self._cluster, self._pods, self._seconds = cluster, f"/api/v1/namespaces/{namespace}/pods", seconds
        self._selector = f"app%3D{app}"
        self._seen: dict[str, float] = {}
        self.opened: dict[str, float] = {}

    def again(self) -> None:
        with contextlib.suppress(ApiError, OSError):  # the API server is busy: the next time then
            self._look()

    def _look(self) -> None:
        for pod in self._cluster.request("GET", f"{self._pods}?labelSelector={self._selector}")["items"]:
            name, conditions = pod["metadata"]["name"], _conditions(pod)
            if conditions.get("ContainersReady") != "True" or conditions.get(GATE) == "True":
                continue
            if time.monotonic() - self._seen.setdefault(name, time.monotonic()) >= self._seconds:
                self._open(name)

    def _open(self, pod: str) -> None:
        body = {"status": {"conditions": [{"type": GATE, "status": "True"}]}}
        merge = "application/strategic-merge-patch+json"  # one condition beside the kubelet's, which go on
        # Before it is written: whoever heard of it heard later. The answer may get lost.
        self.opened.setdefault(pod, time.time())
        self._cluster.request("PATCH", f"{self._pods}/{pod}/status", body, content_type=merge)


def _conditions(pod: dict[str, Any]) -> dict[str, str]:
    return {condition["type"]: condition["status"] for condition in pod.get("status", {}).get("conditions", [])}
