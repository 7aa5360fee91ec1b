"""Which policy is served by which proxies: the older first, and what an older one has, no younger one gets."""

from __future__ import annotations

from dataclasses import replace

from fairlead_operator import sidecars
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.attach import Attached
from fairlead_operator.conditions import Findings, Problem
from fairlead_operator.faults import Fault
from fairlead_operator.gateways.access import Access
from fairlead_operator.proxy_plan import ProxyPlan
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.resolve import Parts, resolve
from fairlead_operator.resolve_captured import resolve_captured
from fairlead_operator.world import World


class Placing:
    """Puts inline policies, the older first, on the proxies that carry them."""

    def __init__(self, world: World, address: str, access: Access, out: Reconciled, before: Reconciled) -> None:
        self.world, self.access, self.out, self._before = world, access, out, before
        self.attached: Attached = {}
        self._groups = tuple(world.pods.groups())
        self.plans = {group.key: ProxyPlan(sidecars.ADDRESS) for group in self._groups}
        self._address = address
        self._keys: dict[Ref, list[str]] = {}
        for group in self._groups:
            for name in group.policies:
                self._keys.setdefault(Ref("LoadBalancerPolicy", group.namespace, name), []).append(group.key)

    def place(self, policy: LoadBalancerPolicy, effective: LoadBalancerPolicy | None) -> None:
        """Add a policy to its proxies, unless it is invalid or an older one has what it claims."""
        try:
            self._place(policy, effective)
        except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
            self._keep(Fault(policy.ref, error))

    def _keep(self, fault: Fault) -> None:
        """Serve the policy as it was served last."""
        kept, out = self._before.served.get(fault.policy), self.out
        out.refuse(fault, "what was served of it stays" if kept is not None else "nothing is served of it")
        out.gateways[fault.policy], out.clusters[fault.policy] = set(), []
        if kept is not None and not self._barred(kept[0]):
            keys = self._keys_of(kept[0])
            out.gateways[fault.policy] = set(keys)
            self._serve(*kept, keys)

    def _place(self, policy: LoadBalancerPolicy, effective: LoadBalancerPolicy | None) -> None:
        parts, out = resolve(self.world, policy, self.attached), self.out
        out.gateways[policy.ref], out.clusters[policy.ref] = set(), []
        if barred := self._barred(policy):
            out.findings[policy.ref] = replace(parts.findings, accepted=(barred, *parts.findings.accepted))
            return
        keys = self._keys_of(policy)
        conflicts = {key: found for key in keys if (found := self.plans[key].conflicts(policy))}
        findings = _with_conflicts(parts.findings, conflicts, everywhere=len(conflicts) == len(keys))
        out.findings[policy.ref] = findings
        out.gateways[policy.ref] = set(keys)
        if findings.accepted:
            return
        if effective is policy:
            self._serve(policy, parts, keys)
        elif effective is None or not self._stands_in(effective):
            for key in keys:
                if key not in conflicts:
                    self.plans[key].claim(policy)

    def _stands_in(self, effective: LoadBalancerPolicy) -> bool:
        """Serve *effective* instead of the policy as it is now. False: that cannot be served any more."""
        parts = resolve(self.world, effective, self.attached)
        if self._barred(effective) or parts.findings.accepted:
            return False
        self._serve(effective, parts, self._keys_of(effective))
        return True

    def _serve(self, policy: LoadBalancerPolicy, parts: Parts, keys: list[str]) -> None:
        """Add *policy* to the proxies of *keys* where no older one has what it claims."""
        free = [key for key in keys if not self.plans[key].conflicts(policy)]
        for key in free:
            self.plans[key].claim(policy)
            self.plans[key].merge(policy, parts)
        if free or not keys:
            self._count(policy.ref, parts, free)
            self.out.served[policy.ref] = policy, parts

    def place_captured(self) -> None:
        """Connections to Services that have a policy, in the sidecars that capture; the policies count these too."""
        keys: dict[str, list[str]] = {}
        for group in self._groups:
            if group.capture:
                keys.setdefault(group.namespace, []).append(group.key)
        for namespace, some in keys.items():
            captured = resolve_captured(self.world, namespace, self.attached)
            for fault in captured.faults:
                self.out.degrade(fault, "connections to its Services go where they would without it")
            for policy, binding in captured.carried:
                self.out.gateways[policy.ref].update(some)
                if binding not in self.out.clusters[policy.ref]:
                    self.out.clusters[policy.ref].append(binding)
            for key in some:
                plan = self.plans[key]
                plan.captured, plan.captured_tables = captured.listeners, captured.tables
                plan.merge_backends(captured.backends)
                plan.bindings.update({binding.cluster: binding for _, binding in captured.carried})

    def _barred(self, policy: LoadBalancerPolicy) -> Problem | None:
        """Why the policy may not attach to its gateway."""
        gateway = policy.spec.proxies.gateway if policy.spec.proxies is not None else None
        return self.access.problem(gateway, policy.ref.namespace, self.world) if gateway is not None else None

    def _keys_of(self, policy: LoadBalancerPolicy) -> list[str]:
        proxies = policy.spec.proxies
        if proxies is None or proxies.gateway is None:
            return self._keys.get(policy.ref, [])
        self.plans.setdefault(proxies.gateway, ProxyPlan(self._address))
        return [proxies.gateway]

    def _count(self, ref: Ref, parts: Parts, keys: list[str]) -> None:
        """The policy is served with *parts* by the proxies of *keys*: note it, also for the attached ones."""
        out = self.out
        out.clusters[ref] = list(parts.bindings.values())
        if parts.named:
            out.named[ref] = list(parts.named.values())
        for binding in parts.bindings.values():
            over = self.attached.get(binding.source)
            if over is not None:
                out.gateways[over.ref].update(keys)
                if binding not in out.clusters[over.ref]:
                    out.clusters[over.ref].append(binding)


def _with_conflicts(findings: Findings, conflicts: dict[str, list[Problem]], *, everywhere: bool) -> Findings:
    """*conflicts* by key. A policy that is served by some groups of sidecars is accepted, and says where it is not."""
    found = tuple(dict.fromkeys(problem for some in conflicts.values() for problem in some))
    if not found:
        return findings
    if everywhere:
        return replace(findings, accepted=(*findings.accepted, *found))
    where = "; pods that both select have the older one only"
    some = tuple(problem._replace(message=problem.message + where) for problem in found)
    return findings.also(*some)
