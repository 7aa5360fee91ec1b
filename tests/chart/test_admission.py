"""A real API server judges every object of every case, and Pod Security "restricted" every pod."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support import helm
from tests.support.kube import ApiError, Cluster

Json = dict[str, Any]

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())
every_case = pytest.mark.parametrize("name", NAMES)
PODS = {"Deployment", "DaemonSet", "Pod"}


def dry(kube: Cluster, manifest: Json) -> Json:
    """Server-side apply that keeps nothing, with strict validation. Raises ApiError."""
    path = f"{kube.path_of(manifest)}?fieldManager=tests&force=true&dryRun=All"
    result: Json = kube.request("PATCH", path, manifest, content_type="application/apply-patch+yaml")
    return result


@every_case
def test_the_api_server_takes_every_object(name: str, kube: Cluster, namespace: str) -> None:
    """Unknown fields and bad values would be errors; what pods refer to must be there."""
    rendered = helm.objects(CASES / name / "values.yaml", namespace=namespace, crds=True)
    for one in rendered:
        if one["kind"] == "ServiceAccount":
            kube.apply(one)

    assert [dry(kube, one)["kind"] for one in rendered] == [one["kind"] for one in rendered]


def _restricted(kube: Cluster, name: str) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def _pods(kube: Cluster, name: str, namespace: str) -> list[Json]:
    rendered = helm.objects(CASES / name / "values.yaml", namespace=namespace)
    for one in rendered:
        if one["kind"] == "ServiceAccount":
            kube.apply(one)
    return [helm.pod(one, namespace) for one in rendered if one["kind"] in PODS]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "daemonset"])
def test_pods_are_restricted(name: str, kube: Cluster, namespace: str) -> None:
    """Enforced by the API server's own admission, not read by us."""
    _restricted(kube, namespace)
    pods = _pods(kube, name, namespace)

    assert pods
    for pod in pods:
        dry(kube, pod)


def test_only_the_host_network_is_not(kube: Cluster, namespace: str) -> None:
    """So the test above could fail, and what takes more privilege says so."""
    _restricted(kube, namespace)
    refused = {}
    for pod in _pods(kube, "daemonset", namespace):
        try:
            dry(kube, pod)
        except ApiError as error:
            refused[pod["metadata"]["name"]] = error.message

    assert set(refused) == {"fairlead-gateway-node"}
    assert (
        'violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true)'
        in refused["fairlead-gateway-node"]
    )


def test_a_typo_below_what_the_schema_knows_is_found_here(kube: Cluster, namespace: str, tmp_path: Path) -> None:
    """Affinity is passed through: the API server knows it better."""
    affinity: Json = {"nodeAffinity": {"requiredDuringScheduling": {}}}
    values = helm.written({"gateways": [], "operator": {"affinity": affinity}}, tmp_path)
    rendered = {one["kind"]: one for one in helm.objects(values, namespace=namespace)}

    with pytest.raises(ApiError, match="requiredDuringScheduling"):
        dry(kube, rendered["Deployment"])
