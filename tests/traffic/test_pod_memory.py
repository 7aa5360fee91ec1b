"""A sidecar is small: what every application's pod pays. ``pytest tests/traffic/test_pod_memory.py -s`` shows the figures."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trustme

from tests.support import pods, traffic
from tests.support.http_client import spread
from tests.support.manifests import listener, route, site
from tests.support.rotating import Rotating

pytestmark = pytest.mark.timeout(120)

SERVICES = 20
REQUESTS = 300  # to each
LIMIT = 40.0  # MB


def megabytes(pid: int, name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) / 1024


async def test_a_sidecar_of_twenty_services_stays_below_its_limit(tmp_path: Path) -> None:
    world, ca = traffic.World(), trustme.CA()
    try:
        world.xds_port = await world.server.start("127.0.0.1:0", pods.credentials(ca))
        world.plane.synced()
        routes = []
        for number in range(SERVICES):
            await world.service(f"web-{number}", 2)
            routes.append(route(f"r-{number}", f"web-{number}", matches=[{"path": {"value": f"/{number}/"}}]))
        # The authenticator of this world goes by the cluster that the sidecar's bootstrap names.
        world.policy("shop", site(listener(world.port), routes, gateway="sidecar"))
        volumes = Rotating(tmp_path, ca=ca.cert_pem.bytes())
        async with pods.pod(tmp_path, xds_port=world.xds_port, volumes=volumes) as pod:
            await pod.answers(200)
            idle = megabytes(pod.process.pid, "RssAnon")
            for number in range(SERVICES):
                tally = await spread(world.port, REQUESTS, concurrency=16, path=f"/{number}/")
                assert not tally.failures
            await pod.status("/stats/prometheus")
            # Pages of the binary are one and the same for all sidecars of a node and given back when memory is short.
            private, shared = (megabytes(pod.process.pid, name) for name in ("RssAnon", "RssFile"))
    finally:
        await world.end()

    print(
        f"a sidecar of {SERVICES} Services: {idle:.1f} MB of its own, {private:.1f} MB after {SERVICES * REQUESTS} requests;"
        f" {shared:.1f} MB of the binary mapped"
    )
    assert private <= LIMIT
