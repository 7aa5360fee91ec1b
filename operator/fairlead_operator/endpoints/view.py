"""Rows of ``health`` and what proxies see -> what ``/endpoints`` answers, and the table that people read. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from fairlead_operator.bindings import Placed
from fairlead_operator.endpoints.admin import Page, Seen, together
from fairlead_operator.health import Row
from fairlead_operator.propagation import pre_stop
from fairlead_operator.status import rfc3339
from fairlead_xds.features.endpoints import Health

Json = dict[str, Any]
#: By the name of the proxy: what it sees; ``None``: it did not answer.
Proxies = Mapping[str, Page | None]


def answer(policy: str, rows: Iterable[Placed], proxies: Proxies, *, slowest: float = 0.0) -> Json:
    """The whole answer; numbers of proxies are of those that answered. *slowest*: see ``propagation``."""
    asked = {name: seen for name, seen in proxies.items() if seen is not None}
    return {
        "policy": policy,
        "proxies": {"asked": len(proxies), "answered": len(asked), "silent": sorted(proxies.keys() - asked.keys())},
        "propagation": {"slowestSeconds": round(slowest, 3), "preStopSeconds": pre_stop(slowest)},
        "endpoints": [_endpoint(one, list(asked.values())) for one in rows],
    }


def places(rows: Iterable[Placed]) -> dict[str, set[str]]:
    """By cluster the addresses that are asked about."""
    found: dict[str, set[str]] = {}
    for one in rows:
        for cluster in one.clusters:
            found.setdefault(cluster, set()).add(one.row.address)
    return found


def part(wanted: Mapping[str, Collection[str]], page: Page) -> Page:
    """What *page* says of *wanted*: a proxy has the clusters of many policies, and one that means no good has any."""
    return {
        cluster: {address: seen for address, seen in page[cluster].items() if address in addresses}
        for cluster, addresses in wanted.items()
        if cluster in page
    }


def _endpoint(placed: Placed, proxies: Sequence[Page]) -> Json:
    row, clusters, by_dns = placed
    seen = [[of[row.address] for name in clusters if row.address in (of := page.get(name, {}))] for page in proxies]
    known = [together(some) for some in seen if some]
    if by_dns and proxies:
        row = _resolved(row, known)
    return {
        **{name: getattr(row, name) for name in ("backend", "address", "pod", "node", "zone", "weight")},
        "health": row.health.value,
        "reason": row.reason,
        "since": rfc3339(row.since) if row.since else "",
        "proxies": len(known),
        "failedChecks": sum(one.failed_check for one in known),
        "ejected": sum(one.ejected for one in known),
        "requests": sum(one.requests for one in known),
        "errors": sum(one.errors for one in known),
    }


def _resolved(row: Row, known: Sequence[Seen]) -> Row:
    """*row*, of a hostname, as the proxies that have an address of it see it: Kubernetes knows nothing of it."""
    if any(not one.unfit for one in known):
        return row
    why = "every proxy that has addresses of it keeps them out" if known else "no proxy has an address of it"
    return row._replace(health=Health.EXCLUDED, reason=f"{row.reason}: {why}")


_HEAD = (
    "BACKEND",
    "ADDRESS",
    "POD",
    "NODE",
    "ZONE",
    "WEIGHT",
    "KUBERNETES",
    "CHECKS",
    "EJECTED",
    "REQUESTS",
    "ERRORS",
    "WHY",
)


def table(said: Json) -> str:
    """*said* as ``answer`` made it, for a terminal."""
    answered = said["proxies"]["answered"]
    lines = [_HEAD, *(_line(one) for one in said["endpoints"])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEAD) - 1)]
    text = [
        "  ".join([*(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=True)), line[-1]]).rstrip()
        for line in lines
    ]
    silent = said["proxies"]["silent"]
    words = f"{answered} of {said['proxies']['asked']} proxies answered"
    return "\n".join([*text, words + (f"; not: {', '.join(silent)}" if silent else ""), _advice(said), ""])


def _advice(said: Json) -> str:
    slowest, sleep = said["propagation"]["slowestSeconds"], said["propagation"]["preStopSeconds"]
    if not slowest:
        return f"no change of endpoints was measured in the last hour; a preStop sleep of {sleep} s is a good start"
    return f"the slowest change of the last hour took {slowest} s to reach every proxy: a preStop sleep of {sleep} s is enough"


def _line(one: Json) -> tuple[str, ...]:
    """Checks and ejections as FAILED/PROXIES, where the endpoint is known to a proxy."""
    proxies = one["proxies"]
    of_proxies = [f"{one[name]}/{proxies}" if proxies else "-" for name in ("failedChecks", "ejected")]
    numbers = [str(one[name]) if proxies else "-" for name in ("requests", "errors")]
    since = f" since {one['since']}" if one["since"] else ""
    who = [one[name] or "-" for name in ("backend", "address", "pod", "node", "zone")]
    return (*who, str(one["weight"]), one["health"], *of_proxies, *numbers, f"{one['reason']}{since}")
