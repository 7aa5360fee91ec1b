"""How many checks an endpoint gets, whatever the number of proxies and policies."""

from __future__ import annotations

from typing import Any

import annotated_types
import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.status_types import LoadBalancerPolicyStatus
from fairlead_operator.checks import Asked, Checks, of_clusters, rates, slowed
from fairlead_operator.crowd import rounded
from fairlead_operator.reconcile import reconcile
from fairlead_operator.reconciled import Reconciled
from fairlead_xds.features.active import ActiveHealthCheck, TcpCheck
from fairlead_xds.features.health_check import HealthCheck
from tests.support.manifests import listener, on_sidecars, pod, policy, site
from tests.support.worlds import backend, policy_ref, world_of

TCP = {"type": "TCP", "tcp": {}, "interval": "2s", "timeout": "1s"}


@pytest.mark.parametrize(
    ("proxies", "interval"), [(0, "2s"), (20, "2s"), (21, "2100ms"), (64, "6400ms"), (1024, "102400ms")]
)
def test_the_interval_grows_with_the_proxies_where_a_policy_asks_for_it(proxies: int, interval: str) -> None:
    active = ActiveHealthCheck(type="TCP", tcp=TcpCheck(), interval="2s", timeout="1s", max_checks_per_second=10)

    found = slowed(HealthCheck(active=active), proxies).active

    assert found is not None
    assert found.interval == interval
    assert proxies / found.every <= 10


def test_else_it_does_not() -> None:
    check = HealthCheck(active=ActiveHealthCheck(type="TCP", tcp=TcpCheck()))

    assert slowed(check, 100_000) is check


@pytest.mark.parametrize("most", [None, 5])
def test_fifty_proxies_and_ten_policies_ask_an_endpoint_no_more_often_than_they_should(most: int | None) -> None:
    """Ten policies on a gateway of 40 proxies and on 10 sidecars lead to one Service: one cluster for each key.

    Measured in the configuration that Envoys get: the sum over proxies and clusters of one check an interval.
    """
    active = TCP | ({"maxChecksPerSecond": most} if most else {})
    check: dict[str, Any] = {"healthCheck": {"active": active}}
    policies = [policy(f"p{n}", site(listener(8000 + n), "web", **check)) for n in range(5)]
    policies += [policy(f"s{n}", on_sidecars({"app": "x"}, listener(8100 + n), "web", **check)) for n in range(5)]
    world = world_of(*backend("web"), *policies, pod("x-1", {"app": "x"}))
    (key,) = (group.key for group in world.pods.groups())
    connected = {"edge": 40, key: 10}

    done = reconcile(world, crowd=rounded(connected))

    total = 0.0
    for name, config in done.proxies.items():
        (cluster,) = config.backends
        assert cluster.health_check is not None
        assert cluster.health_check.active is not None
        total += connected[name] / cluster.health_check.active.every
    assert total == 25.0 if most is None else total <= 5


def _per_second(done: Reconciled, connected: dict[str, int]) -> float:
    """Checks of the one backend, as Envoys are told to make them."""
    return sum(
        connected[name] / one.health_check.active.every
        for name, config in done.proxies.items()
        for one in config.backends
        if one.health_check is not None and one.health_check.active is not None
    )


def _told(name: str, done: Reconciled, connected: dict[str, int]) -> tuple[Checks, ...]:
    """What the status of policy *name* says."""
    clusters = [one.cluster for one in done.clusters[policy_ref(name)]]
    return of_clusters(clusters, done.checked, rates(done.checked, connected))


def test_a_service_that_has_several_clusters_is_asked_no_more_often_in_all() -> None:
    """With fallbacks or other settings it has another cluster, which the same proxies ask for themselves."""
    check: dict[str, Any] = {"healthCheck": {"active": TCP | {"maxChecksPerSecond": 5}}}
    spare = [{"name": "web", "port": 80}, {"name": "spare", "port": 80, "fallback": True}]
    plain, failing = site(listener(8000), "web", **check), site(listener(8001), "web", **check)
    failing["routes"][0]["backendRefs"] = spare
    slow = site(listener(8002), "web", **check, loadBalancer={"type": "RoundRobin"})
    world = world_of(*backend("web"), *backend("spare"), policy("a", plain), policy("b", failing), policy("c", slow))
    connected = {"edge": 16}

    done = reconcile(world, crowd=rounded(connected))

    assert len({one.name for one in done.proxies["edge"].backends}) == 3
    assert _per_second(done, connected) <= 5
    told = {one.backend: one.per_second for name in ("a", "b", "c") for one in _told(name, done, connected)}
    assert told == {"shop/web": pytest.approx(_per_second(done, connected)), "shop/spare": told["shop/spare"]}
    assert 0 < told["shop/spare"] < told["shop/web"]


def test_what_a_policy_does_not_bound_counts_in_what_its_backend_gets() -> None:
    bounded = site(listener(8000), "web", healthCheck={"active": TCP | {"maxChecksPerSecond": 5}})
    free = site(listener(8001), "web", healthCheck={"active": TCP})
    world = world_of(*backend("web"), policy("bounded", bounded), policy("free", free))
    connected = {"edge": 16}

    done = reconcile(world, crowd=rounded(connected))

    for name, every in (("bounded", 6.4), ("free", 2.0)):
        (one,) = _told(name, done, connected)
        assert one.every == every
        assert one.per_second == pytest.approx(16 / 2.0 + 16 / 6.4)


def test_a_status_lists_no_more_backends_than_the_api_takes_those_that_are_asked_most() -> None:
    """One more than its schema allows, and no status of the policy is ever written."""
    active = ActiveHealthCheck(type="TCP", tcp=TcpCheck())
    asked = {str(n): Asked(HealthCheck(active=active), (), (Ref("Service", "shop", f"s{n}"),)) for n in range(200)}
    per_second = {one.backends[0]: float(n) for n, one in enumerate(asked.values())}

    found = of_clusters(asked, asked, per_second)

    (most,) = [
        piece.max_length
        for piece in LoadBalancerPolicyStatus.model_fields["active_checks"].metadata
        if isinstance(piece, annotated_types.MaxLen)
    ]
    assert len(found) == most
    assert min(one.per_second for one in found) == 200 - most
    assert list(found) == sorted(found)
