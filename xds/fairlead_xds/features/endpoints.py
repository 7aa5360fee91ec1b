"""What becomes of endpoints that are not ready or that terminate: ``endpoints``, and Envoy's states for the outcome."""

from __future__ import annotations

import enum
from typing import ClassVar, Final, Literal

from envoy_data_plane.envoy.config.cluster.v3 import ClusterCommonLbConfig
from envoy_data_plane.envoy.type.v3 import Percent
from pydantic import Field

from fairlead_xds.features import affinity
from fairlead_xds.features.value import DURATION_PATTERN, PositiveDuration, Rule, Value, milliseconds, timedelta

_HOLD_WITHIN: Final = Rule(
    # Text that is no duration has its own message.
    f"![self.hold, self.within].all(d, d.matches('{DURATION_PATTERN}')) || duration(self.hold) <= duration(self.within)",
    "must not be longer than within, which is the most that it grows to",
    lambda v: milliseconds(v.hold) <= milliseconds(v.within),
    "hold",
)


class Restarting(Value):
    """When an endpoint whose containers restart again and again is held back, though it is ready in between."""

    within: PositiveDuration = Field("10m", description="Restarts count that are not older than this.")
    threshold: int = Field(3, ge=1, le=16, description="So many of them hold the endpoint back.")
    hold: PositiveDuration = Field(
        "30s",
        description="For how long after its start. Each restart beyond the threshold doubles it, up to within.",
    )
    action: Literal["Degrade", "Exclude", "Ignore"] = Field(
        "Degrade",
        description="Meanwhile it gets traffic only when no better endpoint is left, or none, or as if nothing was.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (_HOLD_WITHIN,)


class Flapping(Value):
    """When an endpoint that turns ready and not ready again and again stays out, while others are ready."""

    within: PositiveDuration = Field("1m", description="Turns to not ready count that are not older than this.")
    threshold: int = Field(3, ge=2, le=16, description="So many of them keep the endpoint out.")
    hold: PositiveDuration = Field(
        "2s",
        description="For how long after the last one. Each one beyond the threshold doubles it, up to within.",
    )
    action: Literal["Exclude", "Ignore"] = Field(
        "Exclude", description="Meanwhile it gets nothing while another endpoint is ready; or it is taken as it comes."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        _HOLD_WITHIN,
        Rule(
            f"!self.within.matches('{DURATION_PATTERN}') || duration(self.within) <= duration('1h')",
            "must be 1h or shorter: no turn is remembered for longer",
            lambda v: milliseconds(v.within) <= 3_600_000,
            "within",
        ),
    )


class NodeLost(Value):
    """What becomes of the endpoints of a node that vanished: NotReady, unreachable, out of service or deleted."""

    action: Literal["Exclude", "Keep"] = Field(
        "Exclude", description="They leave at once, without waiting for Kubernetes; or Kubernetes alone decides."
    )
    max_percent: int = Field(
        50,
        ge=0,
        le=100,
        description="When more than this share of the nodes left is lost at once, the view is broken: their endpoints stay.",
    )


class Endpoints(Value):
    """Which endpoints get traffic, by what Kubernetes says of them."""

    not_ready: Literal["Exclude", "Degrade"] = Field(
        "Exclude",
        description="An endpoint that is not ready gets no traffic, or gets it when no ready endpoint is left.",
    )
    terminating: Literal["Drain", "Exclude"] = Field(
        "Drain",
        description="An endpoint that terminates keeps its sessions and gets nothing new, or leaves at once.",
    )
    all_terminating: Literal["Serve", "Fail"] = Field(
        "Serve",
        description="When all endpoints left terminate, those that still serve get new requests, or requests get 503.",
    )
    restarting: Restarting = Field(Restarting(), description="An endpoint whose containers restart again and again.")
    flapping: Flapping = Field(Flapping(), description="An endpoint that turns ready and not ready again and again.")
    node_lost: NodeLost = Field(NodeLost(), description="Endpoints of a node that vanished.")


class Health(enum.Enum):
    """What an endpoint may get. ``EXCLUDED`` reaches Envoy only where it counts how many there should be (failover).

    ``HELD`` reaches nobody but Envoy, for an endpoint that is degraded: unfit, but for its sessions.
    """

    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    DRAINING = "Draining"
    EXCLUDED = "Excluded"
    HELD = "Held"

    __hash__ = object.__hash__  # Enum's is written in Python; this is a part of every endpoint's


#: ``envoy.config.core.v3.HealthStatus`` by number: load assignments are written without the typed binding.
#: ``TIMEOUT`` is as unfit as ``DRAINING``, but may keep sessions where those that drain may not.
HEALTH_STATUS = {Health.HEALTHY: 1, Health.EXCLUDED: 2, Health.DRAINING: 3, Health.HELD: 4, Health.DEGRADED: 5}


def common_lb_config(
    persistence: affinity.SessionPersistence | None, panic_threshold: int = 0, *, asked: bool = False
) -> ClusterCommonLbConfig:
    """``Cluster.common_lb_config``.

    Panic is off by default: at Envoy's 50 % it sends requests to endpoints that Kubernetes called not ready or terminating.
    ``update_merge_window`` is 0: Envoy's second delays every weight and health change. *asked*, by active checks: an endpoint
    whose first check has no answer yet is not counted as unfit, neither for panic and fallbacks nor by who asks Envoy.
    """
    return ClusterCommonLbConfig(
        healthy_panic_threshold=Percent(value=panic_threshold),
        update_merge_window=timedelta("0s"),
        override_host_status=affinity.override_host_status(persistence),
        ignore_new_hosts_until_first_hc=asked,
    )
