"""A gateway's pod ends under load, as the kubelet ends it: preStop hook, then SIGTERM. No request fails."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest
import trustme

from fairlead_operator.endpoints import admin
from proxy import fairlead_proxy
from tests.support import pods, traffic
from tests.support.h2_client import GoneError, H2Client
from tests.support.http_client import Client
from tests.support.manifests import listener, site
from tests.support.rotating import Rotating

pytestmark = pytest.mark.timeout(120)

GATEWAYS = ("edge-a", "edge-b")


@dataclass
class Site:
    """Two gateways' pods with the same backends: what two pods behind one Service are to clients."""

    world: traffic.World
    ports: list[int]
    pods: list[pods.Pod]
    open: list[int] = field(default_factory=list)  # ports to which the Service still sends new connections
    turn: int = 0

    def pick(self) -> int:
        self.turn += 1
        return self.open[self.turn % len(self.open)]


@pytest.fixture
async def site_of_two(tmp_path: Path) -> AsyncIterator[Site]:
    world, ca = traffic.World(), trustme.CA()
    try:
        world.xds_port = await world.server.start("127.0.0.1:0", pods.credentials(ca))
        world.plane.synced()
        await world.service("web", 2)
        ports = [traffic.free_port() for _ in GATEWAYS]
        for gateway, port in zip(GATEWAYS, ports, strict=True):
            world.policy(gateway, site(listener(port), "web", gateway=gateway))
        volumes = [Rotating(tmp_path / gateway, ca=ca.cert_pem.bytes()) for gateway in GATEWAYS]
        first, second = (
            pods.pod(tmp_path, xds_port=world.xds_port, volumes=each, gateway=gateway, name=gateway)
            for gateway, each in zip(GATEWAYS, volumes, strict=True)
        )
        async with first as a, second as b:
            await a.answers(200)
            await b.answers(200)
            yield Site(world, ports, [a, b], list(ports))
    finally:
        await world.end()


@dataclass
class Count:
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    async def one(self, request: Awaitable[int]) -> None:
        try:
            status = await request
        except (OSError, asyncio.IncompleteReadError, GoneError) as error:
            self.failures.append(repr(error))
        else:
            self.answered += status == 200
            if status != 200:
                self.failures.append(str(status))


async def http1(site: Site, count: Count, more: Callable[[], bool], *, path: str = "/", pause: float = 0) -> None:
    """A client that keeps its connection while the server does."""
    client = Client(site.pick())

    async def get() -> int:
        return (await client.get(path)).status

    while more():
        if client._reader is None:
            client = Client(site.pick())
        await count.one(get())
        await asyncio.sleep(pause)
    await client.close()


async def http2(client: H2Client, count: Count, more: Callable[[], bool], *, path: str = "/") -> None:
    while more():
        await count.one(client.get(path))


async def test_a_gateway_pod_ends_under_load_and_no_request_fails(site_of_two: Site) -> None:
    going = True
    busy, lazy, slow, multiplexed = Count(), Count(), Count(), Count()
    h2_clients = [H2Client(site_of_two.pick) for _ in range(2)]
    leaving = site_of_two.pods[0]

    def more() -> bool:
        return going

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(http1(site_of_two, busy, more))
        for _ in range(8):
            tasks.create_task(http1(site_of_two, lazy, more, pause=0.3))
        for _ in range(8):
            tasks.create_task(http1(site_of_two, slow, more, path="/?delay=3"))
        for client in h2_clients:
            for path in ("/", "/", "/?delay=1"):
                tasks.create_task(http2(client, multiplexed, more, path=path))
        await asyncio.sleep(1)

        began = time.monotonic()
        hook = asyncio.create_task(leaving.fairlead_proxy("drain", "--for", "30s", "--at-least", "2s"))
        await leaving.answers(503)
        await asyncio.sleep(0.5)
        site_of_two.open.remove(site_of_two.ports[0])  # the news has gone round
        code, said = await hook
        drained = time.monotonic() - began
        assert (code, said) == (0, "")
        assert await leaving.terminate() == 0
        await asyncio.sleep(0.5)
        going = False

    for client in h2_clients:
        await client.close()
    counts = {"busy": busy, "idle at times": lazy, "slow": slow, "HTTP/2": multiplexed}
    for name, count in counts.items():
        assert not count.failures, name
        assert count.answered, name
    assert any(client.goaways for client in h2_clients)
    # It ended with the connections, not with the time.
    assert 2 <= drained < 25
    answered = ", ".join(f"{count.answered} {name}" for name, count in counts.items())
    print(f"a gateway pod drained for {drained:.1f} s and ended: {answered} requests, 0 failed")


@pytest.mark.parametrize("limit", ["1s", "300ms"])
async def test_a_drain_ends_with_its_time_though_a_client_stays(site_of_two: Site, limit: str) -> None:
    leaving, port = site_of_two.pods[0], site_of_two.ports[0]
    async with Client(port) as silent:
        await silent.get()

        began = time.monotonic()
        assert await leaving.fairlead_proxy("drain", "--for", limit, "--at-least", "0s") == (0, "")
        assert time.monotonic() - began >= fairlead_proxy.seconds(limit)

        # Still served, and told to leave.
        assert (await silent.get()).header("connection") == "close"
    assert await leaving.fairlead_proxy("drain", "--for", "20s", "--at-least", "0s") == (0, "")


async def test_a_drain_of_an_envoy_that_has_ended_does_not_hold_the_pod_up(site_of_two: Site) -> None:
    leaving = site_of_two.pods[0]
    await leaving.terminate()

    code, said = await leaving.fairlead_proxy("drain", "--for", "30s")

    assert code == 0
    assert "Envoy does not answer" in said


async def test_the_status_port_shows_metrics_endpoints_and_nothing_else_of_the_admin_page(site_of_two: Site) -> None:
    pod = site_of_two.pods[0]

    status, text = await pod.status("/stats/prometheus?usedonly")
    assert status == 200
    assert "envoy_server_live" in text
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://127.0.0.1:{pod.status_port}{admin.PATH}")
        assert admin.read(json.loads(await answer.read()))
    for path in ("/", "/quitquitquit", "/config_dump", "/stats", "/certs"):
        assert (await pod.status(path))[0] == 404
    assert await pod.fairlead_proxy("ready") == (0, "")
