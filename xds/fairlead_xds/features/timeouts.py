"""How long a request may take: ``timeouts`` -> ``RouteAction.timeout`` and ``RetryPolicy.per_try_timeout``."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from pydantic import Field

from fairlead_xds.features.value import DURATION_PATTERN, Duration, Rule, Value, milliseconds, timedelta


def _ordered(value: Timeouts) -> bool:
    if value.request is None or value.backend_request is None or milliseconds(value.request) == 0:
        return True
    return milliseconds(value.backend_request) <= milliseconds(value.request)


class Timeouts(Value):
    """Gateway API's HTTPRouteTimeouts."""

    request: Duration | None = Field(
        None,
        description="From the end of the request to the end of the answer, with retries. Default: 15s. `0s`: none.",
    )
    backend_request: Duration | None = Field(
        None,
        description=(
            "For one try at one endpoint, until its answer begins. Absent or `0s`: only the request's timeout holds."
        ),
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            # Text that is no duration has its own message; duration() would add one that nobody understands.
            "!has(self.request) || !has(self.backendRequest)"
            f" || ![self.request, self.backendRequest].all(d, d.matches('{DURATION_PATTERN}'))"
            " || duration(self.request) == duration('0s') || duration(self.backendRequest) <= duration(self.request)",
            "backendRequest must not be longer than request",
            _ordered,
            "backendRequest",
        ),
    )


def timeout(value: Timeouts) -> dt.timedelta:
    """``RouteAction.timeout``; Envoy's 15 s is written out so that it is seen."""
    return timedelta(value.request or "15s")


def per_try_timeout(value: Timeouts) -> dt.timedelta | None:
    """``RetryPolicy.per_try_timeout``."""
    if value.backend_request is None or milliseconds(value.backend_request) == 0:
        return None
    return timedelta(value.backend_request)
