"""How an endpoint is chosen: ``loadBalancer`` -> ``Cluster.load_balancing_policy``, ``RouteAction.hash_policy``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from betterproto2 import Message
from envoy_data_plane.envoy.config.cluster.v3 import LoadBalancingPolicy, LoadBalancingPolicyPolicy
from envoy_data_plane.envoy.config.core.v3 import RuntimeDouble, TypedExtensionConfig
from envoy_data_plane.envoy.config.route.v3 import (
    RouteActionHashPolicy,
    RouteActionHashPolicyConnectionProperties,
    RouteActionHashPolicyCookie,
    RouteActionHashPolicyHeader,
)
from envoy_data_plane.envoy.extensions.load_balancing_policies.common.v3 import SlowStartConfig
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request.v3 import LeastRequest
from envoy_data_plane.envoy.extensions.load_balancing_policies.maglev.v3 import Maglev
from envoy_data_plane.envoy.extensions.load_balancing_policies.random.v3 import Random
from envoy_data_plane.envoy.extensions.load_balancing_policies.ring_hash.v3 import RingHash
from envoy_data_plane.envoy.extensions.load_balancing_policies.round_robin.v3 import RoundRobin
from envoy_data_plane.envoy.type.v3 import Percent
from pydantic import Field

from fairlead_xds.encode import any_of
from fairlead_xds.features.value import Duration, PositiveDuration, Rule, Token, Value, timedelta, union

#: Envoy's default ring of 1,024 entries; the table of Maglev keeps Envoy's default, the prime 65,537.
RING_SIZE = 1024


class HashHeader(Value):
    """Hash the value of a request header."""

    name: Token = Field(description="Name of the request header; a request without it is balanced at random.")


class HashCookie(Value):
    """Hash a cookie that the load balancer makes where a client has none. It holds no endpoint address."""

    name: Token = Field(description="Name of the cookie.")
    ttl: Duration = Field("0s", description="Lifetime of a cookie that is made here; `0s` is a session cookie.")
    path: Annotated[str, Field(pattern=r"^/[^;\s]*$", max_length=1024)] = Field(
        "/", description="Path attribute of a cookie that is made here."
    )


class HashOn(Value):
    """One part of the hash key."""

    type: Literal["SourceIP", "Header", "Cookie"] = Field(description="What of a request is hashed.")
    header: HashHeader | None = Field(None, description="Set when type is Header.")
    cookie: HashCookie | None = Field(None, description="Set when type is Cookie.")

    rules: ClassVar[tuple[Rule, ...]] = (*union("type", "header", "Header"), *union("type", "cookie", "Cookie"))


class ConsistentHash(Value):
    """Weak affinity: a key keeps its endpoint for as long as the set of endpoints allows."""

    table: Literal["Maglev", "RingHash"] = Field(
        "Maglev",
        description="Lookup table. Maglev spreads more evenly and moves fewer keys when endpoints come and go.",
    )
    hash_on: Annotated[tuple[HashOn, ...], Field(min_length=1, max_length=8)] = Field(
        description="Parts of the key, joined in this order; parts that a request lacks are left out."
    )


class SlowStart(Value):
    """A newcomer gets few requests at first: caches and compilers are cold."""

    window: PositiveDuration = Field(description="How long it takes until an endpoint has its whole share.")
    aggression: Annotated[int, Field(ge=1, le=10)] = Field(
        1, description="1: the share grows evenly; more: most of it comes early."
    )
    min_weight_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Percent of its share that it has from the start."
    )


class LoadBalancer(Value):
    """How an endpoint is chosen among those that may get traffic."""

    type: Literal["RoundRobin", "LeastRequest", "Random", "ConsistentHash"] = Field(
        "LeastRequest",
        description=(
            "The algorithm. LeastRequest takes the less busy of two endpoints picked at random; RoundRobin overloads"
            " slow endpoints; Random ignores weights; ConsistentHash keeps a key on its endpoint."
        ),
    )
    consistent_hash: ConsistentHash | None = Field(None, description="Set when type is ConsistentHash.")
    slow_start: SlowStart | None = Field(
        None, description="Let new endpoints, and those that come back, warm up. For RoundRobin and LeastRequest."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        *union("type", "consistent_hash", "ConsistentHash"),
        Rule(
            "!has(self.slowStart) || self.type in ['RoundRobin', 'LeastRequest']",
            "slowStart may only be set when type is RoundRobin or LeastRequest: the others know no warming up",
            lambda v: v.slow_start is None or v.type in {"RoundRobin", "LeastRequest"},
            "slowStart",
        ),
    )


DEFAULT = LoadBalancer()


def load_balancing_policy(value: LoadBalancer) -> LoadBalancingPolicy:
    """``Cluster.load_balancing_policy``: the extension form, one policy, no fallback list."""
    name, config = _extension(value)
    extension = TypedExtensionConfig(name=f"envoy.load_balancing_policies.{name}", typed_config=any_of(config))
    return LoadBalancingPolicy(policies=[LoadBalancingPolicyPolicy(typed_extension_config=extension)])


def _extension(value: LoadBalancer) -> tuple[str, Message]:
    match value.type:
        case "RoundRobin":
            return "round_robin", RoundRobin(slow_start_config=_slow_start(value.slow_start))
        case "LeastRequest":
            return "least_request", LeastRequest(choice_count=2, slow_start_config=_slow_start(value.slow_start))
        case "Random":
            return "random", Random()
        case "ConsistentHash":
            assert value.consistent_hash is not None
            if value.consistent_hash.table == "Maglev":
                return "maglev", Maglev()
            return "ring_hash", RingHash(minimum_ring_size=RING_SIZE)


def _slow_start(value: SlowStart | None) -> SlowStartConfig | None:
    if value is None:
        return None
    return SlowStartConfig(
        slow_start_window=timedelta(value.window),
        # The runtime key is never set: the field takes no value without one.
        aggression=RuntimeDouble(default_value=float(value.aggression), runtime_key="fairlead.slow_start.aggression"),
        min_weight_percent=Percent(value=value.min_weight_percent),
    )


def hash_policy(value: LoadBalancer) -> list[RouteActionHashPolicy]:
    """``RouteAction.hash_policy``: empty unless the algorithm hashes."""
    if value.consistent_hash is None:
        return []
    return [_hash_on(part) for part in value.consistent_hash.hash_on]


def _hash_on(part: HashOn) -> RouteActionHashPolicy:
    if part.header is not None:
        return RouteActionHashPolicy(header=RouteActionHashPolicyHeader(header_name=part.header.name))
    if part.cookie is not None:
        cookie = RouteActionHashPolicyCookie(
            name=part.cookie.name, ttl=timedelta(part.cookie.ttl), path=part.cookie.path
        )
        return RouteActionHashPolicy(cookie=cookie)
    return RouteActionHashPolicy(connection_properties=RouteActionHashPolicyConnectionProperties(source_ip=True))
