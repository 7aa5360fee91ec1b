"""What a policy is told that is served all the same: pods and ports that it needs and that others have to mend. Pure.

A part of ``reconcile``: each adds to the findings of the policies that it concerns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.bindings import Binding
from fairlead_operator.conditions import Findings, Problem, some_of
from fairlead_operator.world import World

Found = dict[Ref, Findings]
#: (gateway, port) -> why it cannot be reached from outside.
Closed = Mapping[tuple[str, int], str]


def name_pods_without(world: World, findings: Found) -> None:
    """A sidecar comes with a new pod only: those that are older than their policy are named."""
    for ref, pods in world.pods.without().items():
        known = findings[ref]
        message = f"pods that it selects run without a sidecar ({len(pods)}): {_restart(ref.namespace, pods)}"
        problem = Problem("PodsNotInjected", "spec.proxies.sidecars", message)
        findings[ref] = replace(known, degraded=(*known.degraded, problem))


def name_pods_not_capturing(world: World, findings: Found) -> None:
    """What a pod redirects is decided when it is made: those that are older than an attached policy are named."""
    for namespace, policies in world.captured().items():
        lacking: dict[Ref, list[str]] = {}
        for pod in world.pods.of(namespace):
            for ref in world.not_captured(pod):
                lacking.setdefault(ref, []).append(pod.ref.name)
        for ref in policies.keys() & lacking.keys():
            known, pods = findings[ref], sorted(lacking[ref])
            message = f"pods do not capture its Services yet ({len(pods)}): {_restart(namespace, pods)}"
            problem = Problem("PodsNotCapturing", "spec.targetRefs", message)
            findings[ref] = replace(known, degraded=(*known.degraded, problem))


def name_probes_not_usable(
    policies: Iterable[LoadBalancerPolicy], clusters: Mapping[Ref, Iterable[Binding]], findings: Found
) -> None:
    """An attached policy asks for a probe wherever its Services are used: it hears what the inline ones are told."""
    for policy in policies:
        if policy.spec.target_refs is None or policy.spec.health_check is None:
            continue
        told = dict.fromkeys(f"{one.source}: {one.problem}" for one in clusters[policy.ref] if one.problem)
        found = [Problem("ProbeNotUsable", "spec.healthCheck.active", message) for message in told]
        known = findings[policy.ref]
        findings[policy.ref] = replace(known, degraded=(*known.degraded, *found))


def _restart(namespace: str, pods: list[str]) -> str:
    how = f"for a Deployment with: kubectl rollout restart -n {namespace} deployment NAME"
    return f"{some_of(pods)}: restart them, {how}"


def name_closed_ports(
    policies: Iterable[LoadBalancerPolicy], closed: Closed, gateways: Mapping[Ref, set[str]], findings: Found
) -> None:
    """A listener that its gateway's Service does not lead to is programmed all the same: who is inside reaches it."""
    for policy in policies:
        for index, listener in enumerate(policy.spec.listeners or ()):
            for gateway in gateways[policy.ref]:
                if why := closed.get((gateway, listener.port)):
                    message = f"port {listener.port} of gateway {gateway} cannot be reached from outside: {why}"
                    problem = Problem("PortNotExposed", f"spec.listeners[{index}].port", message)
                    known = findings[policy.ref]
                    findings[policy.ref] = replace(known, degraded=(*known.degraded, problem))
