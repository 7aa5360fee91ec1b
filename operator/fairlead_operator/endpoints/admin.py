"""Envoy's own view of its endpoints: ``/clusters?format=json`` (envoy.admin.v3.Clusters). Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from fairlead_operator.api.lenient import child, children
from fairlead_operator.options import joined

PATH = "/clusters?format=json"


class Seen(NamedTuple):
    """An endpoint as one proxy sees it.

    Attributes:
        failed_check: active checks have found it unfit.
        ejected: passive checks have taken it out for a time.
        requests, errors: of this proxy, since it knows the endpoint.
    """

    failed_check: bool = False
    ejected: bool = False
    requests: int = 0
    errors: int = 0


def read(page: Any) -> dict[str, list[Seen]]:
    """Address with port -> how it is seen in each cluster that has it. What is not as Envoy writes it is left out."""
    found: dict[str, list[Seen]] = {}
    for cluster in children(page, "cluster_statuses"):
        for host in children(cluster, "host_statuses"):
            where = child(child(host, "address"), "socket_address")
            address, port = where.get("address"), where.get("port_value")
            if not isinstance(address, str) or not isinstance(port, int):
                continue
            health = child(host, "health_status")
            stats = {one.get("name"): one.get("value") for one in children(host, "stats")}
            seen = Seen(
                bool(health.get("failed_active_health_check")),
                bool(health.get("failed_outlier_check")),
                _number(stats.get("rq_total")),
                _number(stats.get("rq_error")),
            )
            found.setdefault(joined(address, port), []).append(seen)
    return found


def _number(value: Any) -> int:
    """64-bit numbers are texts in JSON."""
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else 0
