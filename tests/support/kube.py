"""A real API server for the tests: etcd and kube-apiserver on loopback, Ready in a few seconds.

``tests/api/conftest.py`` starts one per session. Nothing schedules or runs pods; a controller-manager, where a test
needs slices, garbage collection or the end of namespaces, is started by ``start_controller_manager``.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import json
import os
import pathlib
import shutil
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, Self

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.processes import Child, free_ports
from tools import build

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Of a server that lives on loopback for one test session.
TOKEN = "tests-admin"
ISSUER = "https://fairlead.test"
#: Start of the name of a cluster's folder; the process id of who made it follows.
FOLDER = "fairlead-kube-"


class ClusterError(Exception):
    """The cluster does not do what the tests need; the message says why."""


class ApiError(Exception):
    """An answer that is no success: its HTTP status, and the ``message`` and ``reason`` of its ``Status`` object."""

    def __init__(self, code: int, body: str) -> None:
        try:
            status = json.loads(body)
        except ValueError:
            status = {}
        self.code = code
        self.message: str = status.get("message", body)
        self.reason: str = status.get("reason", "")
        self.causes: list[dict[str, str]] = (status.get("details") or {}).get("causes", [])
        super().__init__(f"{code}: {self.message}")


def assets() -> pathlib.Path:
    """Folder with the binaries, built if need be (``tools/build.py``, which honours KUBEBUILDER_ASSETS)."""
    try:
        return build.assets()
    except build.ToolError as error:
        raise ClusterError(f"no API server for the tests: {error}") from None


class Cluster:
    """A running API server.

    Attributes:
        url: ``https://127.0.0.1:PORT``, the same over restarts.
        token: bearer token of a cluster administrator.
        ca_file, kubeconfig: files that clients take.
        watch_cache: False makes the API server answer every watch from etcd; then ``compact`` alone makes an old
            resourceVersion 410. With the cache (the default, and what clusters have) it takes ``expire``.
    """

    def __init__(self, *, watch_cache: bool = True) -> None:
        self._binaries = assets()
        _sweep()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
        self.watch_cache = watch_cache
        self.token = TOKEN
        self.ca_file, self.kubeconfig = self.folder / "ca.pem", self.folder / "kubeconfig"
        self._etcd_port, self._etcd_peer_port, self._port = free_ports(3)
        self.url = f"https://127.0.0.1:{self._port}"
        self._children: dict[str, Child] = {}
        self._write_credentials()
        self._tls = ssl.create_default_context(cafile=str(self.ca_file))

    # Life

    def __enter__(self) -> Self:
        try:
            self._start_etcd()
            self.start_apiserver()
            self.install(*sorted((ROOT / "crds").glob("*.yaml")), ROOT / "tests/support/referencegrant-crd.yaml")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        # In the reverse order, and without ceremony: nothing here is kept.
        for name in reversed(list(self._children)):
            self._children.pop(name).end(grace=0)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, name: str, *flags: str) -> Child:
        child = Child([str(self._binaries / name), *flags], self.folder / f"{name}.log")
        self._children[name] = child
        return child

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._etcd_peer_port))
        self._spawn(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def start_apiserver(self) -> None:
        """Start it and wait until it is Ready."""
        key = self.folder / "service-account.pem"
        child = self._spawn(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            f"--cert-dir={self.folder / 'certs'}",
            f"--tls-cert-file={self.folder / 'server.pem'}",
            f"--tls-private-key-file={self.folder / 'server.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            f"--service-account-issuer={ISSUER}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--endpoint-reconciler-type=none",
            "--allow-privileged=true",
            "--enable-priority-and-fairness=false",
            f"--watch-cache={str(self.watch_cache).lower()}",
        )
        self._wait_ready(child, f"{self.url}/readyz", seconds=60)

    def stop_apiserver(self, *, grace: float = 0) -> None:
        """End it; etcd keeps everything. By default as a crash: connections break without a word."""
        self._children.pop("kube-apiserver").end(grace=grace)

    def restart_apiserver(self) -> None:
        """Crash it and start it again with the same etcd, ports and certificates."""
        self.stop_apiserver()
        self.start_apiserver()

    def start_controller_manager(self, *controllers: str) -> None:
        """Start the controller-manager with *controllers* (default: all), unless it runs."""
        if "kube-controller-manager" in self._children:
            return
        (port,) = free_ports(1)
        child = self._spawn(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig}",
            f"--authentication-kubeconfig={self.kubeconfig}",
            f"--authorization-kubeconfig={self.kubeconfig}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={self.folder / 'controller-manager'}",
            f"--controllers={','.join(controllers) or '*'}",
            f"--service-account-private-key-file={self.folder / 'service-account.pem'}",
            "--leader-elect=false",
            # Its default of 20 requests a second is for one that shares the API server with a thousand others.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        )
        # Its certificate is its own; only that it serves matters here.
        self._wait_ready(child, f"https://127.0.0.1:{port}/healthz", seconds=60, tls=_unverified())

    def stop_controller_manager(self) -> None:
        if child := self._children.pop("kube-controller-manager", None):
            child.end(grace=0)

    def _wait_ready(self, child: Child, url: str, *, seconds: float, tls: ssl.SSLContext | None = None) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not child.running():
                raise ClusterError(f"{child.name} ended at once:\n{child.tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):  # refused, or 500 while it comes up
                request = urllib.request.Request(url, headers=headers)
                with urllib.request.urlopen(request, context=tls or self._tls, timeout=2):
                    return
            time.sleep(0.05)
        raise ClusterError(f"{child.name} is not ready after {seconds:.0f} s:\n{child.tail()}")

    def _write_credentials(self) -> None:
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        authority.cert_pem.write_to_path(str(self.ca_file))
        certificate.cert_chain_pems[0].write_to_path(str(self.folder / "server.pem"))
        certificate.private_key_pem.write_to_path(str(self.folder / "server.key"))
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (self.folder / "service-account.pem").write_bytes(key)
        (self.folder / "tokens.csv").write_text(f'{self.token},admin,admin,"system:masters"\n')
        self.kubeconfig.write_text(yaml.safe_dump(self.kubeconfig_for(self.token)))

    def kubeconfig_for(self, token: str, namespace: str = "default") -> dict[str, Any]:
        """A kubeconfig for whoever holds *token*: service accounts of RBAC tests get theirs by TokenRequest."""
        authority = base64.b64encode(self.ca_file.read_bytes()).decode()
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "tests", "cluster": {"server": self.url, "certificate-authority-data": authority}},
            ],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [
                {"name": "tests", "context": {"cluster": "tests", "user": "user", "namespace": namespace}},
            ],
            "current-context": "tests",
        }

    # Requests

    def request(
        self, method: str, path: str, body: Any = None, *, token: str = "", accept: str = "", content_type: str = ""
    ) -> Any:
        """One request; JSON in, JSON out. Raises ApiError for every status from 400 on.

        Objects are judged with ``fieldValidation=Strict``, as kubectl does: else unknown fields are dropped silently.
        """
        if method in {"POST", "PUT", "PATCH"}:
            path += f"{'&' if '?' in path else '?'}fieldValidation=Strict"
        headers = {"Authorization": f"Bearer {token or self.token}", "Accept": accept or "application/json"}
        if body is not None:
            merge = "application/merge-patch+json" if method == "PATCH" else "application/json"
            headers["Content-Type"] = content_type or merge
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, context=self._tls, timeout=30) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(error.code, error.read().decode(errors="replace")) from None

    def apply(self, manifest: dict[str, Any], *, manager: str = "tests") -> Any:
        """Server-side apply, as ``kubectl apply --server-side`` does; returns the object as stored."""
        query = urllib.parse.urlencode({"fieldManager": manager, "force": "true"})
        path = f"{self.path_of(manifest)}?{query}"
        return self.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")

    def get(self, manifest: dict[str, Any]) -> Any:
        return self.request("GET", self.path_of(manifest))

    def delete(self, manifest: dict[str, Any]) -> Any:
        return self.request("DELETE", self.path_of(manifest))

    def path_of(self, manifest: dict[str, Any]) -> str:
        """URL path of the object that *manifest* names."""
        group, _, version = manifest["apiVersion"].rpartition("/")
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        metadata, plural = manifest["metadata"], _plural(manifest["kind"])
        namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"{root}{namespace}/{plural}/{metadata['name']}"

    def install(self, *files: pathlib.Path) -> None:
        """Apply CRDs and wait until they are served, their schemas accepted."""
        manifests = [manifest for file in files for manifest in yaml.safe_load_all(file.read_text("utf-8"))]
        for name in [self.apply(manifest)["metadata"]["name"] for manifest in manifests]:
            self.wait_for(functools.partial(self._established, name), f"CRD {name} is served")

    def _established(self, crd: str) -> bool:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{crd}"
        found = self.request("GET", path)
        conditions = {c["type"]: c for c in found.get("status", {}).get("conditions") or []}
        for name in ("NonStructuralSchema", "NamesAccepted"):
            if (condition := conditions.get(name)) and (condition["status"] == "True") == (name != "NamesAccepted"):
                raise ClusterError(f"CRD {crd}: {condition['message']}")
        if conditions.get("Established", {}).get("status") != "True":
            return False
        version = found["spec"]["versions"][0]["name"]
        with contextlib.suppress(ApiError):
            self.request("GET", f"/apis/{found['spec']['group']}/{version}/{found['spec']['names']['plural']}?limit=1")
            return True
        return False

    def wait_for(self, condition: Callable[[], Any], what: str, *, seconds: float = 60) -> Any:
        """The first true value of *condition*. Raises ClusterError, naming *what*, when there is none in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if value := condition():
                return value
            time.sleep(0.02)
        raise ClusterError(f"not seen within {seconds:.0f} s: {what}")

    @contextlib.contextmanager
    def namespace(self, name: str) -> Iterator[str]:
        """A namespace with the ``default`` service account that pods need; deletion is asked for at the end.

        Without a controller-manager it then stays ``Terminating``: names must not be used twice.
        """
        manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        self.apply(manifest)
        self.apply(account)
        try:
            yield name
        finally:
            self.delete(manifest)

    # Faults

    def revision(self) -> int:
        """Revision of etcd: the newest resourceVersion there is."""
        return int(self._etcd("/v3/maintenance/status", {})["header"]["revision"])

    def compact(self) -> int:
        """Make etcd forget all history; returns the revision up to which.

        A list continues or a watch starts from before it with 410, unless the API server's watch cache still knows.
        """
        revision = self.revision()
        self._etcd("/v3/kv/compaction", {"revision": str(revision), "physical": True})
        return revision

    def expire(self) -> None:
        """Break every watch and make every resourceVersion of before end in 410 Gone.

        The watch cache begins anew with the restart, at a revision above all that clients have seen, and what it does
        not hold etcd has forgotten.
        """
        marker = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "expire", "namespace": "default"}}
        self.apply({**marker, "data": {"revision": str(self.revision())}})
        self.compact()
        self.restart_apiserver()

    def _etcd(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body).encode()
        with urllib.request.urlopen(f"http://127.0.0.1:{self._etcd_port}{path}", data, timeout=10) as response:
            return json.loads(response.read())


def _sweep() -> None:
    """Remove the folders of killed runs; their processes have ended with them (``processes``)."""
    for folder in pathlib.Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        maker = folder.name.removeprefix(FOLDER).partition("-")[0]
        if maker.isdigit() and not _alive(int(maker)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _plural(kind: str) -> str:
    """Plural of a kind, by the rules of ``meta.UnsafeGuessKindToResource``."""
    lower = kind.lower()
    if lower == "endpoints":
        return lower
    if lower.endswith("s"):
        return f"{lower}es"
    return f"{lower[:-1]}ies" if lower.endswith("y") else f"{lower}s"
