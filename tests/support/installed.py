"""The operator as the chart runs it: its own process, the chart's configuration file, and the chart's rights alone.

The pods are objects that no kubelet runs; the process stands for the container of one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import yaml

from fairlead_xds.testing import DeltaClient, FakeEnvoy
from tests.support import helm
from tests.support.accounts import RBAC, Account
from tests.support.api_proxy import ApiProxy, api_proxy
from tests.support.kube import ApiError, Cluster
from tests.support.operating import eventually
from tests.support.processes import Child, free_ports

Json = dict[str, Any]

FAIRLEAD = Path(sys.executable).with_name("fairlead")
REPLICA = "fairlead-operator-0"


class Installed:
    """A release whose objects are in the API server.

    Attributes:
        account: of the operator.
        proxy: what the operator takes for the API server; it records what is asked.
        child: the operator.
    """

    def __init__(self, kube: Cluster, namespace: str, *values: Path) -> None:
        self.kube, self.namespace = kube, namespace
        self.account = Account(kube, namespace, *values)
        self.manifests = [
            one for one in helm.objects(*values, namespace=namespace) if one["kind"] not in {*RBAC, "Pod"}
        ]
        self.manifests += [one for one in self.account.manifests if one["kind"] == "ServiceAccount"]
        for one in self.manifests:
            kube.apply(one, manager="helm")
        self.xds_port, self.status_port, self.webhook_port = free_ports(3)
        self.proxy: ApiProxy
        self.child: Child

    def config(self, folder: Path) -> Path:
        """The configuration of the chart, on ports of this machine."""
        (found,) = [one for one in self.manifests if one["metadata"]["name"] == "fairlead-config"]
        config = yaml.safe_load(found["data"]["config.yaml"])
        ports = {"xdsAddress": self.xds_port, "statusAddress": self.status_port, "webhookAddress": self.webhook_port}
        config |= {key: f"127.0.0.1:{port}" for key, port in ports.items()}
        path = folder / "config.yaml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return path

    def pod(self, name: str, account: str, namespace: str = "", **labels: str) -> Json:
        """A pod that nobody runs."""
        namespace = namespace or self.namespace
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        spec = {"serviceAccountName": account, "containers": [{"name": "main", "image": "none"}]}
        found: Json = self.kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        return found

    def token(self, pod: Json) -> str:
        """What the kubelet would give *pod* for our audience."""
        metadata, account = pod["metadata"], pod["spec"]["serviceAccountName"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": ["fairlead.dev/xds"], "expirationSeconds": 3600, "boundObjectRef": bound}
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.kube.request("POST", path, request)["status"]["token"])

    def ready(self) -> bool:
        """What the kubelet would see."""
        assert self.child.running(), self.child.tail(40)
        with (
            contextlib.suppress(OSError),
            urllib.request.urlopen(f"http://127.0.0.1:{self.status_port}/readyz") as answer,
        ):
            return bool(answer.status == 200)
        return False

    def bundle(self, namespace: str = "") -> str:
        """What proxies of a namespace believe; empty: nothing is there yet."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/configmaps/fairlead-ca"
        with contextlib.suppress(ApiError):
            return str(self.kube.request("GET", path)["data"]["ca.crt"])
        return ""

    def clean(self) -> None:
        """Without a controller nobody else removes what would concern other tests."""
        for one in self.manifests:
            if one["kind"] == "MutatingWebhookConfiguration":
                self.kube.delete(one)
        for path in (
            f"/api/v1/namespaces/{self.namespace}/pods",
            f"/api/v1/namespaces/{self.namespace}/secrets",
            f"/api/v1/namespaces/{self.namespace}/configmaps",
            f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases",
        ):
            self.kube.request("DELETE", path)

    def envoy(self, pod: Json) -> FakeEnvoy:
        """A proxy with the token of *pod* that verifies the operator as the bootstrap says."""
        options = [
            ("grpc.ssl_target_name_override", f"fairlead-xds.{self.namespace}.svc"),
            ("grpc.use_local_subchannel_pool", 1),
        ]
        credentials = grpc.ssl_channel_credentials(self.bundle().encode())
        channel = grpc.aio.secure_channel(f"127.0.0.1:{self.xds_port}", credentials, options)
        return FakeEnvoy("", DeltaClient(cluster="it-does-not-count"), channel=channel, token=self.token(pod))


@contextlib.asynccontextmanager
async def installed(kube: Cluster, namespace: str, folder: Path, *values: Path) -> AsyncIterator[Installed]:
    """A release with one running replica."""
    release = Installed(kube, namespace, *values)
    uid = release.pod(REPLICA, "fairlead-operator")["metadata"]["uid"]
    async with api_proxy(kube, folder, token=release.account.token) as release.proxy:
        environment = {"POD_NAME": REPLICA, "POD_NAMESPACE": namespace, "POD_UID": uid}
        command = [str(FAIRLEAD), "operator", "--config", str(release.config(folder))]
        os.environ.update(environment)
        try:
            release.child = Child([*command, "--kubeconfig", str(release.proxy.kubeconfig)], folder / "operator.log")
        finally:
            for name in environment:
                del os.environ[name]
        try:
            await eventually(release.ready, "the operator is ready", seconds=60)
            await eventually(release.bundle, "what proxies believe by is there")
            yield release
        finally:
            await asyncio.to_thread(release.child.end)
            release.account.withdraw()
            release.clean()
