"""The models refuse what the API server refuses (``tests/api/test_crd.py`` holds it against the same table)."""

from __future__ import annotations

import copy
import datetime as dt
import time
from typing import Any

import pytest

from fairlead_operator.api.meta import DecodeError
from fairlead_operator.api.objects import Backend, InvalidPolicy, LoadBalancerPolicy, read_backend, read_policy
from tests.support.bad_objects import ATTACHED, BACKEND, BAD, GOOD, POLICY, Bad


def _errors(manifest: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if manifest["kind"] == "Backend":
        with pytest.raises(DecodeError) as refused:
            read_backend(manifest)
        return ((refused.value.path, refused.value.reason),)
    read = read_policy(manifest)
    assert isinstance(read, InvalidPolicy)
    return read.errors


@pytest.mark.parametrize("manifest", GOOD.values(), ids=GOOD)
def test_good_objects_are_read(manifest: dict[str, Any]) -> None:
    read = read_backend(manifest) if manifest["kind"] == "Backend" else read_policy(manifest)
    assert isinstance(read, Backend | LoadBalancerPolicy)
    assert hash(read.spec) == hash(copy.deepcopy(read.spec))


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.name)
def test_a_mistake_is_one_error_with_its_field(bad: Bad) -> None:
    ((path, words),) = _errors(bad.manifest)
    assert path == bad.path
    assert bad.ours in words


def test_the_bad_objects_differ_from_good_ones_by_what_they_say() -> None:
    """Else a mistake could hide behind another."""
    assert len({bad.name for bad in BAD}) == len(BAD)
    assert all(bad.manifest != bad.base for bad in BAD)


def test_all_mistakes_of_a_policy_are_told() -> None:
    manifest = copy.deepcopy(POLICY)
    manifest["spec"]["listeners"][0]["port"] = 0
    manifest["spec"]["routes"][1]["backendRefs"][0]["weight"] = "many"
    manifest["spec"]["colour"] = "red"
    assert _errors(manifest) == (
        ("spec.listeners[0].port", "must be 1 or more, not 0"),
        ("spec.routes[1].backendRefs[0].weight", "must be a whole number, not 'many'"),
        ("spec.colour", "unknown field: remove it or mend its spelling"),
    )


def test_a_long_value_is_not_repeated_in_full() -> None:
    manifest = copy.deepcopy(ATTACHED)
    manifest["spec"]["loadBalancer"]["type"] = "x" * 10_000
    ((_, words),) = _errors(manifest)
    assert words.endswith("xxx...")
    assert len(words) < 200


def test_many_equal_names_cost_what_each_costs() -> None:
    """Before the limit of 32 is looked at, nothing quadratic happens: ten times as many cost ten times, not a hundred."""

    def cost(count: int) -> float:
        manifest = copy.deepcopy(POLICY)
        manifest["spec"]["listeners"] = [{"name": f"l{i}", "port": 1, "protocol": "HTTP"} for i in range(count)]
        started = time.process_time()
        assert _errors(manifest) == (("spec.listeners", f"must have 32 or fewer items, not {count}"),)
        return time.process_time() - started

    small = max(cost(2_000) for _ in range(3))

    assert cost(20_000) < 50 * small


@pytest.mark.parametrize("spec", [None, {}])
def test_a_policy_without_a_spec_has_neither_shape(spec: Any) -> None:
    ((path, words),) = _errors({**POLICY, "spec": spec})
    assert path == "spec"
    assert words.startswith("set either proxies")


@pytest.mark.parametrize("spec", ["text", [1], 5, True])
def test_a_spec_of_another_type_is_refused(spec: Any) -> None:
    ((path, words),) = _errors({**POLICY, "spec": spec})
    assert path == "spec"
    assert words.startswith("must be an object with fields")


def test_a_date_of_yaml_is_text_as_for_kubectl() -> None:
    manifest = copy.deepcopy(POLICY)
    manifest["spec"]["routes"][0]["matches"][0]["headers"][0]["value"] = dt.date(2026, 1, 2)
    read = read_policy(manifest)
    assert isinstance(read, LoadBalancerPolicy)
    assert read.spec.routes
    assert read.spec.routes[0].matches[0].headers[0].value == "2026-01-02"


def test_what_json_cannot_hold_is_an_error_not_a_crash() -> None:
    circle: dict[Any, Any] = {}
    circle["again"] = circle
    for spec in (circle, {("a", "b"): 1}):
        with pytest.raises(DecodeError, match="must be what JSON can hold"):
            read_policy({**POLICY, "spec": spec})


def test_another_version_is_refused() -> None:
    with pytest.raises(DecodeError, match=r"apiVersion: must be fairlead\.dev/v1alpha1"):
        read_backend({**BACKEND, "apiVersion": "fairlead.dev/v9"})


def test_an_address_is_stored_in_its_canonical_form() -> None:
    manifest = copy.deepcopy(BACKEND)
    manifest["spec"]["endpoints"][1]["address"] = "2001:0DB8:0:0::1"
    assert read_backend(manifest).spec.endpoints[1].address == "2001:db8::1"
