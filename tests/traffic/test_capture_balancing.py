"""Capture from end to end: real iptables lead to a real Envoy, which has from the control plane where to go."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fairlead_operator import envoy
from fairlead_operator.bootstrap import bootstrap
from fairlead_operator.sidecars import Group
from fairlead_xds.snapshot import TypeUrl
from tests.support import manifests, netns, traffic
from tests.support.pods import FAIRLEAD_PROXY

PROXY_UID = 61337
WHY_NOT = netns.problem() or ("" if shutil.which("iptables-nft") else "capture needs iptables: install it")
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.timeout(120)]
KEY = Group(manifests.NAMESPACE, (), capture=True).key
ADMIN = 19000

#: Answers HTTP with its name; arguments: NAME HOST PORT …
SERVERS = """
import sys, threading
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer  # HTTPServer would ask DNS for its own name
ThreadingTCPServer.allow_reuse_address = True
def serve(name, host, port):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        def do_GET(self):
            body = f"{name} {self.headers.get('x-forwarded-for')} {self.path}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *_): pass
    server = ThreadingTCPServer((host, int(port)), Handler)
    threading.Thread(target=server.serve_forever).start()
arguments = sys.argv[1:]
while arguments:
    serve(*arguments[:3])
    del arguments[:3]
print("up", flush=True)
"""
#: As an ordinary user: COUNT requests to URL, each on a connection of its own; one line an answer.
CLIENT = """
import os, sys, urllib.request
"".encode("idna")  # an import that this user may not be able to make
os.setuid(65534)
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
for _ in range(int(sys.argv[1])):
    try:
        print(opener.open(sys.argv[2], timeout=10).read().decode())
    except OSError as error:
        print("failed", error)
