"""``fairlead operator`` as its users have it: a process of its own, and a real Envoy with backends behind it."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fairlead_operator import bootstrap
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import DeltaClient, FakeEnvoy
from tests.support import netns
from tests.support.kube import Cluster
from tests.support.operating import Site, endpoint, endpoints
from tests.support.processes import Child, free_ports
from tests.support.real_envoy import ENVOY

pytestmark = pytest.mark.timeout(120)

FAIRLEAD = Path(sys.executable).with_name("fairlead")
BACKEND = """
import http.server, sys
class Name(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = sys.argv[1].encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer((sys.argv[1], 9000), Name).serve_forever()
"""


def fetch(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return str(error.code)
    except OSError as error:
        return str(error)


async def until(read: Callable[[], Any], want: Callable[[Any], bool], what: str, *, seconds: float = 30) -> Any:
    """What *read* gives as soon as it is wanted."""
    deadline = time.monotonic() + seconds
    found = None
    while time.monotonic() < deadline:
        if want(found := await asyncio.to_thread(read)):
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"not seen within {seconds:.0f} s: {what}; last: {found!r}")


def start(kube: Cluster, folder: Path, xds: str, status_port: int, *more: str) -> Child:
    command = [str(FAIRLEAD), "operator", "--kubeconfig", str(kube.kubeconfig), "--xds-address", xds]
    return Child([*command, "--status-address", f"127.0.0.1:{status_port}", *more], folder / "operator.log")


async def test_the_process_serves_and_ends_on_sigterm(kube: Cluster, site: Site, tmp_path: Path) -> None:
    xds_port, status_port = free_ports(2)
    process = start(kube, tmp_path, f"127.0.0.1:{xds_port}", status_port)
    pages = f"http://127.0.0.1:{status_port}"
    try:
        policy = await site.shop()
        await until(lambda: fetch(f"{pages}/readyz"), "ok\n".__eq__, "the process is ready")
        async with FakeEnvoy(f"127.0.0.1:{xds_port}", DeltaClient(cluster=site.gateway)) as envoy:
            await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}, 15)
            await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]))
            await site.until(policy, "Programmed", "True")
            metrics = await asyncio.to_thread(fetch, f"{pages}/metrics")
            assert "fairlead_proxies_connected 1\n" in metrics
            assert "fairlead_status_writes_total" in metrics
            listed = json.loads(await asyncio.to_thread(fetch, f"{pages}/status"))
            names = [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in listed["items"]]
            assert (site.namespace, "shop") in names
            process._process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process._process.wait, 10) == 0
            assert endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}
        log = process.log.read_text()
        assert "Traceback" not in log, log
    finally:
        process.end()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--xds-address", "0.0.0.0:18000"], "--allow-plaintext"),
        (["--kubeconfig", "/nonexistent/kubeconfig"], "/nonexistent/kubeconfig"),
    ],
)
def test_what_cannot_start_says_so_in_one_sentence(arguments: list[str], sentence: str) -> None:
    done = subprocess.run(
        [str(FAIRLEAD), "operator", *arguments], check=False, text=True, capture_output=True, timeout=30
    )
    assert done.returncode == 1
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.needs_root
async def test_a_request_reaches_backends_in_a_namespace(kube: Cluster, site: Site, tmp_path: Path) -> None:
    if why := netns.problem():
        pytest.skip(why)
    with netns.netns(addresses=4) as place:
        xds_port, status_port = free_ports(2, host=place.host)
        process = start(kube, tmp_path, f"{place.host}:{xds_port}", status_port, "--allow-plaintext")
        backends = [place.address(1), place.address(2)]
        for backend in backends:
            place.spawn([sys.executable, "-c", BACKEND, backend], tmp_path / "backend.log")
        config = bootstrap.bootstrap(gateway=site.gateway, node="edge-1", xds_host=place.host, xds_port=xds_port)
        (tmp_path / "envoy.json").write_text(bootstrap.text(config))
        envoy = [str(ENVOY), "-c", str(tmp_path / "envoy.json"), "--use-dynamic-base-id", "--concurrency", "1"]
        place.spawn([*envoy, "-l", "warning"], tmp_path / "envoy.log")
        try:
            policy = site.policy()
            for manifest in (site.service(), site.slice(*map(endpoint, backends), port=9000), policy):
                await site.apply(manifest)
            await site.until(policy, "Programmed", "True")
            url = f"http://{place.address(0)}:8080/"
            await until(lambda: fetch(url), backends.__contains__, "a request is answered")
            seen = Counter([await asyncio.to_thread(fetch, url) for _ in range(60)])
            assert seen.keys() == set(backends), seen
            leaving = endpoint(backends[0], ready=False)
            await site.apply(site.slice(leaving, endpoint(backends[1]), port=9000))
            await until(
                lambda: {fetch(url) for _ in range(10)}, {backends[1]}.__eq__, "requests leave what is not ready"
            )
            seen = Counter([await asyncio.to_thread(fetch, url) for _ in range(40)])
            assert seen == {backends[1]: 40}
            # Without its control plane the proxy goes on.
            process.end()
            assert await asyncio.to_thread(fetch, url) == backends[1]
        finally:
            process.end()
