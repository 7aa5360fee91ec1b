"""What one run of ``reconcile`` found."""

from __future__ import annotations

from dataclasses import dataclass, field

from fairlead_operator import checks
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.bindings import Binding, Named
from fairlead_operator.conditions import Findings, Problem
from fairlead_operator.faults import Fault
from fairlead_operator.resolve import Parts
from fairlead_xds.model import ProxyConfig


@dataclass(slots=True)
class Reconciled:
    """The output of one run.

    Attributes:
        proxies: what the proxies of each key should do: of a gateway, or of a group of sidecars.
        findings: what was found about each policy.
        gateways: the keys that carry each policy; for an attached one, those of the policies that it changes.
        bindings: for each Service, the clusters over it and the keys that have them.
        clusters: the clusters of each policy, for its endpoint counts.
        named: of a policy that has some, the clusters whose endpoints Envoys find by DNS.
        checked: the clusters whose endpoints are asked.
        served: each inline policy in the form that is served, and its parts: the next run keeps them where it has to.
        faults: what policies brought this run to raise.
    """

    proxies: dict[str, ProxyConfig] = field(default_factory=dict)
    findings: dict[Ref, Findings] = field(default_factory=dict)
    gateways: dict[Ref, set[str]] = field(default_factory=dict)
    bindings: dict[Ref, dict[str, tuple[Binding, set[str]]]] = field(default_factory=dict)
    clusters: dict[Ref, list[Binding]] = field(default_factory=dict)
    named: dict[Ref, list[Named]] = field(default_factory=dict)
    checked: dict[str, checks.Asked] = field(default_factory=dict)
    served: dict[Ref, tuple[LoadBalancerPolicy, Parts]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def refuse(self, fault: Fault, instead: str) -> None:
        """Its policy could not be resolved."""
        self.faults.append(fault)
        self.findings[fault.policy] = Findings(accepted=(fault.problem(instead),))

    def degrade(self, fault: Fault, instead: str) -> None:
        """A part of what its policy asks for could not be made."""
        self.faults.append(fault)
        if fault.policy in self.findings:  # what is served may be of a policy that is gone
            self.note(fault.policy, fault.problem(instead))

    def note(self, ref: Ref, problem: Problem) -> None:
        """The policy is served less than it asks for; said once, though each gateway or group of sidecars finds it."""
        if problem not in self.findings[ref].degraded:
            self.findings[ref] = self.findings[ref].also(problem)
