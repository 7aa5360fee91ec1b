"""Reading a slice with what was read of it before says exactly what reading it alone says."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.api.meta import DecodeError
from fairlead_operator.api.slices import EndpointSlice, read_slice
from tests.support.manifests import Raw, endpoint, endpoint_slice

#: What may stand at the end of each path, right and wrong; ``...`` takes it away.
SAYS: dict[tuple[str | int, ...], list[Any]] = {
    ("addresses",): [..., [], None, "10.0.0.1", ["10.0.0.1"], {0: "10.0.0.1"}, ["10.0.0.2", "10.0.0.1"], [1], [[]]],
    ("addresses", 0): ["10.0.0.1", "10.0.0.2", "FE80::1", "fe80::1", "nowhere", None],
    ("conditions",): [..., None, [], {}, "ready"],
    **{("conditions", name): [..., None, True, False, 1, 0, "yes"] for name in ("ready", "serving", "terminating")},
    ("zone",): [..., None, "", "a", "b", 1, [], "\ud800"],
    ("nodeName",): [..., None, "", "a", 7],
    ("targetRef",): [..., None, {}, "pod", []],
    ("targetRef", "name"): [..., None, "", "pod-1", "pod-2", 3, []],
}
edits = st.sampled_from([(path, value) for path, values in SAYS.items() for value in values])


def _full(address: str) -> Raw:
    target = {"kind": "Pod", "name": "pod-1"}
    conditions = {"ready": True, "serving": True, "terminating": False}
    return {"addresses": [address], "conditions": conditions, "zone": "a", "nodeName": "a", "targetRef": target}


def _edited(raw: Any, path: tuple[str | int, ...], value: Any) -> Any:
    """*raw* with *value* at *path*, where there is such a place."""
    at = raw
    for step in path[:-1]:
        at = at.get(step) if isinstance(at, dict) else None
    if isinstance(at, dict) and value is ...:
        at.pop(path[-1], None)
    elif isinstance(at, dict):
        at[path[-1]] = copy.deepcopy(value)
    elif isinstance(at, list) and at:
        at[0] = value
    return raw


def _said(raw: Raw, known: EndpointSlice | None = None) -> EndpointSlice | str:
    try:
        return read_slice(raw, known)
    except DecodeError as error:
        return str(error)


def _with(address: str, changes: list[tuple[tuple[str | int, ...], Any]]) -> Raw:
    entry = _full(address)
    for path, value in changes:
        _edited(entry, path, value)
    return entry


entries_of_endpoints = st.builds(
    _with, st.sampled_from(["10.0.0.1", "10.0.0.2", "fe80::1"]), st.lists(edits, max_size=2)
)


@given(st.lists(st.lists(entries_of_endpoints, max_size=4), min_size=2, max_size=5))
def test_a_memory_changes_nothing(history: list[list[Raw]]) -> None:
    known: EndpointSlice | None = None
    for entries in history:
        raw = endpoint_slice("web", 8080, entries)
        alone, remembered = _said(raw), _said(raw, known)
        assert remembered == alone
        if isinstance(remembered, EndpointSlice) and isinstance(alone, EndpointSlice):
            assert [[*map(type, e)] for e in remembered.endpoints] == [[*map(type, e)] for e in alone.endpoints]
            known = remembered


def test_unchanged_endpoints_are_taken_from_the_memory() -> None:
    before = read_slice(endpoint_slice("web", 8080, [_full("10.0.0.1"), _full("10.0.0.2")]))
    after = read_slice(endpoint_slice("web", 8080, [_full("10.0.0.2"), _full("10.0.0.3")]), before)
    assert after.endpoints[0] is before.endpoints[1]


@pytest.mark.parametrize("flag", [1, 0, "true"])
def test_what_equals_a_flag_is_none(flag: object) -> None:
    """In Python 1 equals True; the API says boolean."""
    before = read_slice(endpoint_slice("web", 8080, [_full("10.0.0.1")]))
    entry = _full("10.0.0.1")
    entry["conditions"]["ready"] = flag
    with pytest.raises(DecodeError, match=r"endpoints\[0\].conditions.ready"):
        read_slice(endpoint_slice("web", 8080, [entry]), before)


def test_an_endpoint_that_says_little_is_read_like_any_other() -> None:
    raw = endpoint_slice("web", 8080, [endpoint("10.0.0.1"), {"addresses": ["10.0.0.2"]}])
    assert read_slice(raw, read_slice(raw)) == read_slice(raw)
