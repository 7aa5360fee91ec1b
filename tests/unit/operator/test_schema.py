"""The generator of ``crds/`` and ``docs/reference.md``."""

from __future__ import annotations

import pathlib
from typing import Annotated, Any

import pytest
from pydantic import Field

from fairlead_operator.api import schema
from fairlead_operator.api.policy import LoadBalancerPolicySpec
from fairlead_xds.features.value import Value

ROOT = pathlib.Path(__file__).resolve().parents[3]


def _walk(node: Any) -> Any:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from _walk(child)


def test_the_files_in_the_repository_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema.main(["--check", str(ROOT)]) == 0, capsys.readouterr().err


def test_check_names_the_file_that_is_not_up_to_date(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert schema.main([str(tmp_path)]) == 0
    assert schema.main(["--check", str(tmp_path)]) == 0
    stale = tmp_path / "crds" / "fairlead.dev_backends.yaml"
    stale.write_text("spoiled")
    assert schema.main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"{stale} is not up to date: run `{schema.COMMAND}`\n"
    assert stale.read_text() == "spoiled"


@pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.kind)
def test_schemas_are_structural(kind: schema.Kind) -> None:
    keywords = {key for node in _walk(schema.crd(kind)) for key in node}
    assert keywords.isdisjoint({"$ref", "$defs", "anyOf", "allOf", "oneOf", "title", "const"})
    # A map has a schema for its values; fields beside it would make it no structural schema.
    maps = [node for node in _walk(schema.crd(kind)) if "additionalProperties" in node]
    assert all(isinstance(node["additionalProperties"], dict) and "properties" not in node for node in maps)


def test_rules_carry_the_models_words_and_field() -> None:
    (rule,) = schema.structural(LoadBalancerPolicySpec)["properties"]["routes"]["items"]["properties"]["timeouts"][
        "x-kubernetes-validations"
    ]
    assert rule["message"] == "backendRequest must not be longer than request"
    assert rule["fieldPath"] == ".backendRequest"


def test_a_keyword_that_the_api_server_does_not_know_is_a_mistake() -> None:
    class Odd(Value):
        number: Annotated[int, Field(multiple_of=3)]

    with pytest.raises(TypeError, match="multipleOf has no place in a structural schema"):
        schema.structural(Odd)


def test_the_reference_shows_type_default_and_bounds() -> None:
    text = schema.generated()["docs/reference.md"]
    assert "| `weight` | integer, 0 to 1000000 | `1` | Share of the requests" in text
    assert "| `hashOn` | list of [HashOn](#hashon), 1 to 8 items | required |" in text
    assert "| `ttl` | duration |  | Lifetime of a session" in text
    assert "- `backendRequest`: backendRequest must not be longer than request" in text
