"""What an endpoint may get, from what Kubernetes says of it. Pure: the whole truth is in the arguments."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from fairlead_operator.api.core import EndpointSlice, SliceEndpoint
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.model import Endpoint

DEFAULT = Endpoints()


class Judged(NamedTuple):
    """An endpoint with its health and the reason for it, in words."""

    endpoint: SliceEndpoint
    port: int
    health: Health
    reason: str


def judge(endpoint: SliceEndpoint, policy: Endpoints, *, last_resort: bool) -> tuple[Health, str]:
    """The health of one endpoint.

    Args:
        endpoint: with the conditions of its slice. Kubernetes never calls a terminating endpoint ready.
        policy: what is wanted of endpoints that are not ready or terminate.
        last_resort: no endpoint of the backend is left that is ready; those that terminate and serve are all there is.
    """
    if endpoint.terminating:
        return _judge_terminating(endpoint, policy, last_resort=last_resort)
    if endpoint.ready:
        return Health.HEALTHY, "ready"
    if policy.not_ready == "Degrade":
        return Health.DEGRADED, "not ready: used when no ready endpoint is left"
    return Health.EXCLUDED, "not ready"


def _judge_terminating(endpoint: SliceEndpoint, policy: Endpoints, *, last_resort: bool) -> tuple[Health, str]:
    if not endpoint.serving:
        return Health.EXCLUDED, "terminating and no longer serving"
    if last_resort and policy.all_terminating == "Serve":
        return Health.HEALTHY, "terminating, but nothing else is left that serves"
    if policy.terminating == "Drain":
        return Health.DRAINING, "terminating: keeps its sessions, gets no new ones"
    return Health.EXCLUDED, "terminating"


def assess(slices: Iterable[EndpointSlice], port_name: str, policy: Endpoints) -> list[Judged]:
    """Every endpoint of a Service's port once, judged.

    During an update of slices an endpoint may stand in two of them: the one that is ready counts.
    """
    best: dict[tuple[str, int], SliceEndpoint] = {}
    for entry in slices:
        port = entry.ports.get(port_name)
        if port is None:
            continue
        for endpoint in entry.endpoints:
            address = (endpoint.address, port)
            known = best.setdefault(address, endpoint)
            if known is not endpoint and _rank(endpoint) > _rank(known):
                best[address] = endpoint
    last_resort = not any(endpoint.ready and not endpoint.terminating for endpoint in best.values())
    judged = []
    for (_, port), endpoint in best.items():
        health, reason = judge(endpoint, policy, last_resort=last_resort)
        judged.append(Judged(endpoint, port, health, reason))
    return judged


def _rank(endpoint: SliceEndpoint) -> tuple[bool, bool, bool]:
    return (endpoint.ready, endpoint.serving, not endpoint.terminating)


def endpoints(judged: Iterable[Judged]) -> tuple[Endpoint, ...]:
    """What Envoy gets of them: all but the excluded."""
    return tuple(
        [
            Endpoint(endpoint.address, port, health, 1, endpoint.zone)
            for endpoint, port, health, _ in judged
            if health is not Health.EXCLUDED
        ]
    )


def count(judged: Iterable[Judged]) -> Counter[Health]:
    """How many endpoints there are of each health."""
    return Counter(entry.health for entry in judged)
