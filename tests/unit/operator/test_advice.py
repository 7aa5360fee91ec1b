"""What attached policies are told of the Services that they speak for."""

from __future__ import annotations

from typing import Any, Final

import pytest

from fairlead_operator.bindings import rows, survey
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import World
from fairlead_xds.features.endpoints import Health
from tests.support import manifests
from tests.support.manifests import (
    Raw,
    attached,
    endpoint,
    endpoint_slice,
    listener,
    node,
    placed,
    policy,
    route,
    service,
    site,
)
from tests.support.worlds import policy_ref, world_of

RANDOM: Final[Raw] = {"loadBalancer": {"type": "Random"}}


def _lost(**attached_spec: Any) -> World:
    ends = endpoint_slice("web", 8080, [placed(endpoint("10.0.0.1"), pod="web-1", node="a")])
    return world_of(service("web"), ends, node("a", ready="False"), policy("over", attached("web", **attached_spec)))


@pytest.mark.parametrize(
    ("over", "inline", "told"),
    [
        ({"endpoints": {}}, {}, True),
        (RANDOM, {}, True),
        (RANDOM, {"endpoints": {"nodeLost": {"maxPercent": 40}}}, False),
    ],
    ids=["its own", "nobody's", "the inline one's"],
)
def test_nodes_in_doubt_are_told_the_attached_policy_unless_an_inline_one_decides(
    over: Raw, inline: Raw, *, told: bool
) -> None:
    world = _lost(**over)
    world.apply(policy("site", site(listener(80), "web", **inline)))

    found = [one for one in reconcile(world).findings[policy_ref("over")].degraded if one.reason == "NodesInDoubt"]
    assert [one.path for one in found] == (["spec.endpoints.nodeLost"] if told else [])


def test_no_endpoints_are_told_the_attached_policy() -> None:
    world = world_of(
        service("web"), policy("site", site(listener(80), "web")), policy("over", attached("web", **RANDOM))
    )

    (problem,) = reconcile(world).findings[policy_ref("over")].degraded
    assert problem.reason == "NoEndpoints"
    assert problem.message == "Service shop/web has no endpoint that may get traffic"


@pytest.mark.parametrize("route_of_its_own", [False, True])
def test_an_attached_policy_of_a_fallback_is_told_that_other_settings_hold(*, route_of_its_own: bool) -> None:
    refs = [{"name": "web", "port": 80}, {"name": "spare", "port": 80, "fallback": True}]
    world = world_of(service("web"), service("spare"), policy("over", attached("spare", **RANDOM)))
    more = [route("more", "spare")] if route_of_its_own else []
    world.apply(policy("site", site(listener(80), [{"name": "all", "backendRefs": refs}, *more])))
    world.apply(endpoint_slice("spare", 8080, [endpoint("10.0.0.1")]))

    found = reconcile(world).findings[policy_ref("over")].degraded
    assert [(one.reason, one.path) for one in found] == (
        [] if route_of_its_own else [("FallbackOnly", "spec.targetRefs[0]")]
    )


@pytest.mark.parametrize("ready", [True, False])
def test_captured_traffic_has_the_attached_policy_only_to_tell(*, ready: bool) -> None:
    annotations = {"fairlead.dev/mode": "Capture", "fairlead.dev/captured": "10.96.0.1:80"}
    ends = [placed(endpoint("10.0.0.1", ready=ready), pod="web-1", node="a")]
    world = world_of(
        service("web") | {"spec": {"clusterIPs": ["10.96.0.1"], "ports": [{"port": 80}]}},
        endpoint_slice("web", 8080, ends),
        node("a", ready="False"),
        policy("over", attached("web", **RANDOM)),
        manifests.pod("caller", {"app": "caller"}, annotations=annotations),
    )

    found = {one.reason for one in reconcile(world).findings[policy_ref("over")].degraded}
    assert found - {"PodsNotCapturing"} == ({"NodesInDoubt"} if ready else {"NodesInDoubt", "NoEndpoints"})


@pytest.mark.parametrize("ages", [(0, 1), (1, 0)], ids=["degrades first", "excludes first"])
def test_an_endpoint_that_routes_treat_otherwise_is_shown_where_it_gets_least(ages: tuple[int, int]) -> None:
    ends = [endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False)]
    degrades = site(listener(80), "web", endpoints={"notReady": "Degrade"})
    world = world_of(service("web"), endpoint_slice("web", 8080, ends), policy("over", attached("web", **RANDOM)))
    world.apply(policy("one", degrades, age=ages[0]))
    world.apply(policy("two", site(listener(81), "web"), age=ages[1]))
    clusters = reconcile(world).clusters

    (told,) = survey(world, clusters[policy_ref("over")]).unfit
    assert (told.health, told.reason) == (Health.EXCLUDED, "not ready (with the settings of other routes: Degraded)")
    (told,) = survey(world, clusters[policy_ref("one")]).unfit
    assert (told.health, told.reason) == (Health.DEGRADED, "not ready: used when no ready endpoint is left")
    shown = {one.row.address: one.row.health for one in rows(world, clusters[policy_ref("over")])}
    assert shown == {"10.0.0.1:8080": Health.HEALTHY, "10.0.0.2:8080": Health.EXCLUDED}
