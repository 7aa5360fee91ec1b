"""Which attached policy speaks for each Service or Backend: the oldest that names it. Pure.

``reconcile`` asks with the form of each policy that is served; ``capture`` with the policies as they are.
"""

from __future__ import annotations

from collections.abc import Container, Iterable

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.conditions import Findings, Problem

Attached = dict[Ref, LoadBalancerPolicy]


def attach(
    policies: Iterable[tuple[LoadBalancerPolicy, LoadBalancerPolicy | None]], services: Container[Ref]
) -> tuple[Attached, dict[Ref, Findings]]:
    """Target -> the policy that speaks for it, and what was found about each attached policy.

    Args:
        policies: the older first; with each what is served of it, or None for nothing.
        services: those that there are.
    """
    owners: dict[Ref, Ref] = {}
    attached: Attached = {}
    findings: dict[Ref, Findings] = {}
    for policy, effective in policies:
        if policy.spec.target_refs is None:
            continue
        accepted, resolved = [], []
        wanted = targets(policy)
        for index, ref in enumerate(wanted):
            path = f"spec.targetRefs[{index}]"
            if ref in owners:
                accepted.append(Problem("Conflicted", path, f"{ref} already has the older policy {owners[ref].name}"))
            if ref not in services:
                resolved.append(Problem("TargetNotFound", path, f"{ref} does not exist"))
        findings[policy.ref] = Findings(tuple(accepted), tuple(resolved))
        if accepted:
            continue
        owners.update(dict.fromkeys(wanted, policy.ref))
        if effective is not None:
            attached.update({ref: effective for ref in targets(effective) if owners.get(ref) == policy.ref})
    return attached, findings


def targets(policy: LoadBalancerPolicy) -> list[Ref]:
    """What an attached *policy* names."""
    return [Ref(target.kind, policy.ref.namespace, target.name) for target in policy.spec.target_refs or ()]
