"""An operator in the test's own event loop, and the objects of one test in a namespace of the API server."""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import yaml
from envoy.config.core.v3 import health_check_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from fairlead_operator.api.config import OperatorConfig, read_config
from fairlead_operator.app import Operator, OperatorOptions, running
from fairlead_operator.sources.reflector import Timings
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import Client, DeltaClient, FakeEnvoy
from tests.support.kube import ApiError, Cluster

Json = dict[str, Any]

#: Starts the API server anew: processes of ``tests.support.processes`` end with the thread that started them.
_LASTING = concurrent.futures.ThreadPoolExecutor(1)
#: Short where a user would wait and a test need not.
QUICK = Timings(backoff=(0.02, 0.5), absent=0.5)


def starting(kubeconfig: Path, **options: Any) -> contextlib.AbstractAsyncContextManager[Operator]:
    """An operator on free ports that may not have listed everything yet."""
    given = {"timings": QUICK, "settle": 0.0, "kopf_backoff": (0.02, 0.5), **options}
    given = {"xds_address": "127.0.0.1:0", "status_address": "127.0.0.1:0", **given}
    return running(OperatorOptions(kubeconfig=str(kubeconfig), **given))


@contextlib.asynccontextmanager
async def operating(kubeconfig: Path, **options: Any) -> AsyncIterator[Operator]:
    """An operator on free ports that serves already."""
    async with starting(kubeconfig, **options) as operator:
        await eventually(lambda: operator.plane.ready, "the operator is ready")
        yield operator


def installation(namespace: str, replica: str, **more: Any) -> OperatorConfig:
    """The configuration of one replica; the shortest lease that the election takes."""
    lease = {"duration": "4s", "renew": "2s", "retry": "1s"}
    given = {"namespace": namespace, "replica": replica, "lease": lease, **more}
    return read_config(yaml.safe_dump(given), "config.yaml")


async def lasting(function: Callable[[], None]) -> None:
    """Call *function*, which starts processes, beside the event loop."""
    await asyncio.get_running_loop().run_in_executor(_LASTING, function)


async def eventually(condition: Callable[[], Any], what: str, *, seconds: float = 15) -> Any:
    """The first true value of *condition*; AssertionError with *what* if there is none in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        await asyncio.sleep(0.01)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}")


class Site:
    """Objects of one test. Its gateway bears the name of its namespace, so that tests do not share proxies."""

    def __init__(self, kube: Cluster, namespace: str) -> None:
        self.kube, self.namespace, self.gateway = kube, namespace, namespace

    async def apply(self, manifest: Json) -> Json:
        result: Json = await asyncio.to_thread(self.kube.apply, manifest)
        return result

    async def get(self, manifest: Json) -> Json:
        result: Json = await asyncio.to_thread(self.kube.get, manifest)
        return result

    async def delete(self, manifest: Json) -> None:
        await asyncio.to_thread(self.kube.delete, manifest)

    def policy(self, name: str = "shop", *, backend: Json | None = None, port: int = 8080, **spec: Any) -> Json:
        ref = backend or {"name": "web", "port": 80}
        return {
            "apiVersion": "fairlead.dev/v1alpha1",
            "kind": "LoadBalancerPolicy",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "proxies": {"gateway": self.gateway},
                "listeners": [{"name": "http", "port": port, "protocol": "HTTP"}],
                "routes": [{"name": "all", "backendRefs": [ref]}],
                **spec,
            },
        }

    def service(self, name: str = "web", namespace: str = "") -> Json:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": namespace or self.namespace},
            "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        }

    def slice(self, *endpoints: Json, service: str = "web", namespace: str = "", port: int = 8080) -> Json:
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"{service}-1",
                "namespace": namespace or self.namespace,
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
            "endpoints": list(endpoints),
        }

    async def shop(self) -> Json:
        """A policy over a Service with one ready endpoint."""
        policy = self.policy()
        for manifest in (self.service(), self.slice(endpoint("10.9.0.1")), policy):
            await self.apply(manifest)
        return policy

    async def condition(self, policy: Json, kind: str) -> Json:
        """A condition as the API server has it; empty: none yet."""
        found = (await self.get(policy)).get("status", {}).get("conditions", [])
        return next((entry for entry in found if entry["type"] == kind), {})

    async def until(self, policy: Json, kind: str, status: str, **more: str) -> Json:
        """Wait until a condition has *status* (and *more* in its fields); the condition."""
        entry: Json = {}
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            entry = await self.condition(policy, kind)
            if entry.get("status") == status and all(text in entry[key] for key, text in more.items()):
                return entry
            await asyncio.sleep(0.03)
        raise AssertionError(f"{kind}={status} {more or ''} not seen within 15 s: {entry}")

    async def counted(self, policy: Json, summary: str) -> None:
        """Wait until the status counts endpoints like ``7/9``; counts are written once a second at most."""
        deadline = time.monotonic() + 15
        found = ""
        while time.monotonic() < deadline:
            found = (await self.get(policy)).get("status", {}).get("endpoints", {}).get("summary", "")
            if found == summary:
                return
            await asyncio.sleep(0.03)
        raise AssertionError(f"endpoints {summary} not seen within 15 s: {found}")

    def known_to(self, operator: Operator) -> set[str]:
        """The policies of this test that the operator knows; those of other tests may be there too."""
        return {ref.name for ref in operator.plane.world.policies if ref.namespace == self.namespace}

    def clean(self) -> None:
        """Without a namespace controller nobody else removes these."""
        for path in (
            f"/apis/fairlead.dev/v1alpha1/namespaces/{self.namespace}/loadbalancerpolicies",
            f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices",
            f"/api/v1/namespaces/{self.namespace}/secrets",
        ):
            with contextlib.suppress(ApiError):
                self.kube.request("DELETE", path)

    def envoy(self, operator: Operator, client: Client | None = None, **fields: Any) -> FakeEnvoy:
        """A proxy of this test's gateway."""
        client = client or DeltaClient(cluster=self.gateway, **fields)
        return FakeEnvoy(f"127.0.0.1:{operator.xds_port}", client)


def endpoint(address: str, *, ready: bool = True, serving: bool | None = None, terminating: bool = False) -> Json:
    conditions = {"ready": ready, "serving": ready if serving is None else serving, "terminating": terminating}
    return {"addresses": [address], "conditions": conditions}


def tls_secret(name: str, namespace: str, certificate: bytes, key: bytes) -> Json:
    data = {"tls.crt": certificate, "tls.key": key}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": name, "namespace": namespace},
        "data": {field: base64.b64encode(value).decode() for field, value in data.items()},
    }


def endpoints(client: Client) -> dict[str, str]:
    """Address -> health of every endpoint that a fake Envoy has."""
    found = {}
    for body in client.bodies[TypeUrl.ENDPOINT].values():
        assignment = endpoint_pb2.ClusterLoadAssignment.FromString(body)
        for locality in assignment.endpoints:
            for one in locality.lb_endpoints:
                address = one.endpoint.address.socket_address.address
                found[address] = health_check_pb2.HealthStatus.Name(one.health_status)
    return found
