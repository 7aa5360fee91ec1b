"""What a failed scenario leaves to read: ``e2e-artifacts/<scenario>/``."""

from __future__ import annotations

import contextlib
import pathlib
import re
import urllib.error
import urllib.request
from typing import Final

import yaml

from e2e.cluster import places
from e2e.support.installation import GATEWAY, NAMESPACE, OPERATOR, SELECTORS
from e2e.support.running import RunningCluster
from tests.support.kube import ApiError

FOLDER: Final = places.ROOT / "e2e-artifacts"
#: Objects of the scenario's namespace, each kind a file.
KINDS: Final = {
    "pods": "api/v1",
    "events": "api/v1",
    "services": "api/v1",
    "endpointslices": "apis/discovery.k8s.io/v1",
    "loadbalancerpolicies": "apis/fairlead.dev/v1alpha1",
}


def write(cluster: RunningCluster, namespace: str, scenario: str) -> pathlib.Path:
    """Objects of *namespace*, logs of operators, gateways and load; no Secrets. Never raises for what it cannot get."""
    folder = FOLDER / re.sub(r"[^A-Za-z0-9_.-]+", "-", scenario)
    folder.mkdir(parents=True, exist_ok=True)
    for plural, group in KINDS.items():
        with contextlib.suppress(ApiError, OSError):
            found = cluster.request("GET", f"/{group}/namespaces/{namespace}/{plural}")["items"]
            (folder / f"{plural}.yaml").write_text(yaml.safe_dump_all(found))
    for name in (OPERATOR, GATEWAY):
        for pod in cluster.pods(NAMESPACE, SELECTORS[name]):
            _logs(cluster, pod, folder)
    for pod in cluster.pods(namespace, ""):
        _logs(cluster, pod, folder)
    return folder


def _logs(cluster: RunningCluster, pod: dict[str, object], folder: pathlib.Path) -> None:
    metadata, spec = pod["metadata"], pod["spec"]
    assert isinstance(metadata, dict)
    assert isinstance(spec, dict)
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        for suffix, query in (("", ""), ("-before", "&previous=true")):
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/log"
            url = f"{cluster.url}{path}?container={container['name']}&tailLines=2000{query}"
            with contextlib.suppress(urllib.error.URLError, OSError):
                with urllib.request.urlopen(url, context=cluster.tls, timeout=10) as response:
                    text = response.read()
                (folder / f"{metadata['name']}.{container['name']}{suffix}.log").write_bytes(text)
