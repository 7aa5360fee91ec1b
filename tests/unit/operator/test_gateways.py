"""Policies of namespaces that a gateway takes none of, and listeners that its Service does not lead to."""

from __future__ import annotations

import pytest

from fairlead_operator.gateways.access import LABEL, Access
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import Lane
from tests.support.manifests import Raw, listener, policy, site
from tests.support.worlds import backend, policy_ref, world_of

ACCESS = Access("fairlead-system", {"edge": "Selector"})
SHOP = policy("shop", site(listener(8443), "web"))


def _namespace(**labels: str) -> Raw:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": policy_ref("shop").namespace, "labels": labels},
    }


def test_a_namespace_that_may_not_attach_gets_a_condition_and_nothing_else() -> None:
    world = world_of(*backend("web"), SHOP)

    done = reconcile(world, access=ACCESS)

    assert [problem.reason for problem in done.findings[policy_ref("shop")].accepted] == ["NotAllowedByGateway"]
    assert done.proxies == {}
    assert done.gateways[policy_ref("shop")] == set()


def test_the_label_lets_it_in_and_taking_it_away_takes_it_out() -> None:
    world = world_of(*backend("web"), SHOP)

    assert world.apply(_namespace(**{LABEL: "edge"})).lane is Lane.CONFIG
    assert set(reconcile(world, access=ACCESS).proxies) == {"edge"}

    assert world.apply(_namespace()).lane is Lane.CONFIG
    assert reconcile(world, access=ACCESS).proxies == {}


def test_namespaces_without_a_label_of_ours_are_nothing_to_anybody() -> None:
    world = world_of()

    assert world.apply(_namespace(team="a")).lane is Lane.NOTHING
    assert world.apply(_namespace(team="b")).lane is Lane.NOTHING


@pytest.mark.parametrize(("port", "told"), [(8443, True), (8080, False)])
def test_a_port_that_is_closed_is_told_to_its_policies_only(port: int, *, told: bool) -> None:
    world = world_of(*backend("web"), SHOP)

    findings = reconcile(world, closed={("edge", port): "quota"}).findings[policy_ref("shop")]

    assert [problem.reason for problem in findings.degraded] == (["PortNotExposed"] if told else [])
    assert not findings.accepted
