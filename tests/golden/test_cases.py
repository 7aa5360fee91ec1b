"""Each folder of ``tests/cases``: what manifests become in Envoy and in the policies' status, and Envoy takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from envoy.config.cluster.v3 import cluster_pb2

from fairlead_operator import offline
from fairlead_operator.reconcile import reconcile
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing.references import references
from fairlead_xds.translate import translate
from tests.support.static_bootstrap import complaint, static_bootstrap

CASES = Path(__file__).parents[1] / "cases"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())
FILES = {"input.yaml", "xds.yaml", "status.yaml"}

every_case = pytest.mark.parametrize("name", NAMES)


def _input(name: str) -> list[tuple[str, str]]:
    return [("input.yaml", (CASES / name / "input.yaml").read_text("utf-8"))]


def _written(value: dict[str, Any]) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=120, allow_unicode=True)


@every_case
def test_case(name: str, *, update: bool) -> None:
    """The goldens are what ``fairlead translate`` says of the input."""
    xds, status = offline.translate(_input(name))
    for file, value in (("xds.yaml", xds), ("status.yaml", status)):
        path = CASES / name / file
        if update:
            path.write_text(_written(value), "utf-8")
        assert path.exists(), f"{path} is missing: run pytest tests/golden --update and look at it"
        assert _written(value) == path.read_text("utf-8")


@every_case
@pytest.mark.timeout(60)
def test_envoy_accepts_it(name: str, tmp_path: Path) -> None:
    """Every gateway's configuration, inlined into one bootstrap, passes ``envoy --mode validate``."""
    configs = reconcile(offline.read(_input(name))).proxies
    for gateway, config in configs.items():
        assert not complaint(static_bootstrap(translate(config)), tmp_path), gateway


def test_a_prompt_cluster_waits_for_its_load_assignment_alone() -> None:
    """``Resource.prompt`` is what the bytes say: no checks, no secrets, no names to resolve. Both kinds are among the cases."""
    found = set()
    for name in NAMES:
        for config in reconcile(offline.read(_input(name))).proxies.values():
            for resource in translate(config).resources(TypeUrl.CLUSTER).values():
                message = cluster_pb2.Cluster.FromString(resource.body)
                secrets = {type_url for type_url, _ in references(TypeUrl.CLUSTER, resource.body)} - {TypeUrl.ENDPOINT}
                waits = message.type != cluster_pb2.Cluster.EDS or bool(message.health_checks) or bool(secrets)
                assert resource.prompt is not waits, (name, resource.name)
                found.add(resource.prompt)
    assert found == {True, False}


def test_there_is_nothing_else_in_the_folders() -> None:
    """A golden without its input, or a file that no test reads, is an orphan."""
    found = {path.relative_to(CASES) for path in CASES.rglob("*") if path.is_file()}
    orphans = {path for path in found if len(path.parts) != 2 or path.name not in FILES}
    orphans |= {path for path in found if not (CASES / path.parts[0] / "input.yaml").exists()}

    assert not orphans


def test_a_wrong_configuration_would_be_found(tmp_path: Path) -> None:
    """Envoy's validation is not just run, it is heard."""
    config = static_bootstrap(translate(reconcile(offline.read(_input("minimal"))).proxies["edge"]))
    config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]["route_config"][
        "virtual_hosts"
    ][0]["routes"][0]["route"]["cluster"] = "nowhere"

    assert "nowhere" in complaint(config, tmp_path)
