"""Which proxies are asked what they keep out, how often, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.pods import read_pod
from fairlead_operator.endpoints import ejections as subject
from fairlead_operator.endpoints.admin import Page, Seen, unfit
from fairlead_operator.endpoints.ejections import ASKED, MOST, SILENCES, Ejections
from fairlead_operator.endpoints.targets import Target, of_pods
from fairlead_operator.loop import ControlPlane
from fairlead_operator.sidecars import Pods
from fairlead_operator.status import Ejected
from fairlead_xds.store import Store
from tests.support import manifests
from tests.support.manifests import endpoint

GAUGES = """\
# TYPE envoy_cluster_membership_healthy gauge
envoy_cluster_membership_healthy{envoy_cluster_name="a"} 2
envoy_cluster_membership_degraded{envoy_cluster_name="a"} 1
envoy_cluster_membership_total{envoy_cluster_name="a"} 3
envoy_cluster_membership_total{envoy_cluster_name="b"} 0
envoy_cluster_outlier_detection_ejections_active{envoy_cluster_name="a"} 0
"""


@pytest.mark.parametrize(
    ("page", "found"),
    [
        (GAUGES, False),
        ("", False),
        (GAUGES.replace('active{envoy_cluster_name="a"} 0', 'active{envoy_cluster_name="a"} 1'), True),
        (GAUGES.replace('total{envoy_cluster_name="a"} 3', 'total{envoy_cluster_name="a"} 4'), True),
        ("envoy_cluster_membership_total{} what", False),
        ("envoy_cluster_membership_total{\n" * 40_000, False),  # of a pod that means no good
        ('envoy_cluster_membership_total{a="b"} ' + "9" * 10_000, False),
    ],
)
def test_a_small_page_tells_whether_the_large_one_is_worth_it(page: str, found: bool) -> None:
    assert unfit(page) is found


def pod(name: str, namespace: str, ip: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": {"podIP": ip}}


GATEWAY = {"app.kubernetes.io/component": "gateway", "fairlead.dev/gateway": "edge"}


def test_gateways_of_the_installation_and_sidecars_are_found_whoever_serves_them() -> None:
    pods = Pods({})
    for raw in (
        pod("edge-1", "fairlead-system", "10.0.0.1", **GATEWAY),
        pod("edge-2", "fairlead-system", "", **GATEWAY),
        pod("false", "shop", "10.0.0.9", **GATEWAY),
        pod("web", "shop", "fd00::2", **{"fairlead.dev/sidecar": "injected"}),
        pod("plain", "shop", "10.0.0.3"),
    ):
        read = read_pod(raw)
        pods.put(read.ref, read)
    (group,) = {pods.group(one) for one in pods.everyone()} - {None}
    assert group is not None

    found = set(of_pods(pods, "fairlead-system", {"edge", group.key}))

    assert found == {
        Target("fairlead-system/edge-1", "edge", "http://10.0.0.1:19001"),
        Target("shop/web", group.key, "http://[fd00::2]:19001"),
    }
    assert list(of_pods(pods, "fairlead-system", {"other"})) == []


class Envoys:
    """Answers of many proxies; counts who was asked."""

    def __init__(self, count: int) -> None:
        self.targets = [Target(f"edge-{number:03}", "edge", "http://x") for number in range(count)]
        self.kept: dict[str, Any] = {one.name: {} for one in self.targets}
        self.asked: list[str] = []

    def named(self, keys: Collection[str]) -> list[Target]:
        return self.targets if "edge" in keys else []

    async def unfit(self, target: Target) -> bool | None:
        self.asked.append(target.name)
        kept = self.kept[target.name]
        return None if kept is None else bool(kept)

    async def clusters(self, target: Target, pick: Callable[[Page], Any]) -> Any:
        return pick(self.kept[target.name])


@pytest.fixture
def envoys(monkeypatch: pytest.MonkeyPatch) -> Envoys:
    made = Envoys(120)
    monkeypatch.setattr(subject, "Pages", lambda: made)
    return made


async def plane_with(check: dict[str, Any], *more: dict[str, Any]) -> ControlPlane:
    plane = ControlPlane(Store(), list)
    spec = {
        "proxies": {"gateway": "edge"},
        "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
        "routes": [{"name": "all", "backendRefs": [{"name": "a", "port": 80}]}],
    }
    slices = manifests.endpoint_slice("a", 8080, [endpoint("10.0.0.1"), endpoint("10.0.0.2")])
    for raw in (manifests.service("a"), slices, manifests.policy("shop", {**spec, **check}), *more):
        plane.apply(raw)
    plane.synced()
    return plane


def cluster_of(plane: ControlPlane, policy: str = "shop", place: int = 0) -> str:
    """As its proxies know it."""
    return plane.reconciled.clusters[Ref("LoadBalancerPolicy", "shop", policy)][place].cluster


async def test_many_proxies_take_turns_and_answers_are_kept_meanwhile(envoys: Envoys) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    ejections = Ejections(plane, envoys.named)
    address = "10.0.0.1:8080"
    envoys.kept["edge-000"] = {cluster_of(plane): {address: Seen(ejected=True), "10.0.0.2:8080": Seen()}}
    for _ in range(3):
        await ejections.round()
    assert len(envoys.asked) == 3 * ASKED
    assert set(envoys.asked) == {one.name for one in envoys.targets}

    ((found,),) = ejections.found().values()
    assert found == Ejected(found.backend, address, found.pod, found.node, 1, 0, 120)
    assert found.reason == "passive checks of 1 of 120 proxies eject it"

    envoys.targets = envoys.targets[1:]  # that proxy is gone
    await ejections.round()
    assert ejections.found() == {}


async def test_who_does_not_answer_counts_for_nothing(envoys: Envoys) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    envoys.targets = envoys.targets[:2]
    envoys.kept["edge-000"] = None
    envoys.kept["edge-001"] = {cluster_of(plane): {"10.0.0.1:8080": Seen(failed_check=True, ejected=True)}}
    ejections = Ejections(plane, envoys.named)
    await ejections.round()
    ((found,),) = ejections.found().values()
    assert (found.ejected, found.failed, found.proxies) == (1, 1, 1)
    assert found.reason == "passive checks of 1 proxy eject it; active checks of 1 proxy fail"


async def test_what_a_silent_proxy_said_last_counts_for_a_while(envoys: Envoys) -> None:
    """Nobody has seen the endpoint return."""
    plane = await plane_with({"healthCheck": {"passive": {}}})
    envoys.targets = envoys.targets[:2]
    ejects = {cluster_of(plane): {"10.0.0.1:8080": Seen(ejected=True)}}
    ejections = Ejections(plane, envoys.named)
    for answers in ([ejects], [None] * (SILENCES - 1), [ejects], [None] * (SILENCES - 1)):
        for envoys.kept["edge-000"] in answers:
            await ejections.round()
            ((found,),) = ejections.found().values()
            assert (found.ejected, found.proxies) == (1, 2)

    await ejections.round()
    assert ejections.found() == {}


async def test_one_of_many_is_silent_only_when_it_has_its_turn(envoys: Envoys) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    ejections = Ejections(plane, envoys.named)
    envoys.kept["edge-000"] = {cluster_of(plane): {"10.0.0.1:8080": Seen(ejected=True)}}
    await ejections.round()
    envoys.kept["edge-000"] = None
    while ejections.found():
        await ejections.round()
    assert envoys.asked.count("edge-000") == 1 + SILENCES


async def test_another_pod_of_the_same_name_has_said_nothing(envoys: Envoys) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    envoys.targets = envoys.targets[:1]
    envoys.kept["edge-000"] = {cluster_of(plane): {"10.0.0.1:8080": Seen(ejected=True)}}
    ejections = Ejections(plane, envoys.named)
    await ejections.round()
    envoys.targets, envoys.kept["edge-000"] = [envoys.targets[0]._replace(url="http://y")], None
    await ejections.round()
    assert ejections.found() == {}


@pytest.mark.parametrize(
    ("count", "silent", "rounds"),
    [(50, [], 1), (120, [], 3), (2, ["edge-001"], SILENCES), (2, ["edge-000", "edge-001"], SILENCES)],
    ids=["all at once", "in turns", "one is silent", "all are silent"],
)
async def test_what_the_leader_before_said_stands_until_each_proxy_was_heard(
    envoys: Envoys, monkeypatch: pytest.MonkeyPatch, count: int, silent: list[str], rounds: int
) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    envoys.targets = envoys.targets[:count]
    envoys.kept |= dict.fromkeys(silent)
    told: list[Any] = []
    monkeypatch.setattr(plane, "ejected", told.append)
    ejections = Ejections(plane, envoys.named)
    for _ in range(rounds - 1):
        await ejections.round()
        envoys.targets = [*envoys.targets, Target(f"new-{len(envoys.asked)}", "edge")]  # which nobody waits for
        envoys.kept[envoys.targets[-1].name] = None
    assert told == []
    await ejections.round()
    assert told == [{}]


async def test_nobody_waits_for_who_cannot_be_asked_or_is_gone(envoys: Envoys, monkeypatch: pytest.MonkeyPatch) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    envoys.kept |= {"vm": None, "edge-001": None}
    envoys.targets = [envoys.targets[0], Target("vm", "edge")]
    told: list[Any] = []
    monkeypatch.setattr(plane, "ejected", told.append)
    await Ejections(plane, envoys.named).round()
    assert told == [{}]

    ejections = Ejections(plane, envoys.named)
    envoys.targets = [envoys.targets[0], Target("edge-001", "edge", "http://x")]
    await ejections.round()
    assert told == [{}]
    envoys.targets = envoys.targets[:1]
    await ejections.round()
    assert told == [{}, {}]


async def test_of_one_that_means_no_good_little_is_kept(envoys: Envoys) -> None:
    plane = await plane_with({"healthCheck": {"passive": {}}})
    envoys.targets = envoys.targets[:1]
    many = {f"10.0.{number}.0:80": Seen(ejected=True) for number in range(MOST)}
    mine = {"10.0.0.1:8080": Seen(ejected=True)}
    ejections = Ejections(plane, envoys.named)
    for page, told in (
        ({"x": many, cluster_of(plane): mine}, 0),
        ({"x" * 1000: many, cluster_of(plane): mine}, 1),
    ):
        envoys.kept["edge-000"] = page
        await ejections.round()
        assert len(ejections.found()) == told


async def test_a_policy_is_told_of_its_own_clusters_alone(envoys: Envoys) -> None:
    """The same proxies, the same Service, and so the same addresses: only one of both has passive checks."""
    other = manifests.policy("other", manifests.site(manifests.listener(8081), "a"))
    plane = await plane_with({"healthCheck": {"passive": {}}}, other)
    mine, others = cluster_of(plane), cluster_of(plane, "other")
    assert mine != others
    envoys.targets = envoys.targets[:1]
    envoys.kept["edge-000"] = {mine: {"10.0.0.1:8080": Seen(ejected=True)}, others: {"10.0.0.1:8080": Seen()}}
    ejections = Ejections(plane, envoys.named)
    await ejections.round()

    assert {ref.name for ref in ejections.found()} == {"shop"}


async def test_a_fallback_is_ejected_in_the_cluster_that_it_stands_in_for(envoys: Envoys) -> None:
    refs = [{"name": "a", "port": 80}, {"name": "b", "port": 80, "fallback": True}]
    more = {"routes": [{"name": "all", "backendRefs": refs}], "healthCheck": {"passive": {}}}
    slices = manifests.endpoint_slice("b", 8080, [endpoint("10.0.0.9")])
    plane = await plane_with(more, manifests.service("b"), slices)
    (binding,) = plane.reconciled.clusters[Ref("LoadBalancerPolicy", "shop", "shop")]
    assert binding.fallbacks
    envoys.targets = envoys.targets[:1]
    envoys.kept["edge-000"] = {binding.cluster: {"10.0.0.9:8080": Seen(ejected=True)}}
    ejections = Ejections(plane, envoys.named)
    await ejections.round()

    ((found,),) = ejections.found().values()
    assert (found.backend, found.address) == ("shop/b", "10.0.0.9:8080")


async def test_nobody_is_asked_where_nothing_is_checked(envoys: Envoys) -> None:
    plane = await plane_with({})
    await Ejections(plane, envoys.named).round()
    assert envoys.asked == []
