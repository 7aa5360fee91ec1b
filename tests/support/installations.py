"""An installation as its users have it: several operators as processes, real Envoys spread over them, and load through those.

Tests kill what they like of it, while every request is counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fairlead_operator.bootstrap import bootstrap
from fairlead_operator.envoy import Envoy
from tests.support.backends import Backend
from tests.support.http_client import Client
from tests.support.kube import Cluster
from tests.support.netns import Netns
from tests.support.operating import Json, Site, endpoint
from tests.support.processes import Child, free_ports
from tests.support.traffic import free_port

FAIRLEAD = Path(sys.executable).with_name("fairlead")
#: Seconds; the shortest that the election takes.
LEASE, RENEW, RETRY = 4, 2, 1


@dataclass(slots=True)
class Load:
    """What clients saw.

    Attributes:
        done, failures: requests that were answered with 200, and why others were not.
        connections: opened so far.
        in_flight, most: requests that wait for an answer now, and the most that did at once.
    """

    done: int = 0
    failures: list[str] = field(default_factory=list)
    connections: int = 0
    in_flight: int = 0
    most: int = 0

    def __str__(self) -> str:
        return (
            f"{self.done + len(self.failures)} requests over {self.connections} connections, up to {self.most} at once,"
            f" {len(self.failures)} failed"
        )


@dataclass(slots=True)
class Replica:
    """One operator process; its ports stay with its place, its name is new with each start."""

    name: str
    xds_port: int
    status_port: int
    process: Child

    def kill(self) -> None:
        self.process.end(grace=0)

    async def terminate(self, patience: float = 20) -> int:
        """SIGTERM; the exit code."""
        self.process._process.send_signal(signal.SIGTERM)
        return int(await asyncio.to_thread(self.process._process.wait, patience))

    async def page(self, path: str) -> str:
        return await asyncio.to_thread(_fetch, f"http://127.0.0.1:{self.status_port}{path}")


class Installation:
    """Everything of one test; ``installed`` makes it."""

    def __init__(self, kube: Cluster, site: Site, folder: Path, place: Netns) -> None:
        self.kube, self.site, self.folder, self.place = kube, site, folder, place
        self.port = free_port()
        self.replicas: list[Replica] = []
        self.envoys: list[Envoy] = []
        self.backends: list[Backend] = []
        self.policy: Json = {}
        self._ports = [tuple(free_ports(2)) for _ in range(3)]
        self._started = self._changes = 0

    # --- its parts

    def start(self, index: int) -> Replica:
        """An operator on place *index*."""
        self._started += 1
        name = f"operator-{self._started}"
        xds_port, status_port = self._ports[index]
        config = self.folder / "config.yaml"
        if not config.exists():
            given = {
                "namespace": self.site.namespace,
                "replica": "$(POD_NAME)",
                "lease": {"duration": f"{LEASE}s", "renew": f"{RENEW}s", "retry": f"{RETRY}s"},
                "gateways": [{"name": self.site.gateway, "namespaces": {"from": "All"}}],
            }
            config.write_text(yaml.safe_dump(given))
        command = ["env", f"POD_NAME={name}", str(FAIRLEAD), "operator", "--config", str(config)]
        command += ["--kubeconfig", str(self.kube.kubeconfig)]
        command += ["--xds-address", f"127.0.0.1:{xds_port}", "--status-address", f"127.0.0.1:{status_port}"]
        replica = Replica(name, xds_port, status_port, Child(command, self.folder / f"{name}.log"))
        self.replicas[index : index + 1] = [replica]
        return replica

    async def ready(self, *replicas: Replica) -> None:
        for replica in replicas or self.replicas:
            await self.until(lambda replica=replica: replica.page("/readyz"), "ok\n", f"{replica.name} is ready")

    async def start_envoy(self) -> None:
        name = f"edge-{len(self.envoys) + 1}"
        config = bootstrap(gateway=self.site.gateway, node=name, xds_host="127.0.0.1", xds_port=1)
        # A cluster has a Service in front of the replicas; here Envoy knows all of them, and takes any. (By name it may
        # resolve one before the others, and would go there each time.)
        (cluster,) = config["static_resources"]["clusters"]
        cluster |= {"type": "STATIC", "lb_policy": "RANDOM"}
        (locality,) = cluster["load_assignment"]["endpoints"]
        locality["lb_endpoints"] = [
            {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
            for port, _ in self._ports
        ]
        self.envoys.append(await Envoy.start(config, name=name, concurrency=1))

    async def backend(self) -> Backend:
        """One more, in a slice of its own."""
        name = f"web-{len(self.backends) + 1}"
        backend = await Backend(name, self.place.host).start()
        self.backends.append(backend)
        await self.site.apply(self._slice(backend))
        return backend

    async def retire(self, backend: Backend) -> None:
        """Its endpoint goes. It still answers: whoever has not heard of it may ask it."""
        await self.site.delete(self._slice(backend))

    def _slice(self, backend: Backend) -> Json:
        manifest = self.site.slice(endpoint(backend.address), port=backend.port)
        manifest["metadata"]["name"] = backend.name
        return manifest

    # --- what can be seen

    async def leader(self) -> Replica | None:
        """Who holds the Lease, if it is one of those that run."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.site.namespace}/leases/fairlead-leader"
        lease = await asyncio.to_thread(self.kube.request, "GET", path)
        holder = lease["spec"]["holderIdentity"]
        return next((one for one in self.replicas if one.name == holder and one.process.running()), None)

    async def until(self, read: Any, want: Any, what: str, *, seconds: float = 75) -> None:
        found, deadline = None, time.monotonic() + seconds
        while time.monotonic() < deadline:
            if (found := await read()) == want:
                return
            await asyncio.sleep(0.05)
        logs = "\n".join(f"{one.name}: {one.process.tail(8)}" for one in self.replicas)
        raise AssertionError(f"not seen within {seconds:.0f} s: {what}; last: {found!r}\n{logs}")

    async def change(self) -> int:
        """Another generation of the policy; its number."""
        self._changes += 1
        self.policy["spec"]["routes"][0]["timeouts"] = {"request": f"{60 + self._changes}s"}
        generation: int = (await self.site.apply(self.policy))["metadata"]["generation"]
        return generation

    async def right(self, generation: int, *, seconds: float = 75) -> float:
        """Wait until the status says that every Envoy has *generation*; how long that took."""
        began, count = time.monotonic(), len(self.envoys)
        want = (generation, "True", f"{count}/{count}")
        await self.until(self._said, want, "the status is right", seconds=seconds)
        return time.monotonic() - began

    async def _said(self) -> tuple[int, str, str]:
        status = (await self.site.get(self.policy)).get("status", {})
        programmed = [one["status"] for one in status.get("conditions", []) if one["type"] == "Programmed"]
        summary = status.get("proxies", {}).get("summary", "")
        return (status.get("observedGeneration", 0), "".join(programmed), summary)

    async def status_writes(self) -> dict[str, int]:
        """By replica, as their metrics say."""
        found = {}
        for replica in self.replicas:
            page = await replica.page("/metrics")
            lines = [line for line in page.splitlines() if line.startswith("fairlead_status_writes_total ")]
            found[replica.name] = int(lines[0].split()[1]) if lines else -1
        return found

    async def connected(self) -> dict[str, int]:
        """Proxies by replica, as their reports say."""
        path = f"/api/v1/namespaces/{self.site.namespace}/configmaps?labelSelector=fairlead.dev/replica-report=true"
        found = await asyncio.to_thread(self.kube.request, "GET", path)
        names = {one.name for one in self.replicas}
        return {
            item["metadata"]["name"]: sum(json.loads(item["data"]["report"])["connected"].values())
            for item in found["items"]
            if item["metadata"]["name"] in names
        }

    # --- load

    @contextlib.asynccontextmanager
    async def load(self) -> AsyncIterator[Load]:
        """Requests through the Envoys, half over connections that stay, half over new ones, while the block runs."""
        load, stop = Load(), asyncio.Event()

        async def work(*, keep: bool) -> None:
            client = Client(self.port)
            while not stop.is_set():
                load.in_flight += 1
                load.most = max(load.most, load.in_flight)
                try:
                    answer = await client.get("/")
                    if answer.status == 200:
                        load.done += 1
                    else:
                        load.failures.append(f"{answer.status} {answer.body[:100]}")
                except (OSError, asyncio.IncompleteReadError) as error:
                    load.failures.append(repr(error))
                load.in_flight -= 1
                if not keep:
                    await client.close()
                await asyncio.sleep(0.02)
            await client.close()
            load.connections += client.connections

        async with asyncio.TaskGroup() as tasks:
            for number in range(16):
                tasks.create_task(work(keep=number % 2 == 0))
            try:
                yield load
            finally:
                stop.set()

    async def end(self) -> None:
        for replica in self.replicas:
            replica.kill()
        await asyncio.gather(*(envoy.stop() for envoy in self.envoys))
        await asyncio.gather(*(backend.stop() for backend in self.backends))


@contextlib.asynccontextmanager
async def installed(
    kube: Cluster, site: Site, folder: Path, place: Netns, *, replicas: int = 3, envoys: int = 3
) -> AsyncIterator[Installation]:
    """A policy with two backends, served: every status is right."""
    it = Installation(kube, site, folder, place)
    try:
        it._ports = it._ports[:replicas]
        for index in range(replicas):
            it.start(index)
        await site.apply(site.service())
        for _ in range(2):
            await it.backend()
        it.policy = site.policy(port=it.port)
        await site.apply(it.policy)
        await it.ready()
        for _ in range(envoys):
            await it.start_envoy()
        await it.right(1)
        yield it
    finally:
        await it.end()


def _fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.read().decode())
    except OSError as error:
        return str(error)
