"""What a policy is told that is served all the same: pods and ports that it needs and that others have to mend. Pure.

A part of ``reconcile``: each adds to the findings of the policies that it concerns.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping

from fairlead_operator import health
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.api.pods import Pod
from fairlead_operator.attach import targets
from fairlead_operator.bindings import Binding, without_endpoints
from fairlead_operator.conditions import Findings, Problem, some_of
from fairlead_operator.faults import Fault
from fairlead_operator.sidecars import NEVER
from fairlead_operator.world import World

Found = dict[Ref, Findings]
#: (gateway, port) -> why it cannot be reached from outside.
Closed = Mapping[tuple[str, int], str]


def name_pods_without(world: World, findings: Found) -> None:
    """A sidecar comes with a new pod only: those that are older than their policy are named."""
    for ref, pods in world.pods.without().items():
        for why, names in _without(ref.namespace, pods):
            problem = Problem("PodsNotInjected", "spec.proxies.sidecars", f"pods that it selects {why}: {names}")
            findings[ref] = findings[ref].also(problem)


def _without(namespace: str, pods: Collection[Pod]) -> Iterator[tuple[str, str]]:
    """Of pods without a sidecar: what is the matter with some of them, and which they are and what to do."""
    on_node = sorted(pod.ref.name for pod in pods if pod.on_node)
    others = sorted(pod.ref.name for pod in pods if not pod.on_node)
    if namespace in NEVER:
        every = some_of(sorted([*on_node, *others]))
        yield (
            f"get no sidecar ({len(on_node) + len(others)})",
            f"{every}: none of {namespace} does, use another namespace",
        )
        return
    if others:
        yield f"run without a sidecar ({len(others)})", _restart(namespace, others)
    if on_node:
        what = "let them call a gateway, and label them fairlead.dev/inject=false"
        yield f"use their node's network and get no sidecar ({len(on_node)})", f"{some_of(on_node)}: {what}"


def name_pods_not_capturing(world: World, findings: Found) -> None:
    """What a pod redirects is decided when it is made: those that are older than an attached policy are named."""
    for namespace, policies in world.captured().items():
        lacking: dict[Ref, list[str]] = {}
        for pod in world.pods.of(namespace):
            for ref in world.not_captured(pod):
                lacking.setdefault(ref, []).append(pod.ref.name)
        for ref in policies.keys() & lacking.keys():
            pods = sorted(lacking[ref])
            message = f"pods do not capture its Services yet ({len(pods)}): {_restart(namespace, pods)}"
            problem = Problem("PodsNotCapturing", "spec.targetRefs", message)
            findings[ref] = findings[ref].also(problem)


def name_for_attached(
    world: World,
    policies: Iterable[LoadBalancerPolicy],
    clusters: Mapping[Ref, Iterable[Binding]],
    served: Iterable[Binding],
    findings: Found,
    *,
    degrade: Callable[[Fault, str], None],
) -> None:
    """An attached policy hears of its Services what the inline ones that lead there are told, and captured traffic has none.

    Args:
        world: what is known.
        policies: all.
        clusters: of each policy.
        served: what proxies have, whosever.
        findings: of each policy; they grow.
        degrade: takes what is a mistake of ours, and what is so instead.
    """
    spare = {one.source for binding in served for one in binding.fallbacks}
    for policy in policies:
        if policy.spec.target_refs is None:
            continue
        own = list(clusters[policy.ref])
        try:
            found = dict.fromkeys([*_attached(world, policy, own), *_only_spare(policy, spare, own)])
        except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
            degrade(Fault(policy.ref, error), "its endpoints are not looked at")
            continue
        findings[policy.ref] = findings[policy.ref].also(*found)


def _attached(world: World, policy: LoadBalancerPolicy, own: Iterable[Binding]) -> Iterator[Problem]:
    for one in own:
        if one.problem and policy.spec.health_check is not None:
            yield Problem("ProbeNotUsable", "spec.healthCheck.active", f"{one.source}: {one.problem}")
        # With settings of an inline policy that one is told.
        mine = policy.spec.endpoints is not None or one.endpoints == health.DEFAULT
        if mine and (doubted := world.doubted(one.endpoints)):
            yield Problem("NodesInDoubt", "spec.endpoints.nodeLost", doubted)
        if none := without_endpoints(world, one):
            yield Problem("NoEndpoints", "spec.targetRefs", none)


def _only_spare(policy: LoadBalancerPolicy, spare: Container[Ref], own: Iterable[Binding]) -> Iterator[Problem]:
    used = {one.source for one in own}
    for index, target in enumerate(targets(policy)):
        if target in spare and target not in used:
            message = f"{target} is used as a fallback only, where the settings of what it stands in for hold"
            yield Problem("FallbackOnly", f"spec.targetRefs[{index}]", message)


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
                    findings[policy.ref] = findings[policy.ref].also(problem)
