"""The world -> what every gateway and sidecar should do, and what was found about every policy. Pure and total: it never raises.

What a policy brings a part of this to raise is a ``Fault`` of that policy: it keeps what was served of it, and the others go on.

Full recomputation, always. ``translate`` remembers bytes by value and the store sends differences only, so the thorough
way costs little; it is also the reference for the endpoint lane, which is the one shortcut.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fairlead_operator import advice, checks
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import InvalidPolicy, LoadBalancerPolicy
from fairlead_operator.attach import attach
from fairlead_operator.bindings import load_assignment
from fairlead_operator.conditions import Findings, Problem
from fairlead_operator.faults import Fault
from fairlead_operator.gateways.access import EVERYTHING, Access
from fairlead_operator.placing import Placing
from fairlead_operator.proxy_plan import ProxyPlan
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.world import World
from fairlead_xds.model import LoadAssignment

#: Policies that a proxy refused -> what stands in for each: its last good form, or None for nothing.
Held = Mapping[Ref, LoadBalancerPolicy | None]


def reconcile(
    world: World,
    held: Held | None = None,
    *,
    address: str = "0.0.0.0",  # noqa: S104 - a gateway's listeners are for everyone
    access: Access = EVERYTHING,
    closed: advice.Closed | None = None,
    crowd: Mapping[str, int] | None = None,
    before: Reconciled | None = None,
) -> Reconciled:
    """Everything, from nothing.

    Args:
        world: what is known.
        held: policies that a proxy refused.
        address: what the gateways' listeners bind to.
        access: the gateways that there are, and whose policies they take.
        closed: ports of gateways that their Services do not have.
        crowd: for how many proxies of each key active checks are made (``crowd``).
        before: the run before this one, for what cannot be made anew.
    """
    out, before = Reconciled(), before or Reconciled()
    placing = Placing(world, address, access, out, before)
    policies = [_stand_in(policy, held or {}) for policy in world.valid_policies()]
    placing.attached, found = attach(policies, world.services)
    for ref, findings in found.items():
        out.findings[ref], out.gateways[ref], out.clusters[ref] = findings, set(), []
    for policy, effective in policies:
        if policy.spec.target_refs is None:
            placing.place(policy, effective)
    placing.place_captured()
    advice.name_pods_without(world, out.findings)
    advice.name_pods_not_capturing(world, out.findings)
    valid = [policy for policy, _ in policies]
    served = (binding for plan in placing.plans.values() for binding in plan.bindings.values())
    advice.name_for_attached(world, valid, out.clusters, served, out.findings, degrade=out.degrade)
    advice.name_closed_ports(valid, closed or {}, out.gateways, out.findings)
    _name_errors(world, out)
    for plan in placing.plans.values():
        for ref, problem in plan.yield_hosts():
            out.note(ref, problem)
    _stretch_checks(placing.plans, crowd or {}, out)
    for key, plan in placing.plans.items():
        config = before.proxies.get(key)
        kept = {one.name: one for one in config.assignments} if config is not None else {}
        out.proxies[key] = plan.config(tuple(_assignments(world, plan, kept, out)))
    for key, plan in placing.plans.items():
        for name, binding in plan.bindings.items():
            for source in binding.sources:
                out.bindings.setdefault(source, {}).setdefault(name, (binding, set()))[1].add(key)
    return out


def _stand_in(policy: LoadBalancerPolicy, held: Held) -> tuple[LoadBalancerPolicy, LoadBalancerPolicy | None]:
    return policy, held.get(policy.ref, policy)


def _name_errors(world: World, out: Reconciled) -> None:
    for ref, entry in world.policies.items():
        if isinstance(entry, InvalidPolicy):
            problems = tuple(Problem("Invalid", path, message) for path, message in entry.errors)
            out.findings[ref] = Findings(accepted=problems)


def _assignments(
    world: World, plan: ProxyPlan, kept: Mapping[str, LoadAssignment], out: Reconciled
) -> Iterator[LoadAssignment]:
    """Those of the plan's clusters. *kept*: as they were, for endpoints that cannot be judged."""
    for name in sorted(plan.bindings):
        try:
            found = load_assignment(world, plan.bindings[name])
        except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
            found = kept.get(name, LoadAssignment(name, ()))
            for owner in {one.owner for one in plan.backends[name].origins}:
                out.degrade(Fault(Ref(*owner), error), f"the endpoints of {name} stay as they were")
        yield found


def _stretch_checks(plans: Mapping[str, ProxyPlan], crowd: Mapping[str, int], out: Reconciled) -> None:
    """An endpoint is asked by all proxies that have a cluster of its backend."""
    by_dns = {one.cluster: one.source for some in out.named.values() for one in some}
    asked: dict[str, checks.Asked] = {}
    for key, plan in plans.items():
        for name, backend in plan.backends.items():
            check = backend.health_check
            if check is None or check.active is None:
                continue
            if name in asked:
                asked[name] = asked[name]._replace(keys=(*asked[name].keys, key))
            elif name in plan.bindings:
                asked[name] = checks.Asked(check, (key,), checks.backends_of(plan.bindings[name]))
            else:
                asked[name] = checks.Asked(check, (key,), (by_dns[name],) if name in by_dns else ())
    for name, check in checks.stretched(asked, crowd).items():
        out.checked[name] = asked[name]._replace(check=check)
        for key in asked[name].keys:
            backends = plans[key].backends
            backends[name] = replace(backends[name], health_check=check)
