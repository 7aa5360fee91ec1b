"""A gateway on every node, on the node's own network: added to a release that runs, used, and taken away again."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import pytest
import yaml

from e2e.cluster import install
from e2e.support import objects
from e2e.support.load import Load, Loads
from e2e.support.nodes import Nodes
from e2e.support.site import Site

PORT = 8088
#: Beside the gateways of the test cluster; a list of Helm values is replaced as a whole.
GATEWAYS = {
    "gateways": [
        {"name": "edge"},
        {
            "name": "node",
            "kind": "DaemonSet",
            "hostNetwork": True,
            "namespaces": {"from": "All"},
            "service": {"enabled": False},
        },
    ]
}


@pytest.mark.timeout(420)
def test_a_gateway_on_every_node(
    site: Site, nodes: Nodes, tmp_path: pathlib.Path, proved: Callable[[str], None]
) -> None:
    site.app("web", replicas=2)
    values = tmp_path / "values.yaml"
    values.write_text(yaml.safe_dump(GATEWAYS))
    policy = objects.policy(
        site.namespace, {"web": 1}, listener={"name": "http", "port": PORT, "protocol": "HTTP"}, hostname=site.hostname
    )
    policy["spec"]["proxies"] = {"gateway": "node"}
    try:
        install.install(site.cluster.kubeconfig, "--values", values)
        site.cluster.programmed(policy, seconds=90)
        addresses = nodes.addresses()
        everywhere = f"{len(addresses)}/{len(addresses)}"
        site.cluster.wait_for(
            lambda: site.cluster.get(policy)["status"]["proxies"]["summary"] == everywhere,
            "it is on every node",
            seconds=60,
        )
        words = ["--host", site.hostname, "--rate", "50"]
        running = Loads(
            Load(
                site.cluster,
                site.namespace,
                f"load-{name}",
                ["--url", f"http://{address}:{PORT}/", *words],
                way=f"node {name}",
            )
            for name, address in addresses.items()
        )
        running.more(100)
        site.restart("web")
        running.more(100)
        report = running.stop()
    finally:
        site.cluster.delete(policy)
        install.install(site.cluster.kubeconfig)

    assert not report.failed, report.words()
    assert set(report.ways()) == {f"node {name}" for name in addresses}
    assert all(len(part) > 200 for part in report.ways().values())
    proved(f"a DaemonSet on the network of {len(addresses)} nodes, and a rollout behind it: {report.words()}")
