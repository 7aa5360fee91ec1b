"""Strong affinity: ``sessionPersistence`` -> the ``stateful_session`` filter and ``override_host_status``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from envoy_data_plane.envoy.config.core.v3 import HealthStatus, HealthStatusSet, TypedExtensionConfig
from envoy_data_plane.envoy.extensions.filters.http.stateful_session.v3 import StatefulSession, StatefulSessionPerRoute
from envoy_data_plane.envoy.extensions.http.stateful_session.cookie.v3 import CookieBasedSessionState
from envoy_data_plane.envoy.type.http.v3 import Cookie, CookieAttribute
from envoy_data_plane.google.protobuf import Any
from pydantic import Field

from fairlead_xds.encode import any_of
from fairlead_xds.features.value import PositiveDuration, Rule, Token, Value, timedelta

FILTER_NAME = "envoy.filters.http.stateful_session"


class SessionPersistence(Value):
    """Keeps a client on the endpoint that answered its first request, by a cookie that the load balancer sets."""

    type: Literal["Cookie"] = Field("Cookie", description="Where the session is kept.")
    name: Token = Field("SERVERID", description="Name of the cookie.")
    ttl: PositiveDuration | None = Field(
        None,
        description="Lifetime of a session from its first response on; use does not extend it. Default: none.",
    )
    path: Annotated[str, Field(pattern=r"^/[^;\s]*$", max_length=1024)] = Field(
        "/", description="Path attribute: requests outside of it have no session."
    )
    secure: bool = Field(default=False, description="Secure attribute: browsers send the cookie over TLS only.")
    same_site: Literal["Strict", "Lax", "None"] | None = Field(
        None, description="SameSite attribute. HttpOnly is always set."
    )
    drain: Literal["KeepSessions", "MoveSessions"] = Field(
        "KeepSessions",
        description="Whether the sessions of a terminating endpoint stay on it until it is gone, or move at once.",
    )
    on_unavailable: Literal["Rebalance", "Fail"] = Field(
        "Rebalance",
        description="A session whose endpoint is gone gets another endpoint and a new cookie, or 503 until it expires.",
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.sameSite) || self.sameSite != 'None' || self.secure",
            "secure must be true when sameSite is None: browsers refuse the cookie otherwise",
            lambda v: v.same_site != "None" or v.secure,
            "secure",
        ),
    )


def http_filter_config() -> StatefulSession:
    """The filter as it stands in every chain: without a session state it does nothing. Routes bring theirs."""
    return StatefulSession()


def typed_per_filter_config(value: SessionPersistence | None) -> dict[str, Any]:
    """``typed_per_filter_config`` of a route or of one side of a weighted split."""
    if value is None:
        return {}
    attributes = []
    if value.secure:
        attributes.append(CookieAttribute(name="Secure"))
    if value.same_site is not None:
        attributes.append(CookieAttribute(name="SameSite", value=value.same_site))
    cookie = Cookie(
        name=value.name,
        ttl=timedelta(value.ttl) if value.ttl else None,
        path=value.path,
        attributes=attributes,
    )
    state = TypedExtensionConfig(
        name="envoy.http.stateful_session.cookie", typed_config=any_of(CookieBasedSessionState(cookie=cookie))
    )
    session = StatefulSession(session_state=state, strict=value.on_unavailable == "Fail")
    return {FILTER_NAME: any_of(StatefulSessionPerRoute(stateful_session=session))}


def override_host_status(value: SessionPersistence | None) -> HealthStatusSet | None:
    """``common_lb_config.override_host_status``: the states in which an endpoint still gets its sessions.

    Envoy's own default leaves DRAINING out, which loses every session of a pod that terminates gracefully. TIMEOUT is
    ``endpoints.Health.HELD``.
    """
    if value is None:
        return None
    statuses = [HealthStatus.UNKNOWN, HealthStatus.HEALTHY, HealthStatus.TIMEOUT, HealthStatus.DEGRADED]
    if value.drain == "KeepSessions":
        statuses.append(HealthStatus.DRAINING)
    return HealthStatusSet(statuses=statuses)
