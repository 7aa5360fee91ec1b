"""Hostnames and wildcards: which covers which (Gateway API, HTTPRoute.hostnames)."""

from __future__ import annotations

from collections.abc import Iterator

ANY = "*"


def covers(pattern: str, hostname: str) -> bool:
    """Whether every host of *hostname* (itself perhaps a wildcard) is a host of *pattern*."""
    if pattern in (ANY, hostname):
        return True
    return pattern.startswith("*.") and hostname.removeprefix("*").endswith(pattern[1:]) and hostname != ANY


def covering(hostname: str) -> Iterator[str]:
    """Every pattern that covers *hostname*, the most specific first."""
    yield hostname
    labels = hostname.split(".")
    for start in range(1, len(labels)):
        wildcard = ".".join((ANY, *labels[start:]))
        if wildcard != hostname:
            yield wildcard
    if hostname != ANY:
        yield ANY


def specificity(hostname: str) -> tuple[bool, int]:
    """Sort key, the more specific last: any, wildcards, names; longer before shorter within each."""
    return (not hostname.startswith(ANY), len(hostname))


def meet(routes: tuple[str, ...], listener: tuple[str, ...]) -> set[str]:
    """Hostnames that a route serves on a listener: empty where the two have nothing in common."""
    listener = listener or (ANY,)
    routes = routes or (ANY,)
    return {a for a in routes for b in listener if covers(b, a)} | {b for b in listener for a in routes if covers(a, b)}
