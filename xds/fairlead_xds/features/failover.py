"""When requests begin to go to fallback endpoints: ``activateBelowHealthyPercent`` -> Envoy's overprovisioning factor.

Fallback endpoints have priority 1. Envoy sends priority 0 a share of *factor* x its healthy endpoints in percent, at most
all of it, and the rest to priority 1. So with a factor of 100 x 100 / *activate below* nothing is spilt while at least that
many percent are healthy, and below that the spill grows with the loss, until none is healthy and all of it is spilt.
"""

from __future__ import annotations

from typing import Final

#: Envoy's own factor is 140: it spills below 71.4 %.
ACTIVATE_BELOW: Final = 70


def overprovisioning_factor(activate_below_percent: int) -> int:
    """``ClusterLoadAssignment.Policy.overprovisioning_factor``, rounded up so that exactly that many percent spill nothing."""
    return -(-10_000 // activate_below_percent)
