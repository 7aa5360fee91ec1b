"""A directory of manifests: what is handed on, what is kept, what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.sources.files import Directory
from tests.support.manifests import NAMESPACE, Raw, attached, policy, service


class Sink:
    """Takes what a control plane would take."""

    def __init__(self) -> None:
        self.applied: list[Raw] = []
        self.deleted: list[Ref] = []

    def apply(self, raw: dict[str, Any]) -> None:
        self.applied.append(raw)

    def delete(self, ref: Ref) -> None:
        self.deleted.append(ref)


class Scene:
    def __init__(self, path: Path) -> None:
        self.path, self.sink, self.reported, self.mended = path, Sink(), list[str](), list[str]()
        self.directory = Directory(path, self.sink, on_error=self.reported.append, on_mended=self.mended.append)

    def write(self, file: str, *objects: Raw) -> None:
        (self.path / file).write_text(yaml.safe_dump_all(objects), "utf-8")

    def scan(self) -> list[Ref]:
        """What this scan handed on."""
        self.sink.applied.clear()
        self.sink.deleted.clear()
        self.directory.scan()
        return [ref_of(raw) for raw in self.sink.applied]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


WEB = Ref("Service", NAMESPACE, "web")


def test_a_file_is_handed_on_once(scene: Scene) -> None:
    scene.write("a.yaml", service("web"), service("other"))
    scene.write("notes.txt", service("ignored"))

    assert len(scene.scan()) == 2
    assert scene.scan() == []


def test_only_the_object_that_changed_is_handed_on(scene: Scene) -> None:
    scene.write("a.yaml", service("web"), service("other"))
    scene.scan()
    scene.write("a.yaml", service("web", 81), service("other"))

    assert scene.scan() == [WEB]


@pytest.mark.parametrize("content", [b"kind: [", b"\xff\xfe", b"kind: Service\n"], ids=["YAML", "UTF-8", "object"])
def test_a_file_with_an_error_keeps_its_last_good_content(scene: Scene, content: bytes) -> None:
    """It is reported once, and in `errors` for as long as it lasts."""
    scene.write("a.yaml", service("web"))
    scene.scan()
    (scene.path / "a.yaml").write_bytes(content)

    assert scene.scan() == scene.scan() == []
    assert scene.sink.deleted == []
    assert scene.directory.errors == scene.reported
    assert len(scene.reported) == 1
    assert scene.reported[0].startswith("a.yaml: ")
    assert scene.reported[0].endswith("its last good content stays")


@pytest.mark.parametrize("content", [b"kind: [", b"\xff\xfe"], ids=["YAML", "UTF-8"])
def test_a_mended_file_ends_the_error(scene: Scene, content: bytes) -> None:
    """Also when it is mended by taking the change back."""
    scene.write("a.yaml", service("web"))
    scene.scan()
    good = (scene.path / "a.yaml").read_bytes()
    (scene.path / "a.yaml").write_bytes(content)
    scene.scan()
    assert scene.mended == []
    (scene.path / "a.yaml").write_bytes(good)

    assert scene.scan() == []
    assert scene.directory.errors == []
    assert scene.mended == ["a.yaml: is read again"]


@pytest.mark.parametrize("content", [b"kind: [", b"\xff\xfe"], ids=["YAML", "UTF-8"])
def test_a_bad_file_that_is_deleted_is_no_error(scene: Scene, content: bytes) -> None:
    (scene.path / "a.yaml").write_bytes(content)
    scene.scan()
    assert len(scene.directory.errors) == 1
    assert "stays" not in scene.directory.errors[0]

    (scene.path / "a.yaml").unlink()
    scene.scan()
    assert scene.directory.errors == []


def test_a_file_that_is_deleted_takes_its_objects_along(scene: Scene) -> None:
    scene.write("a.yaml", service("web"))
    scene.write("b.yaml", service("other"))
    scene.scan()
    (scene.path / "a.yaml").unlink()

    assert scene.scan() == []
    assert scene.sink.deleted == [WEB]


def test_an_object_that_moves_to_another_file_stays(scene: Scene) -> None:
    scene.write("a.yaml", service("web"))
    scene.scan()
    (scene.path / "a.yaml").rename(scene.path / "b.yaml")

    assert scene.scan() == []
    assert scene.sink.deleted == []


def test_of_an_object_in_two_files_the_first_counts_and_the_second_is_told(scene: Scene) -> None:
    scene.write("a.yaml", service("web", 80))
    scene.write("b.yaml", service("web", 81))

    assert scene.scan() == [WEB]
    assert scene.sink.applied[0]["spec"]["ports"] == [{"port": 80}]
    assert scene.reported == ["b.yaml: Service shop/web stands in a.yaml too: that one counts"]

    (scene.path / "a.yaml").unlink()
    assert scene.scan() == [WEB]
    assert scene.sink.applied[0]["spec"]["ports"] == [{"port": 81}]
    assert scene.directory.errors == []


def test_the_generation_goes_up_with_the_spec(scene: Scene) -> None:
    """As the API server counts it: not for labels, and from 1 for an object that comes back."""

    def generation_of(**metadata: Any) -> int:
        raw = policy("over", attached("web", loadBalancer={"type": metadata.pop("type")}))
        scene.write("a.yaml", raw | {"metadata": raw["metadata"] | metadata})
        scene.scan()
        return int(scene.sink.applied[0]["metadata"]["generation"])

    assert generation_of(type="Random") == 1
    assert generation_of(type="RoundRobin") == 2
    assert generation_of(type="RoundRobin", labels={"a": "b"}) == 2
    assert generation_of(type="Random") == 3
    scene.write("a.yaml")
    scene.scan()
    assert generation_of(type="Random") == 1