"""


class Pod:
    """A network namespace with a sidecar, the servers of two backends, and an address that nobody captures."""

    def __init__(self, inside: netns.Netns, world: traffic.World) -> None:
        self.inside, self.world = inside, world

    async def run(self, *command: str) -> str:
        return await asyncio.to_thread(self.inside.run, command, timeout=30)

    async def capture(self, *services: str) -> None:
        command = (sys.executable, "-I", str(FAIRLEAD_PROXY), "capture", "--services", ",".join(services))
        await self.run(*command, "--to", "15001", "--except-uid", str(PROXY_UID))

    async def asks(self, url: str, count: int = 1) -> list[str]:
        return (await self.run(sys.executable, "-c", CLIENT, str(count), url)).splitlines()

    async def through_envoy(self) -> int:
        """How many connections the sidecar has taken."""
        program = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read().decode())"
        url = f"http://127.0.0.1:{ADMIN}/stats?filter=127.0.0.1_15001.downstream_cx_total$&format=json"
        (found,) = json.loads(await self.run(sys.executable, "-c", program, url))["stats"]
        return int(found["value"])

    def has_all(self) -> bool:
        """The sidecar has acknowledged everything."""
        (proxy,) = self.world.server.proxies()
        return self.world._has_all(proxy)

    async def ready(self, name: str) -> None:
        await self.world.until(lambda: name in {ref.name for ref in self.world.plane.statuses})
        await self.world.until(lambda: self.world.is_true(name))


@pytest_asyncio.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    with netns.netns() as inside:
        inside.run(["ip", "address", "add", "10.96.3.4/32", "dev", "lo"])
        inside.run(["ip", "address", "add", "10.96.1.3/32", "dev", "lo"])
        # Service addresses are nobody's: without a route they would be refused before iptables sees them.
        inside.run(["ip", "route", "add", "default", "via", inside.host])
        inside.run(["ip", "-6", "route", "add", "fd00:96::/64", "dev", "lo"])
        servers = [
            *("one", inside.address(0), "8080", "two", inside.address(1), "8080"),
            *("other", "10.96.3.4", "80", "direct", "10.96.1.3", "80"),
        ]
        inside.spawn([sys.executable, "-c", SERVERS, *servers], tmp_path / "servers.log")
        world = traffic.World()
        try:
            world.xds_port = await world.server.start(f"{inside.host}:0")
            world.plane.synced()
            config = bootstrap(gateway=KEY, node="caller", xds_host=inside.host, xds_port=world.xds_port)
            config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": ADMIN}}}
            path = tmp_path / "envoy.json"
            path.write_text(json.dumps(config), "utf-8")
            for folder in (path, *path.parents[:3]):
                folder.chmod(0o755)
            user = ["setpriv", "--reuid", str(PROXY_UID), "--regid", str(PROXY_UID), "--clear-groups"]
            program = [envoy.find(), "-c", str(path), "--concurrency", "1", "--use-dynamic-base-id", "-l", "warning"]
            inside.spawn([*user, *program], tmp_path / "envoy.log")
            await world.until(lambda: "up" in (tmp_path / "servers.log").read_text())
            yield Pod(inside, world)
        finally:
            await world.end()


def _service(world: traffic.World, pod: Pod, service: str, *ips: str, **port: str) -> None:
    spec = {"clusterIPs": list(ips), "ports": [{"port": 80, **port}]}
    endpoints = [manifests.endpoint(pod.inside.address(0)), manifests.endpoint(pod.inside.address(1))]
    slices = manifests.endpoint_slice(service, 8080, endpoints)
    if "name" in port:
        slices["ports"][0]["name"] = port["name"]
    world.apply(manifests.service(service) | {"spec": spec}, slices)


@pytest.mark.asyncio
async def test_a_captured_service_is_balanced_and_everything_else_stays_as_it_was(pod: Pod) -> None:
    world = pod.world
    annotations = {"fairlead.dev/mode": "Capture", "fairlead.dev/captured": "10.96.1.2:80,10.96.1.3:80,10.96.1.4:80"}
    world.apply(manifests.pod("caller", {}, annotations=annotations))
    _service(world, pod, "web", "10.96.1.2", name="http")
    _service(world, pod, "tcp", "10.96.1.4")
    world.policy("web", manifests.attached("web", loadBalancer={"type": "RoundRobin"}))
    world.policy("tcp", manifests.attached("tcp", loadBalancer={"type": "RoundRobin"}))
    await pod.ready("web")
    await pod.ready("tcp")
    await pod.capture("10.96.1.2:80", "10.96.1.3:80", "10.96.1.4:80")

    # HTTP, by request; the request is as the client wrote it.
    answers = await pod.asks("http://10.96.1.2/a//b", 20)
    assert Counter(answers) == {"one None /a//b": 10, "two None /a//b": 10}
    # TCP, by connection.
    answers = await pod.asks("http://10.96.1.4/", 20)
    assert Counter(answers) == {"one None /": 10, "two None /": 10}
    taken = await pod.through_envoy()
    assert taken == 40

    # Not captured: not even near Envoy.
    assert await pod.asks("http://10.96.3.4/") == ["other None /"]
    assert await pod.through_envoy() == taken
    # Captured once, without a policy now: passed through to where it was going.
    assert await pod.asks("http://10.96.1.3/") == ["direct None /"]
    assert await pod.through_envoy() == taken + 1
    # Who calls the port itself was not captured: closed, and not in a circle for ever.
    (answer,) = await pod.asks("http://127.0.0.1:15001/")
    assert answer.startswith("failed")
    assert await pod.through_envoy() <= taken + 2


@pytest.mark.asyncio
async def test_both_families_are_captured(pod: Pod) -> None:
    world = pod.world
    captured = ("10.96.1.2:80", "[fd00:96::2]:80")
    annotations = {"fairlead.dev/mode": "Capture", "fairlead.dev/captured": ",".join(captured)}
    world.apply(manifests.pod("caller", {}, annotations=annotations))
    _service(world, pod, "web", "10.96.1.2", "fd00:96::2", appProtocol="http")
    world.policy("web", manifests.attached("web", loadBalancer={"type": "RoundRobin"}))
    await pod.ready("web")
    await pod.capture(*captured)

    for url in ("http://10.96.1.2/", "http://[fd00:96::2]/"):
        assert Counter(await pod.asks(url, 10)) == {"one None /": 5, "two None /": 5}


@pytest.mark.asyncio
async def test_endpoints_follow_and_a_policy_that_goes_lets_connections_pass(pod: Pod) -> None:
    world = pod.world
    captured = {"fairlead.dev/mode": "Capture", "fairlead.dev/captured": "10.96.1.3:80"}
    world.apply(manifests.pod("caller", {}, annotations=captured))
    _service(world, pod, "web", "10.96.1.3", name="http")
    world.policy("web", manifests.attached("web", sessionPersistence={"type": "Cookie", "name": "SERVERID"}))
    await pod.ready("web")
    await pod.capture("10.96.1.3:80")
    assert {answer.split()[0] for answer in await pod.asks("http://10.96.1.3/", 20)} == {"one", "two"}

    slices = manifests.endpoint_slice("web", 8080, [manifests.endpoint(pod.inside.address(1))])
    slices["ports"][0]["name"] = "http"
    world.apply(slices)
    await world.until(lambda: world.status("web")["endpoints"]["summary"] == "1/1")
    await world.until(pod.has_all)
    assert set(await pod.asks("http://10.96.1.3/", 10)) == {"two None /"}

    world.delete("LoadBalancerPolicy", "web")
    await world.until(lambda: world.store.current(KEY).get(TypeUrl.ROUTE, "captured/shop/web:80") is None)
    await world.until(pod.has_all)
    assert await pod.asks("http://10.96.1.3/", 3) == ["direct None /"] * 3
