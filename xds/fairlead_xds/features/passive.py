"""What requests tell of an endpoint: ``healthCheck.passive`` -> ``Cluster.outlier_detection``.

An endpoint that fails is ejected for a while, longer each time, and comes back by itself.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from envoy_data_plane.envoy.config.cluster.v3 import OutlierDetection
from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from fairlead_xds.features.value import PositiveDuration, Rule, Value, milliseconds, timedelta

#: What ``Auto`` may be. Envoy ejects while (ejected + 1) / endpoints is at most this: with half of them one of two, one of three,
#: two of five, and never the only one. With its own 10 % it ejects none of fewer than ten.
_AUTO: Final = (50, 25, 10, 0)

_NEITHER = "must be Auto or a whole number from 0 to 100"


def _auto_or_percent(value: int | str) -> int | str:
    if value == "Auto" or (isinstance(value, int) and 0 <= value <= 100):
        return value
    raise PydanticCustomError("percent", _NEITHER)


#: ``x-kubernetes-int-or-string`` is the one union that a structural schema can hold.
AutoOrPercent = Annotated[
    int | str,
    AfterValidator(_auto_or_percent),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "x-kubernetes-validations": [
                {
                    "rule": "type(self) == int ? self >= 0 && self <= 100 : self == 'Auto'",
                    "message": _NEITHER,
                }
            ],
        }
    ),
]


class SuccessRate(Value):
    """Ejects endpoints whose share of successes is far below that of the others."""

    minimum_hosts: Annotated[int, Field(ge=2, le=10_000)] = Field(
        5, description="So many endpoints must have enough requests, or none is judged."
    )
    request_volume: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        100, description="Requests within an interval from which on an endpoint is judged."
    )
    deviations_permille: Annotated[int, Field(ge=100, le=100_000)] = Field(
        1900, description="How many thousandths of the standard deviation below the mean are still good."
    )


class FailurePercentage(Value):
    """Ejects endpoints of which a share of the requests fails, whatever the others do."""

    threshold: Annotated[int, Field(ge=1, le=100)] = Field(
        85, description="Percent of failed requests within an interval that is too much."
    )
    minimum_hosts: Annotated[int, Field(ge=1, le=10_000)] = Field(
        2, description="So many endpoints must have enough requests, or none is judged."
    )
    request_volume: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        50, description="Requests within an interval from which on an endpoint is judged."
    )


class PassiveHealthCheck(Value):
    """When an endpoint is ejected for what requests to it come to. At least one of the criteria is on."""

    consecutive_5xx_errors: Annotated[int, Field(ge=0, le=10_000)] = Field(
        5,
        alias="consecutive5xxErrors",
        description="Ejected after so many responses 5xx in a row, connections that failed among them. 0: never.",
    )
    consecutive_gateway_errors: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0, description="Ejected after so many responses 502, 503 or 504 in a row. 0: never."
    )
    consecutive_local_origin_failures: Annotated[int, Field(ge=0, le=10_000)] = Field(
        0,
        description=(
            "Ejected after so many connections in a row that failed, timed out or were reset; these then count for none"
            " of the other criteria. 0: they count as 5xx."
        ),
    )
    success_rate: SuccessRate | None = Field(None, description="Compare the endpoints with each other.")
    failure_percentage: FailurePercentage | None = Field(None, description="Judge each endpoint by itself.")
    interval: PositiveDuration = Field(
        "10s", description="How often rates are judged, and ejections looked at that may end."
    )
    base_ejection_time: PositiveDuration = Field(
        "30s", description="How long an ejection takes: this times how often it was ejected before."
    )
    max_ejection_time: PositiveDuration = Field("300s", description="How long it takes at most.")
    max_ejection_percent: AutoOrPercent = Field(
        "Auto",
        description=(
            "Most endpoints that are out at once, in percent. Auto: half, which is one of two, one of three, and never"
            " the last one, fallbacks included; less while many drain, which count too. A low percentage of few endpoints"
            " is none."
        ),
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.consecutive5xxErrors > 0 || self.consecutiveGatewayErrors > 0"
            " || self.consecutiveLocalOriginFailures > 0 || has(self.successRate) || has(self.failurePercentage)",
            "every criterion is off: leave passive out instead",
            lambda v: bool(
                v.consecutive_5xx_errors
                or v.consecutive_gateway_errors
                or v.consecutive_local_origin_failures
                or v.success_rate
                or v.failure_percentage
            ),
        ),
        Rule(
            "duration(self.maxEjectionTime) >= duration(self.baseEjectionTime)",
            "must be at least baseEjectionTime",
            lambda v: milliseconds(v.max_ejection_time) >= milliseconds(v.base_ejection_time),
            "maxEjectionTime",
        ),
    )


def auto_percent(fit: int, endpoints: int) -> int:
    """What ``Auto`` is for so many *endpoints* of a cluster, of which so many are *fit* for requests.

    Envoy counts all of them: when as many drain as are left, half of them may be all that are left. Few steps, because each other
    percentage is another cluster to Envoy.
    """
    return next((step for step in _AUTO if step * endpoints // 100 < max(fit, 1)), 0)


def outlier_detection(value: PassiveHealthCheck) -> OutlierDetection:
    """``Cluster.outlier_detection``. What is off is said to be off: Envoy judges by success rate unless told not to."""
    rate, share = value.success_rate, value.failure_percentage
    local = value.consecutive_local_origin_failures
    percent = value.max_ejection_percent if isinstance(value.max_ejection_percent, int) else _AUTO[0]
    found = OutlierDetection(
        consecutive_5xx=value.consecutive_5xx_errors or None,
        enforcing_consecutive_5xx=_enforced(value.consecutive_5xx_errors),
        consecutive_gateway_failure=value.consecutive_gateway_errors or None,
        enforcing_consecutive_gateway_failure=_enforced(value.consecutive_gateway_errors),
        enforcing_success_rate=_enforced(rate),
        enforcing_failure_percentage=_enforced(share),
        interval=timedelta(value.interval),
        base_ejection_time=timedelta(value.base_ejection_time),
        max_ejection_time=timedelta(value.max_ejection_time),
        max_ejection_percent=percent,
    )
    if local:
        found.split_external_local_origin_errors = True
        found.consecutive_local_origin_failure = local
        found.enforcing_consecutive_local_origin_failure = 100
        found.enforcing_local_origin_success_rate = 0
    if rate is not None:
        found.success_rate_minimum_hosts = rate.minimum_hosts
        found.success_rate_request_volume = rate.request_volume
        found.success_rate_stdev_factor = rate.deviations_permille
    if share is not None:
        found.failure_percentage_threshold = share.threshold
        found.failure_percentage_minimum_hosts = share.minimum_hosts
        found.failure_percentage_request_volume = share.request_volume
    return found


def _enforced(criterion: object) -> int:
    return 100 if criterion else 0
