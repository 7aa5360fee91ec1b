"""Envoy's own view of its endpoints: ``/clusters?format=json`` (envoy.admin.v3.Clusters), and counters of it. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from fairlead_operator.api.lenient import child, children, text
from fairlead_operator.options import joined

PATH: Final = "/clusters?format=json"
#: Gauges of clusters that tell whether an endpoint is kept out (Envoy: "Cluster statistics").
UNFIT_PATH: Final = "/stats/prometheus?filter=cluster.*(ejections_active%7Cmembership_(total%7Chealthy%7Cdegraded)%24)"
_GAUGE: Final = re.compile(
    r"^envoy_cluster_(outlier_detection_ejections_active|membership_total|membership_healthy|membership_degraded)"
    r"\{([^}\n]{0,1000})\} (\d{1,18})$",  # bounded: whoever owns a pod may answer in its sidecar's place
    re.MULTILINE,
)
#: An address is shorter, and a hostname is not longer (RFC 1035).
LONGEST: Final = 253


class Seen(NamedTuple):
    """An endpoint as one proxy sees it.

    Attributes:
        failed_check: active checks have found it unfit; one that has not been asked yet they have not.
        ejected: passive checks have taken it out for a time.
        requests, errors: of this proxy, since it knows the endpoint.
        unfit: neither it, nor of a hostname any other address, may get requests.
    """

    failed_check: bool = False
    ejected: bool = False
    requests: int = 0
    errors: int = 0
    unfit: bool = False


Page = dict[str, dict[str, Seen]]
"""Name of the cluster -> address with port -> how it is seen there. A hostname too, with the port of its addresses."""


def unfit(gauges: str) -> bool:
    """Whether some endpoint of ``UNFIT_PATH``'s page is ejected, or neither healthy nor degraded (excluded, draining, failed)."""
    lacking: defaultdict[str, int] = defaultdict(int)
    for name, labels, value in _GAUGE.findall(gauges):
        if name.endswith("active"):
            if int(value):
                return True
        else:
            lacking[labels] += int(value) if name.endswith("total") else -int(value)
    return any(number > 0 for number in lacking.values())


def read(page: Any) -> Page:
    """What is not as Envoy writes it is left out."""
    found: Page = {}
    for cluster in children(page, "cluster_statuses"):
        name = text(cluster, "name")
        for host in children(cluster, "host_statuses"):
            where = child(child(host, "address"), "socket_address")
            address, port = where.get("address"), where.get("port_value")
            if not isinstance(address, str) or len(address) > LONGEST or not isinstance(port, int):
                continue
            health = child(host, "health_status")
            stats = {text(one, "name"): one.get("value") for one in children(host, "stats")}
            out, pending, ejected = (
                bool(health.get(flag))
                for flag in ("failed_active_health_check", "pending_active_hc", "failed_outlier_check")
            )
            numbers = _number(stats.get("rq_total")), _number(stats.get("rq_error"))
            seen = Seen(out and not pending, ejected, *numbers, unfit=out or ejected)
            hostname, of_cluster = text(host, "hostname"), found.setdefault(name, {})
            for one in {address, hostname} if 0 < len(hostname) <= LONGEST else {address}:
                known = of_cluster.get(place := joined(one, port))
                of_cluster[place] = together((known, seen)) if known is not None else seen
    return found


def together(some: Iterable[Seen]) -> Seen:
    """What a proxy has several times, as one: a hostname has addresses, and two hostnames may have the same."""
    failed, ejected, requests, errors, unfit = zip(*some, strict=True)
    return Seen(any(failed), any(ejected), sum(requests), sum(errors), all(unfit))


def _number(value: Any) -> int:
    """64-bit numbers are texts in JSON; longer ones are none of Envoy's, and their sum could not be written."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 20:
        return int(value)
    return value if type(value) is int and 0 <= value < 1 << 64 else 0
