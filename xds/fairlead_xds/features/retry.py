"""What is tried again: ``retry`` -> ``RouteAction.retry_policy``."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from envoy_data_plane.envoy.config.route.v3 import RetryPolicy, RetryPolicyRetryHostPredicate
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate
from pydantic import Field

from fairlead_xds.encode import any_of
from fairlead_xds.features.value import Value

#: How often another host is looked for before a host that was tried already is taken after all. An endpoint that refuses
#: is never busy, so of two LeastRequest takes it three times in four: with the usual 5, 1 request in 30 would fail.
HOST_SELECTION_ATTEMPTS = 32

#: Our words for Envoy's (config_http_filters_router_x-envoy-retry-on).
RETRY_ON = {
    "ConnectFailure": "connect-failure",
    "RefusedStream": "refused-stream",
    "ResetBeforeRequest": "reset-before-request",
    "Reset": "reset",
    "GatewayError": "gateway-error",
    "ServerError": "5xx",
}


class Retry(Value):
    """When a request is tried again, on another endpoint where there is one."""

    attempts: Annotated[int, Field(ge=0, le=10)] = Field(2, description="Most retries of one request. 0: none.")
    retry_on: Annotated[
        tuple[
            Literal["ConnectFailure", "RefusedStream", "ResetBeforeRequest", "Reset", "GatewayError", "ServerError"],
            ...,
        ],
        Field(min_length=1, max_length=6, json_schema_extra={"x-kubernetes-list-type": "set"}),
    ] = Field(
        ("ConnectFailure", "RefusedStream"),
        description=(
            "What is tried again. The first three are safe for every method: the backend has not seen the request."
            " Reset, GatewayError (502, 503, 504) and ServerError (all 5xx) may do a thing twice."
        ),
    )


def retry_policy(value: Retry, *, hashing: bool, per_try_timeout: datetime.timedelta | None) -> RetryPolicy | None:
    """``RouteAction.retry_policy``. A retry takes another host, unless the algorithm hashes: it would pick the same."""
    if value.attempts == 0:  # the policy has the timeout of the one try, too
        return RetryPolicy(num_retries=0, per_try_timeout=per_try_timeout) if per_try_timeout is not None else None
    previous_hosts = RetryPolicyRetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=any_of(PreviousHostsPredicate())
    )
    return RetryPolicy(
        retry_on=",".join(RETRY_ON[condition] for condition in value.retry_on),
        num_retries=value.attempts,
        per_try_timeout=per_try_timeout,
        retry_host_predicate=[] if hashing else [previous_hosts],
        host_selection_retry_max_attempts=0 if hashing else HOST_SELECTION_ATTEMPTS,
    )
