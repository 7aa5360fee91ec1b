"""Each folder of ``tests/chart/cases``: what ``helm template`` makes of its values."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.support import helm

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())
ROOT = Path(__file__).parents[2]

every_case = pytest.mark.parametrize("name", NAMES)


@every_case
def test_manifests(name: str, *, update: bool) -> None:
    """The golden is what helm renders of the values."""
    path = CASES / name / "manifests.yaml"
    rendered = helm.text(CASES / name / "values.yaml")
    if update:
        path.write_text(rendered, "utf-8")
    assert path.exists(), f"{path} is missing: run make golden and look at it"
    assert rendered == path.read_text("utf-8")


@every_case
def test_lint(name: str) -> None:
    helm.helm("lint", "--strict", "--quiet", str(helm.CHART), "-f", str(CASES / name / "values.yaml"))


def test_there_is_nothing_else_in_the_folders() -> None:
    found = {str(path.relative_to(CASES)) for path in CASES.rglob("*") if path.is_file()}

    assert found <= {f"{name}/{file}" for name in NAMES for file in ("values.yaml", "manifests.yaml")}


def test_the_definitions_are_those_of_the_repository_and_stay() -> None:
    """``helm upgrade`` brings new fields, ``helm uninstall`` leaves the kinds and with them all policies."""
    rendered = {one["metadata"]["name"]: one for one in helm.objects(crds=True) if one["kind"].startswith("Custom")}
    expected = [yaml.safe_load(path.read_text("utf-8")) for path in sorted((ROOT / "crds").glob("*.yaml"))]

    assert [one["metadata"].pop("annotations") for one in rendered.values()] == [
        {"helm.sh/resource-policy": "keep"} for _ in expected
    ]
    assert rendered == {one["metadata"]["name"]: one for one in expected}


@every_case
def test_no_object_has_a_finalizer(name: str) -> None:
    """What has one cannot go before somebody takes it away: nothing here waits for the operator to be deleted."""
    assert not [one for one in helm.objects(CASES / name / "values.yaml") if one["metadata"].get("finalizers")]


@every_case
def test_every_object_says_whose_it_is(name: str) -> None:
    for one in helm.objects(CASES / name / "values.yaml"):
        labels = one["metadata"]["labels"]
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/component"] in {"operator", "gateway", "check"}, one
