"""The cluster that the scenarios run in: the tests' API client, pointed at a kubeconfig instead of a server of its own."""

from __future__ import annotations

import functools
import os
import pathlib
import ssl
import time
from collections.abc import Callable, Iterable
from typing import Any

import kubernetes

from e2e.cluster import places
from tests.support.kube import ApiError, Cluster, ClusterError


class RunningCluster(Cluster):
    """Whoever made the cluster ends it; here it is only asked."""

    def __init__(self, kubeconfig: pathlib.Path) -> None:
        # Not Cluster's: that one makes a server. Everything that starts, stops or breaks one is not for here.
        found = kubernetes.client.Configuration()
        kubernetes.config.load_kube_config(str(kubeconfig), client_configuration=found)  # type: ignore[no-untyped-call]
        self.kubeconfig, self.url = kubeconfig, found.host
        self.token = str(found.api_key.get("authorization", "")).removeprefix("Bearer ")
        self._tls = ssl.create_default_context(cafile=found.ssl_ca_cert)
        if found.cert_file:
            self._tls.load_cert_chain(found.cert_file, found.key_file)

    @property
    def tls(self) -> ssl.SSLContext:
        """For requests that are not JSON, or do not end: watches, metrics."""
        return self._tls

    def wait_for(self, condition: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:
        """As of the base, but asks five times a second: pods take seconds, and the machine is theirs.

        An API server that has no time now is asked again; the error tells of it. One look comes after the time, so that a
        slow answer alone fails nothing.
        """
        deadline, trouble = time.monotonic() + seconds, ""
        while True:
            last = time.monotonic() > deadline
            try:
                if value := condition():
                    return value
            except (ApiError, OSError) as error:
                if not passing(error):
                    raise
                trouble = f"; the last error: {error}"
            if last:
                raise ClusterError(f"not seen within {seconds:.0f} s: {what}{trouble}")
            time.sleep(0.2)

    def apply(self, manifest: dict[str, Any], *, manager: str = "tests") -> Any:
        """As of the base; an API server that has no time now is asked again."""
        what = f"{manifest['kind']} {manifest['metadata']['name']} is applied"
        return self.wait_for(lambda: super(RunningCluster, self).apply(manifest, manager=manager), what)

    def pods(self, namespace: str, selector: str) -> list[dict[str, Any]]:
        """Without those that have ended: an evicted one stays in the API for long."""
        path = f"/api/v1/namespaces/{namespace}/pods?labelSelector={selector}"
        found = self.request("GET", path)["items"]
        return [pod for pod in found if pod.get("status", {}).get("phase") not in {"Failed", "Succeeded"}]

    def names(self, namespace: str, selector: str) -> set[str]:
        return {pod["metadata"]["name"] for pod in self.pods(namespace, selector)}

    def kill(self, namespace: str, pods: Iterable[str]) -> None:
        """End pods at once, without grace."""
        for pod in pods:
            try:
                self.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{pod}?gracePeriodSeconds=0")
            except ApiError as error:
                if error.code != 404:  # it has gone by itself
                    raise

    def proxied(self, namespace: str, pod: str, port: int, path: str) -> str:
        """Path by which the API server passes a request on to a pod."""
        return f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/{path.lstrip('/')}"

    def rolled_out(self, namespace: str, name: str, *, seconds: float = 180) -> dict[str, Any]:
        """Wait, as ``kubectl rollout status`` does, until a Deployment is what its specification says."""
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{name}"

        def done() -> dict[str, Any] | None:
            found: dict[str, Any] = self.request("GET", path)
            status, wanted = found.get("status", {}), found["spec"]["replicas"]
            counts = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
            seen = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
            return found if seen and counts == {wanted} else None

        return self.wait_for(done, f"deployment {namespace}/{name} rolled out", seconds=seconds)  # type: ignore[no-any-return]

    def condition(self, policy: dict[str, Any], kind: str) -> str:
        """Status of one of the policy's conditions, "" while it has none of its present generation."""
        found = self.get(policy)
        for condition in found.get("status", {}).get("conditions", []):
            if condition["type"] == kind and condition.get("observedGeneration") == found["metadata"]["generation"]:
                return str(condition["status"])
        return ""

    def programmed(self, policy: dict[str, Any], *, seconds: float = 90) -> None:
        """Apply *policy* and wait until its proxies have it."""
        self.apply(policy)
        check = functools.partial(self.condition, policy, "Programmed")
        name = policy["metadata"]["name"]
        self.wait_for(lambda: check() == "True", f"policy {name} is programmed", seconds=seconds)

    def gone(self, namespace: str, pod: str) -> bool:
        try:
            self.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}")
        except ApiError as error:
            return error.code == 404
        return False


def kubeconfig() -> pathlib.Path:
    """Of `make cluster`, or whatever KUBECONFIG (CLUSTER=current) names."""
    given = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    if given:
        return pathlib.Path(given)
    if os.environ.get("CLUSTER") == "current":
        return pathlib.Path.home() / ".kube/config"
    return places.KUBECONFIG


def passing(error: ApiError | OSError) -> bool:
    """Whether the next question may have an answer: the API server, or a webhook of it, was busy or away."""
    return not isinstance(error, ApiError) or error.code == 429 or error.code >= 500


def is_ready(pod: dict[str, Any]) -> bool:
    """Its condition ``Ready``."""
    return any(
        one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", [])
    )
