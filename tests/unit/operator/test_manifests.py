"""Text of a manifest file -> objects; every error names its line."""

from __future__ import annotations

import pytest
import yaml

from fairlead_operator.sources.manifests import DEEPEST, ManifestError, parse
from tests.support.manifests import listener, policy, service, site

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n"


def _error(text: str) -> str:
    with pytest.raises(ManifestError) as refused:
        parse(text)
    return str(refused.value)


#: Each line is the one before eight times: two thousand million values of 500 characters.
BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]\n" for n in range(1, 11))


def test_several_documents_and_lists_are_taken_apart() -> None:
    listed = {"kind": "List", "items": [service("b"), service("c")]}
    text = f"{SERVICE}---\n# nothing here\n---\n{yaml.safe_dump(listed)}"

    assert [raw["metadata"]["name"] for raw in parse(text)] == ["web", "b", "c"]


def test_json_is_yaml() -> None:
    assert parse('{"kind": "Service", "metadata": {"name": "web"}}') == [
        {"kind": "Service", "metadata": {"name": "web"}}
    ]


def test_an_empty_file_holds_nothing() -> None:
    assert parse("") == parse("---\n---\n") == []


def test_what_yaml_makes_a_date_is_text_again() -> None:
    (raw,) = parse("kind: Service\nmetadata: {name: web, creationTimestamp: 2026-01-01T00:00:00Z}\n")

    assert raw["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (f"{SERVICE}---\n\nkind: Service\n", 7, "metadata.name: is missing"),
        (f"{SERVICE}---\nkind: Pods\nmetadata: {{name: a}}\n", 6, "is none of Backend"),
        (f"{SERVICE}---\n- a\n", 6, "an object was expected, not list"),
        ("kind: List\nitems: null\n", 1, "a List needs a list of items"),
        ("kind: List\nitems: [3]\n", 1, "an object was expected, not int"),
        ("a: b\n  c: d\n", 2, "not YAML: mapping values are not allowed"),
        ("a: [\n", 2, "not YAML"),
        ("a: !!python/object:os.system {}\n", 1, "could not determine a constructor"),
        ("a: !!bool maybe\n", 1, "not YAML"),
        ("a: !!timestamp soon\n", 1, "not YAML"),
        ("a: 2026-99-99\n", 1, "month must be in 1..12"),
        ("a: \0\n", 1, "not YAML"),
        ("kind: Service\nmetadata:\n  name: a\n  labels: {a: b}\n  name: b\n", 5, "name is there twice: remove one"),
        ("a: [{b: 1}, {b: 2}]\nc: {a: 1, b: {a: 2}, a: 3}\n", 2, "a is there twice"),
        ("kind: Service\nmetadata: {name: 2024}\n", 1, "metadata.name: must be a string"),
        (BOMB, 1, "aliases (*) repeat more than can be read"),
        ("a: &a {b: *a}\n", 1, "an alias (*) stands inside of what it repeats"),
        (f"a: 1\nb: {'[' * 100_000}\n", 2, f"nested more than {DEEPEST} deep"),
    ],
)
def test_an_error_names_its_line(text: str, line: int, words: str) -> None:
    """Also where PyYAML itself fails, or would end the process: a file must not be able to do that."""
    message = _error(text)

    assert message.startswith(f"line {line}: ")
    assert words in message


def test_a_policy_that_the_api_server_would_refuse_is_an_error() -> None:
    """kubectl apply would say so; here the file does."""
    bad = policy("shop", site(listener(0), "web"))

    assert _error(f"{SERVICE}---\n{yaml.safe_dump(bad)}") == (
        "line 6: LoadBalancerPolicy shop/shop: spec.listeners[0].port: must be 1 or more, not 0"
    )
