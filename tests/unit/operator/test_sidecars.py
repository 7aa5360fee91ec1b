"""Which pods are sidecars, which policies they have, and what a change of a pod costs."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead_operator.api.meta import DecodeError, Ref
from fairlead_operator.api.pods import read_pod
from fairlead_operator.reconcile import reconcile
from fairlead_operator.sidecars import Group, is_sidecar
from fairlead_operator.world import CONFIG, NOTHING, Lane, World
from tests.support.manifests import NAMESPACE, Raw, listener, on_sidecars, pod, policy
from tests.support.worlds import backend, policy_ref, reasons, world_of

FRONT = {"app": "front"}


def front(name: str = "front", port: int = 8080, *, age: int = 0, **labels: str) -> Raw:
    return policy(name, on_sidecars(labels or FRONT, listener(port), "web"), age=age)


def scene(*objects: Raw) -> World:
    return world_of(*backend("web"), front(), *objects)


def group_of(world: World, name: str) -> Group | None:
    known = world.pods.get(Ref("Pod", NAMESPACE, name))
    assert known is not None
    return world.pods.group(known)


def test_pods_with_the_same_policies_share_a_configuration() -> None:
    world = scene(pod("a", FRONT), pod("b", FRONT | {"version": "2"}), front("tier", 9090, tier="x"))
    world.apply(pod("c", FRONT | {"tier": "x"}))

    assert group_of(world, "a") == group_of(world, "b") == Group(NAMESPACE, ("front",))
    assert group_of(world, "c") == Group(NAMESPACE, ("front", "tier"))
    assert len(reconcile(world).proxies) == 2


def test_the_key_says_where_and_is_the_same_everywhere() -> None:
    """Replicas and restarts must agree on it: it is no hash of this process."""
    assert Group("shop", ("front", "tier")).key == "sidecar/shop/d81c1b27"
    assert is_sidecar("sidecar/shop/d81c1b27")
    assert not is_sidecar("sidecar")


def test_a_policy_selects_in_its_own_namespace_only() -> None:
    world = scene()
    other = pod("a", FRONT)
    other["metadata"]["namespace"] = "elsewhere"
    world.apply(other)

    assert reconcile(world).proxies == {}
    assert world.pods.namespaces() == {NAMESPACE}


def test_listeners_of_sidecars_are_on_loopback() -> None:
    done = reconcile(scene(pod("a", FRONT)), address="0.0.0.0")
    ((key, config),) = done.proxies.items()

    assert [(entry.address, entry.port) for entry in config.listeners] == [("127.0.0.1", 8080)]
    assert done.gateways[policy_ref("front")] == {key}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, pod("a", {"app": "other"})),
        (None, pod("a", {"app": "other"}, sidecar=False)),
        (None, pod("a", FRONT | {"fairlead.dev/inject": "false"}, sidecar=False)),
        (pod("a", FRONT), pod("a", FRONT | {"pod-template-hash": "2"})),
        (pod("a", FRONT), pod("a", FRONT, annotations={"example.com/seen": "1"})),
        (pod("a", FRONT), None),
        (pod("a", FRONT, sidecar=False), pod("a", FRONT | {"x": "y"}, sidecar=False)),
    ],
)
def test_a_pod_that_changes_nothing_for_a_policy_costs_nothing(before: Raw | None, after: Raw | None) -> None:
    world = scene(*([before] if before else []))

    changed = world.apply(after) if after else world.delete(Ref("Pod", NAMESPACE, "a"))
    if before is None and after and after["metadata"]["labels"].get("fairlead.dev/sidecar"):
        assert changed.lane is Lane.PODS  # its proxy may wait for its key already
    else:
        assert changed is NOTHING


def test_a_new_sidecar_or_other_labels_concern_its_proxy_only() -> None:
    world = scene(pod("a", FRONT))

    assert world.apply(pod("b", FRONT)).lane is Lane.PODS
    assert world.apply(pod("b", {"app": "other"})).lane is Lane.PODS


def test_a_pod_without_its_sidecar_concerns_the_policy() -> None:
    world = scene()

    assert world.apply(pod("old", FRONT, sidecar=False)) is CONFIG
    assert reasons(reconcile(world).findings[policy_ref("front")].degraded) == [
        ("PodsNotInjected", "spec.proxies.sidecars")
    ]
    leaving = pod("old", FRONT, sidecar=False)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert world.apply(leaving) is CONFIG
    assert not reconcile(world).findings[policy_ref("front")].degraded


def test_pods_that_get_no_sidecar_are_not_to_be_restarted() -> None:
    ours, on_node = (pod(name, FRONT, sidecar=False) for name in ("ours", "on-node"))
    ours["metadata"]["labels"] |= {"app.kubernetes.io/name": "fairlead"}
    on_node["spec"] = {"hostNetwork": True}
    world = scene(ours, on_node)
    (problem,) = reconcile(world).findings[policy_ref("front")].degraded

    assert problem.message == (
        "pods that it selects use their node's network and get no sidecar (1): on-node: let them call a gateway, and"
        " label them fairlead.dev/inject=false"
    )
    world.apply(pod("old", FRONT, sidecar=False))
    assert len(reconcile(world).findings[policy_ref("front")].degraded) == 2


def test_pods_of_kube_system_get_no_sidecar_whatever_they_do() -> None:
    world = World()
    for raw in (pod("dns", FRONT, sidecar=False), front()):
        world.apply({**raw, "metadata": {**raw["metadata"], "namespace": "kube-system"}})
    (found,) = reconcile(world).findings.values()

    assert "get no sidecar (1): dns: none of kube-system does, use another namespace" in found.degraded[0].message


def test_five_pods_are_named_and_the_rest_counted() -> None:
    world = scene(*(pod(f"old-{i}", FRONT, sidecar=False) for i in range(7)))
    (problem,) = reconcile(world).findings[policy_ref("front")].degraded

    assert "(7): old-0, old-1, old-2, old-3, old-4 and 2 more: restart them" in problem.message


def test_a_conflict_counts_in_the_groups_where_it_is() -> None:
    """``younger`` loses port 8080 where both select, and has it elsewhere."""
    world = scene(
        pod("both", FRONT | {"tier": "x"}), pod("alone", {"tier": "x"}), front("younger", tier="x"), front(age=1)
    )
    done = reconcile(world)

    assert not done.findings[policy_ref("younger")].accepted
    assert reasons(done.findings[policy_ref("younger")].degraded) == [("Conflicted", "spec.listeners[0].port")]
    world.delete(Ref("Pod", NAMESPACE, "alone"))
    done = reconcile(world)
    assert reasons(done.findings[policy_ref("younger")].accepted) == [("Conflicted", "spec.listeners[0].port")]
    assert not done.findings[policy_ref("front")].accepted


def test_selectors_follow_the_policies() -> None:
    world = scene(pod("a", FRONT))
    world.apply(front(app="other") | {})
    assert group_of(world, "a") == Group(NAMESPACE, ())
    world.delete(policy_ref("front"))
    assert world.pods.namespaces() == set()


@pytest.mark.parametrize("labels", [["app"], {"app": 1}, {1: "app"}])
def test_metadata_that_is_none_is_said_so(labels: Any) -> None:
    raw = pod("a", {})
    raw["metadata"]["labels"] = labels

    with pytest.raises(DecodeError, match=r"metadata\.labels: must be a map of strings"):
        read_pod(raw)


def test_an_identity_is_found_by_its_uid_until_it_is_another_pod() -> None:
    world = scene(pod("a", FRONT))
    again = pod("a", FRONT)
    again["metadata"]["uid"] = "uid-new"
    world.apply(again)

    assert world.pods.by_uid("uid-a") is None
    assert world.pods.by_uid("uid-new") is not None
