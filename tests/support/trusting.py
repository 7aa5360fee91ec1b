"""An installation for tests: its namespace and accounts in the real API server, an operator over TLS, proxies with tokens."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from fairlead_operator.app import Operator, OperatorOptions, running
from fairlead_operator.trust.assembly import TrustOptions
from fairlead_operator.trust.authority import Lives
from fairlead_xds.testing import Client, DeltaClient, FakeEnvoy
from tests.support.kube import ISSUER, ApiError, Cluster
from tests.support.operating import QUICK, eventually

Json = dict[str, Any]
AUDIENCE = "fairlead.dev/xds"
NAMES = ("localhost", "fairlead-xds.fairlead-system.svc")
_pods = itertools.count(1)


class Installation:
    """Objects of one installation. *namespace* has one gateway, named like it, with the account ``edge``."""

    def __init__(self, kube: Cluster, namespace: str) -> None:
        self.kube, self.namespace, self.gateway = kube, namespace, namespace
        self.account("edge")
        self.account("operator")

    def options(self, **more: Any) -> TrustOptions:
        given: Json = {"names": NAMES, "gateways": {"edge": self.gateway}, **more}
        return TrustOptions(namespace=self.namespace, audience=AUDIENCE, **given)

    def account(self, name: str, namespace: str = "") -> None:
        metadata = {"name": name, "namespace": namespace or self.namespace}
        self.kube.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})

    def pod(self, account: str = "edge", namespace: str = "") -> Json:
        """A pod of *account*: an object that nobody runs."""
        metadata = {"name": f"{account}-{next(_pods)}", "namespace": namespace or self.namespace}
        spec = {"serviceAccountName": account, "containers": [{"name": "proxy", "image": "none"}]}
        found: Json = self.kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        return found

    def token(
        self, account: str = "edge", *, namespace: str = "", audience: str = AUDIENCE, pod: Json | None = None
    ) -> str:
        """A token as the kubelet asks for it."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/serviceaccounts/{account}/token"
        spec: Json = {"audiences": [audience], "expirationSeconds": 3600}
        if pod is not None:
            name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
            spec["boundObjectRef"] = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return str(self.kube.request("POST", path, asked)["status"]["token"])

    def signed_token(self, *, expires: float, account: str = "edge") -> str:
        """One that the API server would have made, with an end of the caller's choice: signed by its key."""
        key = serialization.load_pem_private_key((self.kube.folder / "service-account.pem").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}"
        uid = self.kube.request("GET", path)["metadata"]["uid"]
        kubernetes = {"namespace": self.namespace, "serviceaccount": {"name": account, "uid": uid}}
        claims = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": f"system:serviceaccount:{self.namespace}:{account}",
            "iat": int(time.time()) - 7200,
            "nbf": int(time.time()) - 7200,
            "exp": int(expires),
            "kubernetes.io": kubernetes,
        }
        text = ".".join(_part(json.dumps(one).encode()) for one in ({"alg": "ES256", "typ": "JWT"}, claims))
        r, s = utils.decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def secret(self, name: str) -> Json:
        found: Json = self.kube.request("GET", f"/api/v1/namespaces/{self.namespace}/secrets/{name}")
        return found

    def bundle(self, namespace: str = "") -> str:
        """What pods of *namespace* have as their ``ca.crt``."""
        path = f"/api/v1/namespaces/{namespace or self.namespace}/configmaps/fairlead-ca"
        return str(self.kube.request("GET", path)["data"]["ca.crt"])

    def credentials(self) -> grpc.ChannelCredentials:
        """Of a proxy that reads its bundle now."""
        return grpc.ssl_channel_credentials(self.bundle().encode())

    def envoy(self, operator: Operator, token: str | None, client: Client | None = None) -> FakeEnvoy:
        address = f"localhost:{operator.xds_port}"
        client = client or DeltaClient(cluster="what-it-says-counts-nothing")
        return FakeEnvoy(address, client, credentials=self.credentials(), token=token)


@contextlib.asynccontextmanager
async def trusting(
    installation: Installation, kubeconfig: Path, *, port: int = 0, **trust: Any
) -> AsyncIterator[Operator]:
    """An operator of the installation, ready to serve."""
    options = OperatorOptions(
        kubeconfig=str(kubeconfig),
        xds_address=f"127.0.0.1:{port}",
        status_address="127.0.0.1:0",
        timings=QUICK,
        settle=0.0,
        kopf_backoff=(0.02, 0.5),
        trust=installation.options(**trust),
    )
    async with running(options) as operator:
        await eventually(lambda: operator.plane.ready and operator.xds_port, "the operator serves")
        await eventually(lambda: _has_bundle(installation), "the bundle is in the ConfigMap")
        yield operator


def lives(overlap: float) -> Lives:
    """With an overlap of so many seconds."""
    return replace(Lives(), overlap=datetime.timedelta(seconds=overlap))


def installation_of(kube: Cluster, namespace: str) -> Iterator[Installation]:
    """For a fixture."""
    yield Installation(kube, namespace)
    for plural in ("secrets", "configmaps", "pods"):
        with contextlib.suppress(ApiError):
            kube.request("DELETE", f"/api/v1/namespaces/{namespace}/{plural}")


def _has_bundle(installation: Installation) -> bool:
    with contextlib.suppress(ApiError):
        return bool(installation.bundle())
    return False


def _part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def in_thread(function: Any, *arguments: Any, **more: Any) -> Any:
    return await asyncio.to_thread(function, *arguments, **more)
