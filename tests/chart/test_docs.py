"""Every YAML block of the documentation works: objects are applied, values are installed (both as dry runs)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.chart.test_admission import dry
from tests.support import helm
from tests.support.kube import Cluster

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
VALUES = "# values.yaml\n"


class Block(NamedTuple):
    page: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _blocks() -> list[Block]:
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in re.finditer(r"^( *)```ya?ml\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL):
            line = text[: match.start()].count("\n") + 1
            found.append(Block(str(page.relative_to(ROOT)), line, match[2]))
    return found


BLOCKS = _blocks()


def _objects(block: Block) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(block.text) if one]


def test_there_are_blocks_of_both_sorts() -> None:
    """What is found is what is tested."""
    assert {block.page for block in BLOCKS} >= {"README.md", "docs/operations.md"}
    assert any(block.text.startswith(VALUES) for block in BLOCKS)


@pytest.mark.parametrize("block", [one for one in BLOCKS if one.text.startswith(VALUES)], ids=str)
def test_values(block: Block, kube: Cluster, namespace: str, tmp_path: Path) -> None:
    """The chart takes them, and the API server what it makes of them."""
    path = tmp_path / "values.yaml"
    path.write_text(block.text, "utf-8")
    rendered = helm.objects(path, namespace=namespace)
    for one in rendered:
        if one["kind"] == "ServiceAccount":
            kube.apply(one)

    assert rendered
    for one in rendered:
        dry(kube, one)


@pytest.mark.parametrize("block", [one for one in BLOCKS if not one.text.startswith(VALUES)], ids=str)
def test_objects(block: Block, kube: Cluster, namespace: str) -> None:
    """The API server takes them, in the order of the page, with strict validation."""
    objects = _objects(block)
    assert objects, f"{block}: an empty block"
    for one in objects:
        assert {"apiVersion", "kind", "metadata"} <= one.keys(), f"{block}: no object, and no block of {VALUES.strip()}"
        if one["kind"] == "Namespace":
            dry(kube, one)
            continue
        dry(kube, {**one, "metadata": {**one["metadata"], "namespace": namespace}})
