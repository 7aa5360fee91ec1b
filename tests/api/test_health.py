"""Health from real EndpointSlices, Pods and Nodes of the API server: what proxies get, and what the status says of it."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fairlead_operator.app import Operator
from fairlead_xds.testing import FakeEnvoy
from tests.support.kube import Cluster
from tests.support.operating import Site, endpoint, endpoints, eventually, operating

pytestmark = pytest.mark.timeout(60)

Json = dict[str, Any]


class Place:
    """Three pods on three nodes behind the Service of a policy, and a proxy that has them."""

    def __init__(self, kube: Cluster, site: Site) -> None:
        self.kube, self.site = kube, site
        self.policy: Json = {}
        self.nodes = [f"{site.namespace}-{number}" for number in range(1, 4)]
        self.envoy: FakeEnvoy
        self.operator: Operator

    async def made(self, **spec: Any) -> None:
        for number, node in enumerate(self.nodes, start=1):
            await self._request("POST", "/api/v1/nodes", {"metadata": {"name": node}})
            await self.node(number, "True")
            container: Json = {"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}]}
            probe = {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 3}
            pod = {"metadata": {"name": f"web-{number}"}, "spec": {"nodeName": node, "containers": [container]}}
            container["readinessProbe"] = probe
            await self._request("POST", self._pods, pod)
            await self.pod(number)
        self.policy = self.site.policy(**spec)
        for manifest in (self.site.service(), self.site.slice(*map(self.endpoint, (1, 2, 3))), self.policy):
            await self.site.apply(manifest)

    @property
    def _pods(self) -> str:
        return f"/api/v1/namespaces/{self.site.namespace}/pods"

    def endpoint(self, number: int, **conditions: bool) -> Json:
        target = {"kind": "Pod", "name": f"web-{number}", "namespace": self.site.namespace}
        where = {"nodeName": self.nodes[number - 1], "targetRef": target}
        return endpoint(f"10.9.0.{number}", **conditions) | where

    async def pod(self, number: int, *, restarts: int = 0, waiting: str = "", started: bool = True) -> None:
        """The status as a kubelet writes it: each run took a second."""
        now = datetime.datetime.now(datetime.UTC)
        at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        before = (now - datetime.timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": at}}
        ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "startedAt": before, "finishedAt": at}}
        status = {
            "phase": "Running",
            "podIP": f"10.9.0.{number}",
            "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": at}],
            "containerStatuses": [
                {
                    "name": "web",
                    "image": "web",
                    "imageID": "web",
                    "ready": True,
                    "restartCount": restarts,
                    "started": started and not waiting,
                    "state": state,
                    "lastState": ended if restarts else {},
                }
            ],
        }
        await self._request("PATCH", f"{self._pods}/web-{number}/status", {"status": status})

    async def node(self, number: int, ready: str) -> None:
        condition = {"type": "Ready", "status": ready, "reason": "Test", "message": "", "lastHeartbeatTime": None}
        body = {"status": {"conditions": [condition | {"lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
        await self._request("PATCH", f"/api/v1/nodes/{self.nodes[number - 1]}/status", body)

    async def delete_node(self, number: int) -> None:
        await self._request("DELETE", f"/api/v1/nodes/{self.nodes[number - 1]}")

    async def has(self, **want: str) -> None:
        """Wait until the proxy has the endpoints ``e1``, ``e2``, ``e3`` with these states and no others."""
        expected = {f"10.9.0.{name[1:]}": state for name, state in want.items()}
        await eventually(lambda: endpoints(self.envoy.client) == expected, f"the proxy has {expected}")

    async def unhealthy(self, reason: str) -> Json:
        """Wait until the status lists exactly one endpoint, with *reason* in its words; that entry."""
        found: list[Json] = []
        for _ in range(300):
            found = (await self.site.get(self.policy)).get("status", {}).get("unhealthyEndpoints", [])
            if len(found) == 1 and reason in found[0]["reason"]:
                return found[0]
            await asyncio.sleep(0.05)
        raise AssertionError(f"not seen: {reason}; last: {found}")

    async def _request(self, method: str, path: str, body: Json | None = None) -> None:
        more = {"content_type": "application/merge-patch+json"} if method == "PATCH" else {}
        await asyncio.to_thread(self.kube.request, method, path, body, **more)

    async def gone(self) -> None:
        for number in (1, 2, 3):
            await self._request("DELETE", f"{self._pods}/web-{number}?gracePeriodSeconds=0")
        for node in self.nodes:
            if any(one["metadata"]["name"] == node for one in self.kube.request("GET", "/api/v1/nodes")["items"]):
                await self._request("DELETE", f"/api/v1/nodes/{node}")


@pytest.fixture
async def place(kube: Cluster, site: Site) -> AsyncIterator[Place]:
    it = Place(kube, site)
    async with operating(kube.kubeconfig) as it.operator, site.envoy(it.operator) as it.envoy:
        yield it
        await it.gone()


ALL = {"e1": "HEALTHY", "e2": "HEALTHY", "e3": "HEALTHY"}


async def test_restarts_hold_a_ready_pod_back_and_the_status_says_why_and_since_when(place: Place) -> None:
    await place.made(endpoints={"restarting": {"threshold": 3, "hold": "3s", "within": "10m"}})
    await place.has(**ALL)

    await place.pod(3, restarts=2)
    await place.pod(2, restarts=3)
    await place.has(e1="HEALTHY", e2="DEGRADED", e3="HEALTHY")
    said = await place.unhealthy("restarted 3 times within 10m")
    assert (said["pod"], said["node"], said["health"]) == ("web-2", place.nodes[1], "Degraded")
    assert said["backend"] == f"{place.site.namespace}/web:http"
    assert said["address"] == "10.9.0.2:8080"
    assert said["since"].startswith("20")

    await place.has(**ALL)  # nothing is heard of it meanwhile
    await place.site.counted(place.policy, "3/3")
    assert (await place.site.get(place.policy))["status"]["unhealthyEndpoints"] == []


async def test_waiting_and_starting_pods_are_out_though_their_slice_says_ready(place: Place) -> None:
    await place.made()
    await place.has(**ALL)

    await place.pod(1, restarts=1, waiting="CrashLoopBackOff")
    await place.has(e2="HEALTHY", e3="HEALTHY")
    await place.unhealthy("a container does not run: CrashLoopBackOff")
    await place.pod(1, started=False)
    await place.unhealthy("its startup probe has not passed")
    await place.pod(1)
    await place.has(**ALL)


async def test_endpoints_of_a_lost_and_of_a_deleted_node_leave_and_come_back(place: Place) -> None:
    await place.made()
    await place.has(**ALL)

    await place.node(3, "Unknown")
    await place.has(e1="HEALTHY", e2="HEALTHY")
    said = await place.unhealthy(f"node {place.nodes[2]} is unreachable")
    assert said["since"] == "2026-01-01T00:00:00Z"
    await place.node(2, "Unknown")  # two of three: not believed
    await place.has(**ALL)
    assert "2 of 3 nodes are lost" in (await place.site.until(place.policy, "Degraded", "True"))["message"]
    for number in (2, 3):
        await place.node(number, "True")
    await place.site.until(place.policy, "Degraded", "False")
    await place.delete_node(1)
    await place.has(e2="HEALTHY", e3="HEALTHY")
    await place.unhealthy(f"node {place.nodes[0]} was deleted")


async def test_a_probe_of_real_pods_is_what_proxies_ask(place: Place) -> None:
    await place.made(healthCheck={"active": {"type": "ReadinessProbe"}})
    await place.has(**ALL)
    await place.site.until(place.policy, "Programmed", "True")

    status: Json = {}
    for _ in range(200):
        status = (await place.site.get(place.policy))["status"]
        if status["activeChecks"]:
            break
        await asyncio.sleep(0.05)
    name = f"{place.site.namespace}/web"
    assert status["activeChecks"] == [{"backend": name, "interval": "3s", "perSecond": "0.333"}]


async def test_transitions_become_events_of_the_policy(place: Place) -> None:
    await place.made()
    await place.has(**ALL)
    await place.site.until(place.policy, "Programmed", "True")
    await place.site.counted(place.policy, "3/3")

    await place.pod(1, started=False)
    await place.unhealthy("its startup probe has not passed")
    await place.pod(1)
    await place.site.counted(place.policy, "3/3")
    of_policy = "involvedObject.kind=LoadBalancerPolicy,involvedObject.name=shop"
    path = f"/api/v1/namespaces/{place.site.namespace}/events?fieldSelector={of_policy}"
    wanted = [
        ("Warning", "EndpointExcluded", "its startup probe has not passed"),
        ("Normal", "EndpointHealthy", "healthy"),
    ]
    found: list[tuple[str, str, str]] = []
    for _ in range(300):
        items = (await asyncio.to_thread(place.kube.request, "GET", path))["items"]
        found = [
            (one["type"], one["reason"], one["message"]) for one in sorted(items, key=lambda one: one["eventTime"])
        ]
        if len(found) == len(wanted):
            break
        await asyncio.sleep(0.05)
    where = f"{place.site.namespace}/web:http: pod web-1 (10.9.0.1:8080)"
    assert found == [(kind, reason, f"{where}: {words}") for kind, reason, words in wanted]
