"""Which namespaces' policies a gateway takes, and what those that may not attach are told."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fairlead_operator.gateways.access import EVERYTHING, LABEL, Access


class _Labels:
    def __init__(self, **labels: str) -> None:
        self._labels = labels

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        return {LABEL: self._labels[name]} if name in self._labels else {}


WORLD = _Labels(shop="edge", other="internal")
ACCESS = Access("fairlead-system", {"edge": "Selector", "internal": "Same", "open": "All"})


@pytest.mark.parametrize(
    ("gateway", "namespace"),
    [
        ("edge", "fairlead-system"),
        ("edge", "shop"),
        ("internal", "fairlead-system"),
        ("open", "whatever"),
    ],
)
def test_may_attach(gateway: str, namespace: str) -> None:
    assert ACCESS.problem(gateway, namespace, WORLD) is None


@pytest.mark.parametrize(
    ("gateway", "namespace", "reason", "todo"),
    [
        ("edge", "blog", "NotAllowedByGateway", "kubectl label namespace blog fairlead.dev/gateway-access=edge"),
        ("edge", "other", "NotAllowedByGateway", "kubectl label namespace other fairlead.dev/gateway-access=edge"),
        ("internal", "shop", "NotAllowedByGateway", "move the policy to namespace fairlead-system"),
        ("egde", "shop", "GatewayNotFound", "there are: edge, internal, open"),
    ],
)
def test_may_not_attach_and_is_told_what_to_do(gateway: str, namespace: str, reason: str, todo: str) -> None:
    problem = ACCESS.problem(gateway, namespace, WORLD)

    assert problem is not None
    assert problem.reason == reason
    assert problem.path == "spec.proxies.gateway"
    assert todo in problem.message


def test_without_a_list_of_gateways_everything_is_allowed() -> None:
    """A directory of manifests names its gateways by using them."""
    assert EVERYTHING.problem("any", "where", WORLD) is None


def test_an_installation_without_gateways_says_so() -> None:
    problem = Access("fairlead-system", {}).problem("edge", "fairlead-system", WORLD)

    assert problem is not None
    assert "there are: none" in problem.message
