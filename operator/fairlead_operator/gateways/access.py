"""Which policies a gateway takes, by their namespace. Pure; ``reconcile`` asks for every policy.

The Gateway API's ``allowedRoutes.namespaces`` in the words of an installation: who installs the gateway says it, so that
nobody opens a port at the edge of a cluster only because he may write policies in some namespace.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from fairlead_operator.conditions import Problem

#: A namespace with this label, its value the name of a gateway, may attach to that gateway.
LABEL = "fairlead.dev/gateway-access"
PATH = "spec.proxies.gateway"


class Labels(Protocol):
    """The world, as far as this module needs it."""

    def namespace_labels(self, name: str) -> Mapping[str, str]:
        """The labels of a namespace; none for one that is not known."""


@dataclass(frozen=True, slots=True)
class Access:
    """The gateways of an installation.

    Attributes:
        namespace: of the installation: its policies may attach to every gateway.
        gateways: name -> ``Selector`` (namespaces with the label too), ``All`` or ``Same`` (no other namespace).
            ``None``: nobody says which gateways there are (a directory of manifests), and every one is allowed.
    """

    namespace: str = ""
    gateways: Mapping[str, str] | None = field(default=None)

    def problem(self, gateway: str, namespace: str, world: Labels) -> Problem | None:
        """Why a policy of *namespace* may not attach to *gateway*; ``None`` if it may."""
        if self.gateways is None:
            return None
        rule = self.gateways.get(gateway)
        if rule is None:
            known = ", ".join(sorted(self.gateways)) or "none"
            return Problem(
                "GatewayNotFound",
                PATH,
                f"no gateway is named {gateway} (there are: {known}): use one of them, or add it to the gateways of"
                " the chart's values",
            )
        if rule == "All" or namespace == self.namespace:
            return None
        if rule == "Selector" and world.namespace_labels(namespace).get(LABEL) == gateway:
            return None
        todo = (
            f"label the namespace: kubectl label namespace {namespace} {LABEL}={gateway}"
            if rule == "Selector"
            else f"move the policy to namespace {self.namespace}, or change the gateway's namespaces.from in the chart's values"
        )
        return Problem(
            "NotAllowedByGateway", PATH, f"gateway {gateway} takes no policies of namespace {namespace}: {todo}"
        )


EVERYTHING = Access()
