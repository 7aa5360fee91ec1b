"""How much a backend may be given at once -> ``Cluster.circuit_breakers``."""

from __future__ import annotations

from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    CircuitBreakersThresholdsRetryBudget,
)
from envoy_data_plane.envoy.type.v3 import Percent

#: Envoy's own 1,024 trips in production without a word.
UNLIMITED = 2**32 - 1
#: Retries at the same time that are allowed however few requests there are: of few a share is none, and when several pods go
#: in the same moment all of their clients' requests are tried again at once. With 10, three of ten thousand then failed.
RETRIES_AT_ONCE = 100


def circuit_breakers() -> CircuitBreakers:
    """No limit on connections and requests; retries by a budget, because Envoy's 3 fails a busy service's retries."""
    return CircuitBreakers(
        thresholds=[
            CircuitBreakersThresholds(
                max_connections=UNLIMITED,
                max_pending_requests=UNLIMITED,
                max_requests=UNLIMITED,
                retry_budget=CircuitBreakersThresholdsRetryBudget(
                    budget_percent=Percent(value=20), min_retry_concurrency=RETRIES_AT_ONCE
                ),
            )
        ]
    )
