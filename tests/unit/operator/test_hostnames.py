"""Hostnames and wildcards (Gateway API)."""

from __future__ import annotations

import itertools

import pytest

from fairlead_operator import hostnames


@pytest.mark.parametrize(
    ("pattern", "hostname", "expected"),
    [
        ("*", "a.example.com", True),
        ("*", "*", True),
        ("*", "*.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "*.b.example.com", True),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("*.example.com", "*.com", False),
        ("*.example.com", "*", False),
        ("a.example.com", "a.example.com", True),
        ("a.example.com", "*.example.com", False),
        ("a.example.com", "b.example.com", False),
    ],
)
def test_covers(pattern: str, hostname: str, *, expected: bool) -> None:
    assert hostnames.covers(pattern, hostname) is expected


def test_names_are_more_specific_than_wildcards_and_long_ones_than_short_ones() -> None:
    order = ["*", "*.com", "*.example.com", "a.com", "a.example.com"]

    shuffled = [order[i] for i in (3, 0, 4, 2, 1)]

    assert sorted(shuffled, key=hostnames.specificity) == order


@pytest.mark.parametrize(
    ("route", "listener", "expected"),
    [
        ((), (), {"*"}),
        ((), ("a.com", "*.b.com"), {"a.com", "*.b.com"}),
        (("a.com",), (), {"a.com"}),
        (("x.b.com", "a.com"), ("*.b.com",), {"x.b.com"}),
        (("*.b.com",), ("x.b.com", "y.com"), {"x.b.com"}),
        (("a.com",), ("b.com",), set()),
    ],
)
def test_a_route_serves_what_it_and_the_listener_have_in_common(
    route: tuple[str, ...], listener: tuple[str, ...], expected: set[str]
) -> None:
    assert hostnames.meet(route, listener) == expected


def test_covering_lists_what_covers_the_most_specific_first() -> None:
    names = [".".join(labels) for size in (1, 2, 3) for labels in itertools.product("ab", repeat=size)]
    patterns = ["*", *names, *(f"*.{name}" for name in names)]
    for hostname in patterns:
        found = [pattern for pattern in hostnames.covering(hostname) if pattern in patterns]
        expected = [pattern for pattern in patterns if hostnames.covers(pattern, hostname)]
        assert found == sorted(expected, key=hostnames.specificity, reverse=True)
