"""``healthCheck``: which endpoints Envoy itself finds unfit (``active``, ``passive``), and when it gives up on judging."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.features.passive import PassiveHealthCheck
from fairlead_xds.features.value import Rule, Value


class HealthCheck(Value):
    """What the proxies find out about endpoints, beside what Kubernetes says."""

    active: ActiveHealthCheck | None = Field(None, description="Ask the endpoints. Default: nobody asks.")
    passive: PassiveHealthCheck | None = Field(
        None, description="Eject endpoints that fail requests. Default: none is ejected."
    )
    panic_threshold: Annotated[int, Field(ge=0, le=100)] = Field(
        0,
        description=(
            "Below so many percent of fit endpoints all get requests, the unfit too; with fallbacks those that Kubernetes"
            " excludes as well. 0: never; requests get 503 when no fit endpoint is left."
        ),
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.active) || has(self.passive) || self.panicThreshold > 0",
            "nothing is set: leave healthCheck out instead",
            lambda v: bool(v.active or v.passive or v.panic_threshold),
        ),
    )
