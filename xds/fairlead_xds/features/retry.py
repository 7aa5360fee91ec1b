"""What is tried again -> ``RouteAction.retry_policy``."""

from __future__ import annotations

from envoy_data_plane.envoy.config.route.v3 import RetryPolicy, RetryPolicyRetryHostPredicate
from envoy_data_plane.envoy.extensions.retry.host.previous_hosts.v3 import PreviousHostsPredicate

from fairlead_xds.encode import any_of

ATTEMPTS = 2


def retry_policy(*, hashing: bool) -> RetryPolicy:
    """Two retries where the request cannot have been processed: safe for every method.

    A retry takes another host, unless the algorithm hashes: there it would only pick the same one again.
    """
    previous_hosts = RetryPolicyRetryHostPredicate(
        name="envoy.retry_host_predicates.previous_hosts", typed_config=any_of(PreviousHostsPredicate())
    )
    return RetryPolicy(
        retry_on="connect-failure,refused-stream",
        num_retries=ATTEMPTS,
        retry_host_predicate=[] if hashing else [previous_hosts],
        host_selection_retry_max_attempts=0 if hashing else 5,
    )
