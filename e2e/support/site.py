"""What a scenario works with: a namespace and a host of its own, the sample application, a policy, load."""

from __future__ import annotations

import datetime
import itertools
import secrets
import urllib.request
from collections.abc import Sequence
from typing import Any

from e2e.support import objects
from e2e.support.installation import GATEWAY, NAMESPACE, SELECTORS
from e2e.support.load import Load, Loads
from e2e.support.running import RunningCluster, is_ready
from tests.support.kube import ApiError

#: More proxies than there ever are.
MANY = 1000
#: Labels of pods that have a sidecar.
CALLER = {"e2e": "caller"}
EVERY_WAY = ("the gateway", "a sidecar")
#: Without Fairlead: to the Service's address, and to one pod after the other whatever it is like (`round_robin`).
OTHER_WAYS = ("kube-proxy", "plain round robin")


class Site:
    """One site behind the gateway `edge` and behind sidecars. Tests share the gateway's port, so each has its host."""

    def __init__(self, cluster: RunningCluster, namespace: str) -> None:
        self.cluster, self.namespace, self.hostname = cluster, namespace, f"{namespace}.example.com"
        self._numbers = itertools.count(1)
        self._callers = 0

    def app(self, name: str, *, replicas: int = 2, **more: Any) -> None:
        """The sample application with its Service, rolled out and in its slices; *more*: of ``objects.deployment``."""
        self.cluster.apply(objects.service(self.namespace, name))
        self.cluster.apply(objects.deployment(self.namespace, name, replicas=replicas, **more))
        self.cluster.rolled_out(self.namespace, name)
        self.cluster.wait_for(
            lambda: self.endpoints(name) >= self.living(name), f"the pods of {name} are in its slices"
        )

    def policies(self, weights: dict[str, int], **more: Any) -> list[dict[str, Any]]:
        """What splits the site between Services by *weights*: a policy of the gateway, and one of the sidecars."""
        of_gateway = objects.policy(self.namespace, weights, hostname=self.hostname, **more)
        return [of_gateway, objects.for_sidecars(of_gateway, CALLER)]

    def policy(self, weights: dict[str, int], *, seconds: float = 90, **more: Any) -> None:
        """Apply ``policies``; returns when all gateways and all sidecars that there are have them."""
        of_gateway, of_sidecars = self.policies(weights, **more)
        self.cluster.apply(of_sidecars)
        self.cluster.programmed(of_gateway, seconds=seconds)
        # Of those that are connected; one that lost its operator may not be yet.
        count = sum(map(is_ready, self.cluster.pods(NAMESPACE, SELECTORS[GATEWAY])))
        # One that ends may be connected still.
        self._all_programmed(of_gateway, range(count, MANY), f"{count} gateways", seconds)
        self._sidecars_programmed(seconds)

    def load(self, *arguments: str, node: str = "", scheme: str = "http", ways: Sequence[str] = EVERY_WAY) -> Loads:
        """Continuous load on each of *ways*, from *node*; *arguments* are those of ``e2e/app/load.py``."""
        made = Loads(self._load(way, scheme, arguments, node) for way in ways)
        self._sidecars_programmed()
        return made

    def _load(self, way: str, scheme: str, arguments: Sequence[str], node: str) -> Load:
        labels = {}
        if way == "a sidecar":
            self.injected()
            self._callers += 1
            host, labels = "127.0.0.1", CALLER
        elif way in OTHER_WAYS:
            host = self._address(self.namespace, "web")
        else:
            host = self._gateway()
        words = ["--url", f"{scheme}://{host}/", "--host", self.hostname, *arguments]
        name = f"load-{next(self._numbers)}"
        return Load(self.cluster, self.namespace, name, words, way=way, node=node, labels=labels)

    def _gateway(self) -> str:
        """Its address: the cluster's DNS is not what the scenarios are about."""
        return self._address(NAMESPACE, GATEWAY)

    def _address(self, namespace: str, service: str) -> str:
        path = f"/api/v1/namespaces/{namespace}/services/{service}"
        return str(self.cluster.request("GET", path)["spec"]["clusterIP"])

    def injected(self) -> None:
        """Wait until the API server asks about pods of the namespace: the leader has written it into the webhook."""
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/fairlead-injector"

        def asked() -> bool:
            hooks = self.cluster.request("GET", path)["webhooks"]
            return any(self.namespace in str(hook["namespaceSelector"]) for hook in hooks)

        self.cluster.wait_for(asked, "the webhook is for this namespace", seconds=90)

    def _sidecars_programmed(self, seconds: float = 90) -> None:
        """Wait until all sidecars that were made have the policy as it is now."""
        if count := self._callers:
            self._all_programmed(self.policies({})[1], range(count, count + 1), f"{count} sidecars", seconds)

    def _all_programmed(self, policy: dict[str, Any], count: range, what: str, seconds: float) -> None:
        """Wait until so many proxies are connected, and all that are have the policy as it is now."""

        def done() -> bool:
            found = self.cluster.get(policy)
            status = found.get("status", {})
            proxies = status.get("proxies", {})
            return bool(
                status.get("observedGeneration") == found["metadata"]["generation"]
                and proxies.get("programmed", 0) == proxies.get("connected", 0)
                and proxies.get("connected", 0) in count
            )

        self.cluster.wait_for(done, f"{what} are programmed", seconds=seconds)

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

    # State

    def pods(self, app: str) -> dict[str, str]:
        """Pod -> node; of those that end, too."""
        found = self.cluster.pods(self.namespace, f"app={app}")
        return {pod["metadata"]["name"]: pod["spec"].get("nodeName", "") for pod in found}

    def living(self, app: str) -> set[str]:
        """The pods that were not told to end."""
        found = self.cluster.pods(self.namespace, f"app={app}")
        return {pod["metadata"]["name"] for pod in found if "deletionTimestamp" not in pod["metadata"]}

    def endpoints(self, service: str) -> set[str]:
        """The pods that the slices of *service* name."""
        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        slices = self.cluster.request("GET", f"{path}?labelSelector=kubernetes.io/service-name%3D{service}")["items"]
        return {
            (one.get("targetRef") or {}).get("name", "") for found in slices for one in found.get("endpoints") or []
        }

    def call(self, pod: str, path: str) -> None:
        """POST to one pod of the sample application: its switches."""
        self.cluster.request("POST", self.cluster.proxied(self.namespace, pod, 8080, path))

    def ready(self, pod: str) -> bool:
        found = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{pod}")
        return is_ready(found)

    def restarts(self, pod: str) -> int:
        found = self.cluster.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{pod}")
        return sum(status["restartCount"] for status in found["status"].get("containerStatuses", []))

    def told_to_end(self, pod: str) -> float:
        """When the container of the sample application that ran before got its SIGTERM: seconds since the epoch."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod}/log?previous=true&timestamps=true"
        with urllib.request.urlopen(f"{self.cluster.url}{path}", context=self.cluster.tls, timeout=10) as response:
            lines = response.read().decode().splitlines()
        (when,) = (line.partition(" ")[0] for line in lines if " draining for " in line)
        return datetime.datetime.fromisoformat(when[:26] + "+00:00").timestamp()

    def absent(self, manifest: dict[str, Any]) -> bool:
        try:
            self.cluster.get(manifest)
        except ApiError as error:
            return error.code == 404
        return False
