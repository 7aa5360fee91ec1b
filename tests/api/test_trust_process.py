"""``fairlead operator --config`` as the chart runs it: with the chart's file and the chart's rights, and nothing more."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml

from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import FakeEnvoy
from tests.support import helm
from tests.support.kube import ApiError, Cluster
from tests.support.mute import Mute
from tests.support.operating import Site, eventually
from tests.support.processes import Child, free_ports
from tests.support.trusting import Installation, in_thread, installation_of

pytestmark = pytest.mark.timeout(150)

Json = dict[str, Any]
FAIRLEAD = Path(sys.executable).with_name("fairlead")
#: What does not need anybody to run it; the Deployment is there to own what the operator makes.
KINDS = {
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "MutatingWebhookConfiguration",
    "Deployment",
}


@pytest.fixture
def home(kube: Cluster, namespace: str) -> Iterator[Installation]:
    yield from installation_of(kube, namespace)


@pytest.fixture
def chart(kube: Cluster, home: Installation, tmp_path: Path) -> Iterator[Json]:
    """The chart's objects in the API server; the operator's configuration as it is in the pod."""
    values = helm.written({"gateways": [{"name": "edge", "namespaces": {"from": "All"}}]}, tmp_path)
    manifests = [one for one in yaml.safe_load_all(helm.text(values, namespace=home.namespace)) if one]
    applied = [one for one in manifests if one["kind"] in KINDS]
    for one in applied:
        kube.apply(one)
    (config,) = [
        one for one in manifests if one["kind"] == "ConfigMap" and one["metadata"]["name"] == "fairlead-config"
    ]
    yield yaml.safe_load(config["data"]["config.yaml"])
    for one in applied:
        if "namespace" not in one["metadata"]:
            with contextlib.suppress(ApiError):
                kube.delete(one)


def page(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()
    except OSError as error:
        return str(error)


async def test_the_operator_serves_a_gateway_with_the_rights_of_the_chart(
    kube: Cluster, home: Installation, chart: Json, tmp_path: Path
) -> None:
    xds, status, webhook = free_ports(3)
    addresses = {
        "xdsAddress": f"127.0.0.1:{xds}",
        "statusAddress": f"127.0.0.1:{status}",
        "webhookAddress": f"127.0.0.1:{webhook}",
        "replica": "operator-1",
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**chart, **addresses}))
    account = await in_thread(home.token, "fairlead-operator", audience="https://fairlead.test")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(kube.kubeconfig_for(account, home.namespace)))
    command = [str(FAIRLEAD), "operator", "--config", str(tmp_path / "config.yaml"), "--kubeconfig", str(kubeconfig)]
    process = Child(command, tmp_path / "operator.log")
    text = process.log.read_text
    site = Site(kube, home.namespace)
    site.gateway = "edge"
    try:
        ready = f"http://127.0.0.1:{status}/readyz"
        await eventually(lambda: page(ready) == "ok\n", f"it is ready\n{text()}", seconds=40)
        for name in ("fairlead-ca", "fairlead-xds-tls"):
            (owner,) = (await in_thread(home.secret, name))["metadata"]["ownerReferences"]
            assert (owner["kind"], owner["name"]) == ("Deployment", "fairlead-operator")
        await asyncio.to_thread(wait_for_bundles, kube, home)
        policy = await site.shop()
        bundle = await in_thread(home.bundle)
        # In the test's network the Service has no address: the name is what matters.
        named = (("grpc.ssl_target_name_override", f"fairlead-xds.{home.namespace}.svc"),)
        token = await in_thread(
            home.token, "fairlead-gateway-edge", pod=await in_thread(home.pod, "fairlead-gateway-edge")
        )
        credentials = grpc.ssl_channel_credentials(bundle.encode())
        async with grpc.aio.secure_channel(f"127.0.0.1:{xds}", credentials, options=named) as channel:
            async with FakeEnvoy("", channel=channel, token=token) as envoy:
                await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]), 20)
                await site.until(policy, "Programmed", "True")
            async with FakeEnvoy("", Mute(), channel=channel, token=account) as stranger:
                assert await stranger.wait_ended(15) is grpc.StatusCode.UNAUTHENTICATED
        metrics = await asyncio.to_thread(page, f"http://127.0.0.1:{status}/metrics")
        assert 'fairlead_xds_refused_total{reason="audience"} 1\n' in metrics
        assert 'fairlead_token_reviews_total{result="accepted"} 1\n' in metrics
        said = text()
        assert "xDS client" in said
        for part in (*token.split(".")[1:], *account.split(".")[1:], "PRIVATE KEY"):
            assert part not in said
        assert "Traceback" not in said
        assert "orbidden" not in said, said
    finally:
        process.end(grace=20)
        site.clean()
    assert process._process.returncode == 0, text()


def wait_for_bundles(kube: Cluster, home: Installation) -> None:
    def there() -> bool:
        path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/fairlead-injector"
        with contextlib.suppress(ApiError):
            bundle = home.bundle()
            hooks = kube.request("GET", path)["webhooks"]
            return bool(bundle) and all("caBundle" in hook["clientConfig"] for hook in hooks)
        return False

    kube.wait_for(there, "the ConfigMap and the webhook have the bundle")
