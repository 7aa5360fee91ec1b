"""The duty that keeps the ports of gateways' Services: what it writes, and what it makes of refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from fairlead_operator.gateways import service as module
from fairlead_operator.gateways.service import GatewayServices
from fairlead_operator.sources.backoff import RECONNECT
from fairlead_operator.sources.client import ApiError
from fairlead_operator.world import World

pytestmark = pytest.mark.timeout(10)


class Cluster:
    """The API server and the control plane that watches it, with one Service of the chart."""

    def __init__(self) -> None:
        self.world, self.listeners = World(), set[int]()
        self.ports: list[dict[str, Any]] = [{"name": "http", "port": 80, "protocol": "TCP"}]
        self.refusal: Exception | None = None
        self.applied: list[list[int]] = []
        self.told: list[dict[tuple[str, int], str]] = []
        self.opened = asyncio.Event()
        self.seen()

    def seen(self) -> None:
        metadata = {"name": "gateway", "namespace": "system"}
        self.world.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": self.ports}})

    async def apply(self, path: str, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert (path, manager) == ("/api/v1/namespaces/system/services/gateway", "fairlead-ports")
        ports = manifest.get("spec", {}).get("ports", [])
        self.applied.append([port["port"] for port in ports])
        if self.refusal is not None:
            raise self.refusal
        self.ports = [self.ports[0], *ports]
        self.seen()
        return manifest

    def listening(self, gateway: str) -> Iterable[int]:
        return self.listeners if gateway == "edge" else ()

    def closed(self, ports: Mapping[tuple[str, int], str]) -> None:
        self.told.append(dict(ports))
        if not ports:
            self.opened.set()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_ports_come_and_go_and_refusals_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.0)
    cluster = Cluster()
    services = GatewayServices(cluster, cluster, "system", {"edge": "gateway"})
    task = asyncio.create_task(services.run())

    async def listen(*ports: int) -> None:
        cluster.listeners = set(ports)
        services.changed()
        await settled()

    await listen(80, 8080)
    await listen(80)  # the last one of ours goes
    assert cluster.applied == [[8080], []]
    assert [port["port"] for port in cluster.ports] == [80]
    cluster.refusal = ApiError(422, "provided port is already allocated")
    await listen(80, 9090)
    await listen(80, 9090)
    assert cluster.applied[2:] == [[9090]]  # the same again would be refused again
    assert list(cluster.told[-1]) == [("edge", 9090)]
    assert "provided port is already allocated" in cluster.told[-1]["edge", 9090]
    cluster.refusal = None
    await listen(80, 9090)
    assert cluster.applied[3:] == []  # not before its time
    cluster.ports[0] |= {"nodePort": 30080, "appProtocol": "http"}
    cluster.seen()
    await listen(80, 9090)
    assert cluster.applied[3:] == [[9090]]  # the Service is another one now
    cluster.applied.pop()
    await listen(80, 9091)
    assert cluster.applied[3:] == [[9091]]
    assert cluster.told[-1] == {}
    assert services.writes == 4
    task.cancel()


async def test_an_api_server_that_comes_back_is_asked_soon(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Exact: an outage is told once, and its length does not count when the server answers 503 at first."""
    delays: list[float] = []
    pause = asyncio.sleep

    async def sleep(seconds: float) -> None:
        if seconds:
            delays.append(seconds)
        await pause(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(module, "QUIET", 0.0)
    cluster = Cluster()
    cluster.listeners, cluster.refusal = {80, 8080}, ConnectionRefusedError("away")
    task = asyncio.create_task(GatewayServices(cluster, cluster, "system", {"edge": "gateway"}).run())
    while len(delays) < 20:
        await pause(0)
    cluster.refusal, outage = ApiError(503, "starting"), len(delays)
    while len(delays) == outage:
        await pause(0)
    cluster.refusal = None
    await settled()
    task.cancel()

    assert max(delays[:outage]) <= RECONNECT
    assert delays[outage] <= 0.2
    assert [port["port"] for port in cluster.ports] == [80, 8080]
    assert [record.getMessage().count("away") for record in caplog.records].count(1) == 1


async def test_trouble_with_one_service_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a webhook for some Services does not answer: the API server says 500 then."""
    monkeypatch.setattr(module, "QUIET", 0.0)
    cluster = Cluster()
    cluster.listeners = {80, 8080}
    metadata = {"name": "stubborn", "namespace": "system"}
    cluster.world.apply(
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": cluster.ports[:1]}}
    )
    apply = cluster.apply

    async def choosy(path: str, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        if path.endswith("/stubborn"):
            raise ApiError(500, "failed calling webhook")
        return await apply(path, manifest, manager=manager)

    monkeypatch.setattr(cluster, "apply", choosy)
    monkeypatch.setattr(cluster, "listening", lambda _gateway: cluster.listeners)
    services = GatewayServices(cluster, cluster, "system", {"first": "stubborn", "edge": "gateway"})
    task = asyncio.create_task(services.run())
    await settled()
    task.cancel()

    assert cluster.applied == [[8080]]
    assert list(cluster.told[-1]) == [("first", 8080)]
    assert "does not have it yet: failed calling webhook" in cluster.told[-1]["first", 8080]


async def test_what_was_refused_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AGAIN", 0.05)
    cluster = Cluster()
    cluster.listeners, cluster.refusal = {80, 9090}, ApiError(403, "exceeded quota")
    services = GatewayServices(cluster, cluster, "system", {"edge": "gateway"})
    task = asyncio.create_task(services.run())
    await settled()
    assert cluster.told[-1] != {}

    cluster.refusal = None  # and nothing wakes it
    async with asyncio.timeout(5):
        await cluster.opened.wait()
    await settled()

    assert [port["port"] for port in cluster.ports] == [80, 9090]
    task.cancel()


async def test_a_port_that_leads_elsewhere_is_told() -> None:
    cluster = Cluster()
    cluster.ports[0]["targetPort"] = 8080
    cluster.seen()
    cluster.listeners = {80, 8080}
    services = GatewayServices(cluster, cluster, "system", {"edge": "gateway"})
    task = asyncio.create_task(services.run())
    await settled()

    assert cluster.applied == []
    (told,) = cluster.told[-1].items()
    assert told[0] == ("edge", 80)
    assert "leads port 80 to 8080: listen there" in told[1]
    task.cancel()
