"""The CRDs, as a real API server applies them. Creating them proves that CEL's cost stays within its bounds."""

from __future__ import annotations

import copy
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from fairlead_operator.api.backend import BackendSpec
from fairlead_operator.api.objects import LoadBalancerPolicy, read_policy
from fairlead_operator.api.policy import LoadBalancerPolicySpec
from fairlead_operator.api.schema import KINDS
from fairlead_operator.api.status_types import LoadBalancerPolicyStatus
from tests.support.bad_objects import ATTACHED, BACKEND, BAD, GOOD, POLICY, Bad
from tests.support.kube import ROOT, ApiError, Cluster

PREFIX = "/apis/fairlead.dev/v1alpha1/namespaces"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


def _in(namespace: str, manifest: dict[str, Any]) -> dict[str, Any]:
    return {**manifest, "metadata": {**manifest["metadata"], "namespace": namespace}}


def _dry_run(kube: Cluster, namespace: str, manifest: dict[str, Any]) -> Any:
    """Create it without keeping it."""
    path = kube.path_of(_in(namespace, manifest)).rpartition("/")[0]
    return kube.request("POST", f"{path}?dryRun=All", _in(namespace, manifest))


def _examples() -> Iterator[Any]:
    for file in sorted((ROOT / "examples").rglob("*.yaml")):
        for number, manifest in enumerate(yaml.safe_load_all(file.read_text("utf-8"))):
            if manifest and manifest.get("apiVersion", "").startswith("fairlead.dev/"):
                yield pytest.param(manifest, id=f"{file.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("manifest", [*(pytest.param(m, id=name) for name, m in GOOD.items()), *_examples()])
def test_good_objects_are_taken(kube: Cluster, namespace: str, manifest: dict[str, Any]) -> None:
    assert _dry_run(kube, namespace, manifest)["metadata"]["uid"]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_mistake_is_refused_in_plain_words(kube: Cluster, namespace: str, bad: Bad) -> None:
    with pytest.raises(ApiError) as refused:
        _dry_run(kube, namespace, bad.manifest)
    assert refused.value.code in {400, 422}
    assert bad.path in refused.value.message
    assert bad.server in refused.value.message


def test_a_bad_duration_is_reported_once(kube: Cluster, namespace: str) -> None:
    """A rule that parses it would add "type conversion error from 'string' to 'google.protobuf.Duration'"."""
    manifest = copy.deepcopy(POLICY)
    manifest["spec"]["sessionPersistence"]["ttl"] = "1 day"
    manifest["spec"]["routes"][0]["timeouts"]["request"] = "15 seconds"
    with pytest.raises(ApiError) as refused:
        _dry_run(kube, namespace, manifest)
    assert sorted(cause["field"] for cause in refused.value.causes) == [
        "spec.routes[0].timeouts.request",
        "spec.sessionPersistence.ttl",
    ]


def test_defaults_are_those_of_the_models(kube: Cluster, namespace: str) -> None:
    """The object as stored has every default written out, and reads as the same value."""
    sparse = copy.deepcopy(POLICY)
    sparse["spec"] |= {"loadBalancer": {}, "sessionPersistence": {}, "endpoints": {}}
    stored = _dry_run(kube, namespace, sparse)
    ours = LoadBalancerPolicySpec.model_validate(sparse["spec"])
    assert stored["spec"] == ours.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert stored["spec"]["routes"][1]["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}, "headers": []}]
    read = read_policy(stored)
    assert isinstance(read, LoadBalancerPolicy)
    assert read.spec == ours


def test_defaults_of_a_backend_are_those_of_the_model(kube: Cluster, namespace: str) -> None:
    stored = _dry_run(kube, namespace, BACKEND)
    ours = BackendSpec.model_validate(BACKEND["spec"])
    assert stored["spec"] == ours.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_null_is_absent(kube: Cluster, namespace: str) -> None:
    """Both judges: a field that was left empty in YAML has its default."""
    manifest = copy.deepcopy(POLICY)
    manifest["spec"]["listeners"][0]["hostnames"] = None
    manifest["spec"]["endpoints"] = None
    stored = _dry_run(kube, namespace, manifest)
    assert stored["spec"]["listeners"][0]["hostnames"] == []
    read = read_policy(manifest)
    assert isinstance(read, LoadBalancerPolicy)
    assert read.spec.model_dump(mode="json", by_alias=True, exclude_none=True) == stored["spec"]


STATUS = LoadBalancerPolicyStatus.model_validate(
    {
        "observedGeneration": 1,
        "type": "Gateway",
        "algorithm": "ConsistentHash",
        "conditions": [
            {
                "type": kind,
                "status": status,
                "observedGeneration": 1,
                "lastTransitionTime": "2026-01-02T03:04:05Z",
                "reason": kind,
                "message": "",
            }
            for kind, status in {
                "Accepted": "True",
                "ResolvedRefs": "True",
                "Programmed": "True",
                "Degraded": "False",
            }.items()
        ],
        "proxies": {"connected": 3, "programmed": 3, "summary": "3/3"},
        "endpoints": {"ready": 7, "draining": 1, "excluded": 1, "summary": "7/9"},
    }
).model_dump(mode="json", by_alias=True, exclude_none=True)


def test_kubectl_get_shows_the_columns(kube: Cluster, namespace: str) -> None:
    stored = kube.apply(_in(namespace, POLICY))
    kube.request("PUT", f"{kube.path_of(stored)}/status", {**stored, "status": STATUS})
    table = kube.request("GET", f"{PREFIX}/{namespace}/loadbalancerpolicies", accept=TABLE)
    names = [column["name"] for column in table["columnDefinitions"]]
    shown = ["Type", "Algorithm", "Endpoints", "Proxies", "Accepted", "Resolved", "Programmed", "Degraded"]
    assert names == ["Name", *shown, "Age"]
    (row,) = table["rows"]
    assert row["cells"][:-1] == ["shop", "Gateway", "ConsistentHash", "7/9", "3/3", "True", "True", "True", "False"]


def test_a_status_write_leaves_the_spec_alone(kube: Cluster, namespace: str) -> None:
    stored = kube.apply(_in(namespace, ATTACHED))
    changed = {**stored, "spec": {**stored["spec"], "targetRefs": [{"name": "other"}]}, "status": STATUS}
    after = kube.request("PUT", f"{kube.path_of(stored)}/status", changed)
    assert after["spec"] == stored["spec"]
    assert after["metadata"]["generation"] == stored["metadata"]["generation"] == 1
    assert after["status"] == STATUS


def test_two_conditions_of_one_type_are_refused(kube: Cluster, namespace: str) -> None:
    stored = kube.apply(_in(namespace, ATTACHED))
    doubled = {**STATUS, "conditions": [*STATUS["conditions"], STATUS["conditions"][0]]}
    with pytest.raises(ApiError, match=r"status.conditions\[4\]: Duplicate value"):
        kube.request("PUT", f"{kube.path_of(stored)}/status", {**stored, "status": doubled})


def test_server_side_apply_merges_listeners_by_name(kube: Cluster, namespace: str) -> None:
    """Two owners, a listener each: neither overwrites the other's."""
    base = _in(namespace, POLICY)
    kube.apply(base, manager="site")
    own = {"name": "admin", "port": 9090, "protocol": "HTTP"}
    part = {key: base[key] for key in ("apiVersion", "kind", "metadata")} | {"spec": {"listeners": [own]}}
    merged = kube.apply(part, manager="admin")
    assert [listener["name"] for listener in merged["spec"]["listeners"]] == ["http", "https", "admin"]


def test_names_for_kubectl(kube: Cluster) -> None:
    resources = kube.request("GET", "/apis/fairlead.dev/v1alpha1")["resources"]
    found = {r["name"]: (r["kind"], r["namespaced"], r.get("shortNames"), r.get("categories")) for r in resources}
    assert found["loadbalancerpolicies"] == ("LoadBalancerPolicy", True, ["lbp"], ["fairlead"])
    assert found["backends"] == ("Backend", True, None, ["fairlead"])
    assert "loadbalancerpolicies/status" in found


def _fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}", child
        yield from _fields(child, f"{path}.{name}")
    if "items" in schema:
        yield from _fields(schema["items"], f"{path}[]")


def test_kubectl_explain_describes_every_field(kube: Cluster) -> None:
    def published() -> dict[str, Any]:
        document = kube.request("GET", "/openapi/v3/apis/fairlead.dev/v1alpha1")
        return {
            name.rpartition(".")[2]: schema
            for name, schema in document["components"]["schemas"].items()
            if name.startswith("dev.fairlead.")
        }

    schemas = kube.wait_for(lambda: len(found := published()) >= 2 * len(KINDS) and found, "the schemas are published")
    for kind in KINDS:
        properties = schemas[kind.kind]["properties"]
        parts = [part for part in ("spec", "status") if part in properties]
        fields = [field for part in parts for field in _fields(properties[part], part)]
        assert len(fields) >= 4
        assert [path for path, schema in fields if not schema.get("description")] == []


def test_the_installed_crds_are_the_generated_ones(kube: Cluster) -> None:
    """The API server drops nothing of a schema: what it holds is what we wrote."""
    for kind in KINDS:
        ours = yaml.safe_load(pathlib.Path(ROOT / "crds" / kind.file).read_text("utf-8"))
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{ours['metadata']['name']}"
        stored = kube.request("GET", path)["spec"]["versions"][0]
        assert stored["schema"] == ours["spec"]["versions"][0]["schema"]
