"""What an endpoint may get, from what Kubernetes says of it. Pure: the whole truth is in the arguments."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from fairlead_operator.api.core import EndpointSlice, SliceEndpoint
from fairlead_xds.features.endpoints import Endpoints, Health
from fairlead_xds.model import Endpoint

DEFAULT = Endpoints()


class Verdict(NamedTuple):
    """What an endpoint may get, and the reason in words."""

    health: Health
    reason: str


Judged = tuple[SliceEndpoint, int, Verdict]
"""An endpoint, its port, and the verdict: a bare tuple, because a hundred of them are made when one endpoint changes."""


def judge(endpoint: SliceEndpoint, policy: Endpoints, *, last_resort: bool) -> Verdict:
    """The health of one endpoint.

    Args:
        endpoint: with the conditions of its slice. Kubernetes never calls a terminating endpoint ready.
        policy: what is wanted of endpoints that are not ready or terminate.
        last_resort: no endpoint of the backend is left that is ready; those that terminate and serve are all there is.
    """
    if endpoint.terminating:
        return _judge_terminating(endpoint, policy, last_resort=last_resort)
    if endpoint.ready:
        return Verdict(Health.HEALTHY, "ready")
    if policy.not_ready == "Degrade":
        return Verdict(Health.DEGRADED, "not ready: used when no ready endpoint is left")
    return Verdict(Health.EXCLUDED, "not ready")


def _judge_terminating(endpoint: SliceEndpoint, policy: Endpoints, *, last_resort: bool) -> Verdict:
    if not endpoint.serving:
        return Verdict(Health.EXCLUDED, "terminating and no longer serving")
    if last_resort and policy.all_terminating == "Serve":
        return Verdict(Health.HEALTHY, "terminating, but nothing else is left that serves")
    if policy.terminating == "Drain":
        return Verdict(Health.DRAINING, "terminating: keeps its sessions, gets no new ones")
    return Verdict(Health.EXCLUDED, "terminating")


def assess(slices: Iterable[EndpointSlice], port_name: str, policy: Endpoints) -> list[Judged]:
    """Every endpoint of a Service's port once, judged.

    During an update of slices an endpoint may stand in two of them: the one that is ready counts.
    """
    best = _best(slices, port_name)
    last_resort = not any(endpoint.ready and not endpoint.terminating for endpoint in best.values())
    # The conditions alone decide, and few combinations of them occur.
    verdicts: dict[tuple[str | bool, ...], Verdict] = {}
    judged = []
    for (_, port), endpoint in best.items():
        conditions = endpoint[1:4]
        verdict = verdicts.get(conditions)
        if verdict is None:
            verdict = verdicts[conditions] = judge(endpoint, policy, last_resort=last_resort)
        judged.append((endpoint, port, verdict))
    return judged


def _best(slices: Iterable[EndpointSlice], port_name: str) -> dict[tuple[str, int], SliceEndpoint]:
    """The endpoints of a port by address; of those that have the same, the one in the best state."""
    best: dict[tuple[str, int], SliceEndpoint] = {}
    for entry in slices:
        port = entry.ports.get(port_name)
        if port is None:
            continue
        found = {(endpoint[0], port): endpoint for endpoint in entry.endpoints}
        if len(found) == len(entry.endpoints) and best.keys().isdisjoint(found):
            best.update(found)
            continue
        for endpoint in entry.endpoints:
            address = (endpoint.address, port)
            known = best.setdefault(address, endpoint)
            if known is not endpoint and _rank(endpoint) > _rank(known):
                best[address] = endpoint
    return best


def _rank(endpoint: SliceEndpoint) -> tuple[bool, bool, bool]:
    return (endpoint.ready, endpoint.serving, not endpoint.terminating)


_endpoint = functools.partial(tuple.__new__, Endpoint)
"""``Endpoint._make`` without its check of the length, which costs more than the rest."""


def endpoints(judged: Iterable[Judged]) -> tuple[Endpoint, ...]:
    """What Envoy gets of them: all but the excluded."""
    return tuple(
        [
            _endpoint((endpoint[0], port, verdict[0], 1, endpoint[4]))
            for endpoint, port, verdict in judged
            if verdict[0] is not Health.EXCLUDED
        ]
    )


def count(judged: Iterable[Judged]) -> Counter[Health]:
    """How many endpoints there are of each health."""
    return Counter([verdict.health for _, _, verdict in judged])
