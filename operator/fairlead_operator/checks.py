"""How many active checks an endpoint gets of all proxies together, and how that is bounded. Pure.

A proxy knows nothing of the others. So where a policy says how many checks a second an endpoint may get, the interval of all
of them grows with their number. Each interval is another cluster to Envoy, which starts to ask anew: so the number
is rounded up to a power of two, and proxies that come and go one by one change nothing most of the time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from fairlead_xds.features.health_check import HealthCheck

Crowd = Mapping[str, int]
"""Proxies by key, rounded up to a power of two."""


def crowd(connected: Mapping[str, int]) -> dict[str, int]:
    """*connected* proxies by key, rounded up."""
    return {key: 1 << (count - 1).bit_length() for key, count in connected.items() if count > 0}


def bounded(check: HealthCheck | None) -> bool:
    """The number of proxies matters."""
    return check is not None and check.active is not None and check.active.max_checks_per_second is not None


def stretched(check: HealthCheck, proxies: int) -> HealthCheck:
    """*check* as *proxies* of them make it."""
    active = check.active
    if active is None or active.max_checks_per_second is None:
        return check
    least = math.ceil(1000 * proxies / active.max_checks_per_second)
    if least <= active.every * 1000:
        return check
    return check.model_copy(update={"active": active.model_copy(update={"interval": f"{least}ms"})})
