"""What an endpoint may get, from what Kubernetes says of it. Pure: the whole truth, the time too, is in the arguments.

``docs/health.md`` has the table that ``judge`` is; a test walks its rows.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from fairlead_operator.api.pod_status import UNKNOWN, PodState
from fairlead_operator.api.slices import EndpointSlice, SliceEndpoint
from fairlead_operator.flaps import NO_TURNS, Turned, turned_as
from fairlead_operator.nodes import Lost
from fairlead_operator.options import joined
from fairlead_xds.features.endpoints import Endpoints, Flapping, Health, Restarting
from fairlead_xds.features.value import milliseconds
from fairlead_xds.model import NOT_ASKED, Endpoint

DEFAULT = Endpoints()
#: What may get new requests.
FIT: Final = frozenset({Health.HEALTHY, Health.DEGRADED})
#: A verdict that changes only with its endpoint.
NEVER: Final = math.inf
#: Since when something is that even the pod cannot tell.
NOBODY_KNOWS: Final = -1.0
#: How the reason of an endpoint ends whose pod has just come.
NEVER_READY: Final = "; it has never been ready"


class Verdict(NamedTuple):
    """What an endpoint may get, and the reason in words.

    Attributes:
        since: seconds since the epoch when that began; 0: the pod may know; ``NOBODY_KNOWS``.
        until: when it has to be judged again, though nothing was heard.
    """

    health: Health
    reason: str
    since: float = 0.0
    until: float = NEVER


class Facts(NamedTuple):
    """What is known beyond the slices.

    Attributes:
        pods: by name, of the Service's namespace; those that say more than their endpoint's conditions are enough.
        lost: by name, the nodes whose pods get nothing.
        turns: when endpoints turned not ready that did so again and again.
        now: seconds since the epoch.
    """

    pods: Mapping[str, PodState] = {}
    lost: Mapping[str, Lost] = {}
    turns: Turned = NO_TURNS
    now: float = 0.0

    @property
    def any(self) -> bool:
        """The conditions of the slices are not all that counts."""
        return bool(self.pods or self.lost or self.turns)

    def concern(self, endpoints: Iterable[SliceEndpoint]) -> bool:
        """The same, of these endpoints: others of the namespace or cluster are what they are."""
        pods, lost, turns = self.pods, self.lost, self.turns
        return self.any and any(one.pod in pods or one.node in lost or turned_as(one) in turns for one in endpoints)


NO_FACTS: Final = Facts()

Judged = tuple[SliceEndpoint, int, Verdict]
"""An endpoint, its port, and the verdict: a bare tuple, because a hundred of them are made when one endpoint changes."""


def judge(
    endpoint: SliceEndpoint,
    policy: Endpoints,
    *,
    last_resort: bool,
    pod: PodState = UNKNOWN,
    lost: Lost | None = None,
    turns: tuple[float, ...] = (),
    now: float = 0.0,
) -> Verdict:
    """The health of one endpoint.

    Args:
        endpoint: with the conditions of its slice.
        policy: what is wanted of endpoints that are not ready, terminate, restart or are on a lost node.
        last_resort: no endpoint of the backend is left that is ready; those that terminate and serve are all there is.
        pod: its pod.
        lost: why its node cannot be reached.
        turns: when it turned not ready; none where it is taken as it is because no other is ready.
        now: seconds since the epoch.
    """
    if lost is not None and policy.node_lost.action == "Exclude":
        return Verdict(Health.EXCLUDED, lost.why, lost.since or NOBODY_KNOWS)
    if endpoint.terminating:
        return _judge_terminating(endpoint, policy, pod, last_resort=last_resort)
    if pod.waiting and not (endpoint.ready and policy.restarting.action == "Ignore"):
        return Verdict(Health.EXCLUDED, f"a container does not run: {pod.waiting}", _latest(pod))
    if pod.starting:
        return Verdict(Health.EXCLUDED, "its startup probe has not passed", pod.since(ready=False))
    if not endpoint.ready:
        if policy.not_ready == "Degrade":
            return Verdict(Health.DEGRADED, "not ready: used when no ready endpoint is left", pod.since(ready=False))
        return Verdict(Health.EXCLUDED, "not ready", pod.since(ready=False))
    if turns and not last_resort and policy.flapping.action == "Exclude":
        held = _judge_flapping(policy, turns, now)
        if held is not None:
            return held
    if pod.restarts.times and policy.restarting.action != "Ignore":
        return _judge_restarting(policy.restarting, pod, now)
    return Verdict(Health.HEALTHY, "ready", pod.since(ready=True))


def _judge_terminating(endpoint: SliceEndpoint, policy: Endpoints, pod: PodState, *, last_resort: bool) -> Verdict:
    since = pod.deleted
    if not endpoint.serving:
        return Verdict(Health.EXCLUDED, "terminating and no longer serving", since)
    if last_resort and policy.all_terminating == "Serve":
        return Verdict(Health.HEALTHY, "terminating, but nothing else is left that serves", since)
    if policy.terminating == "Drain":
        return Verdict(Health.DRAINING, "terminating: keeps its sessions, gets no new ones", since)
    return Verdict(Health.EXCLUDED, "terminating", since)


def _judge_restarting(policy: Restarting, pod: PodState, now: float) -> Verdict:
    within = milliseconds(policy.within) / 1000
    count = pod.restarts.within(within)
    if count >= policy.threshold:
        hold = _hold(policy, count)
        until = pod.restarts.began + hold
        if now < until:
            health = Health.DEGRADED if policy.action == "Degrade" else Health.EXCLUDED
            why = f"restarted {count} times within {policy.within}: held back for {hold:.0f} s after its last start"
            return Verdict(health, why, _latest(pod), until)
    return Verdict(Health.HEALTHY, "ready", pod.since(ready=True))


def _judge_flapping(policy: Endpoints, turns: tuple[float, ...], now: float) -> Verdict | None:
    within = milliseconds(policy.flapping.within) / 1000
    turns = tuple(turn for turn in turns if turn <= now)  # the clock may have been set back since
    last = turns[-1] if turns else now
    count = sum(turn > last - within for turn in turns)
    if count < policy.flapping.threshold:
        return None
    hold = _hold(policy.flapping, count)
    if now >= last + hold:
        return None
    # What it gets while it is not ready: so nothing changes for proxies while it flips.
    health = Health.DEGRADED if policy.not_ready == "Degrade" else Health.EXCLUDED
    why = (
        f"turned not ready {count} times within {policy.flapping.within}: kept out for {hold:.0f} s after the last time"
    )
    return Verdict(health, why, last, last + hold)


def _hold(policy: Restarting | Flapping, count: int) -> float:
    """Seconds, after *count* of what the policy is about: each one beyond its threshold doubles them, up to ``within``."""
    return min(milliseconds(policy.within), milliseconds(policy.hold) * 2.0 ** (count - policy.threshold)) / 1000


def _latest(pod: PodState) -> float:
    return pod.restarts.ended if pod.restarts.times else pod.since(ready=False)


def assess(slices: Iterable[EndpointSlice], port_name: str, policy: Endpoints, facts: Facts = NO_FACTS) -> list[Judged]:
    """Every endpoint of a Service's port once, judged.

    During an update of slices an endpoint may stand in two of them: the one that is ready counts.
    """
    best = _best(slices, port_name)
    if facts.concern(best.values()):
        return _assess_with(best, policy, facts)
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


def _assess_with(best: Mapping[tuple[str, int], SliceEndpoint], policy: Endpoints, facts: Facts) -> list[Judged]:
    """The thorough way: pods or nodes have something to say."""

    def verdict(endpoint: SliceEndpoint, turns: Turned, *, last_resort: bool) -> Verdict:
        return judge(
            endpoint,
            policy,
            last_resort=last_resort,
            pod=facts.pods.get(endpoint.pod, UNKNOWN),
            lost=facts.lost.get(endpoint.node),
            turns=turns.get(turned_as(endpoint), ()),
            now=facts.now,
        )

    # Those that flap come before those that end: they are taken as they are, before anybody is the last resort.
    judged: list[Judged] = []
    for turns in (facts.turns, NO_TURNS) if facts.turns else (NO_TURNS,):
        judged = [(endpoint, port, verdict(endpoint, turns, last_resort=False)) for (_, port), endpoint in best.items()]
        if any(one.ready and not one.terminating and found.health is not Health.EXCLUDED for one, _, found in judged):
            return judged
    return [(endpoint, port, verdict(endpoint, NO_TURNS, last_resort=True)) for endpoint, port, _ in judged]


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


def endpoints(
    judged: Iterable[Judged],
    *,
    check_port: int = 0,
    check_ports: Mapping[str, int] | None = None,
    priority: int = 0,
    whole: bool = False,
) -> tuple[Endpoint, ...]:
    """What Envoy gets of them: all but the excluded.

    Args:
        judged: the endpoints.
        check_port: where active checks ask; 0: where requests go.
        check_ports: by pod, where that differs.
        priority: of all of them.
        whole: the excluded too, but those that are about to leave: they count in what share of all is healthy.
    """
    kept = [one for one in judged if one[2][0] is not Health.EXCLUDED or (whole and not one[0].terminating)]
    if check_ports is None:
        return tuple(
            [_endpoint((one[0], port, verdict[0], 1, one[4], check_port, priority)) for one, port, verdict in kept]
        )
    asked = [(check_ports.get(one.pod, NOT_ASKED), one, port, verdict) for one, port, verdict in kept]
    return tuple([_endpoint((one[0], port, verdict[0], 1, one[4], at, priority)) for at, one, port, verdict in asked])


class Row(NamedTuple):
    """An endpoint as people are told of it.

    Attributes:
        backend: ``NAMESPACE/NAME:PORT`` of its Service, or of the Backend it stands in.
        address: with its port.
        since: seconds since the epoch; 0: unknown.
    """

    backend: str
    address: str
    pod: str
    node: str
    zone: str
    weight: int
    health: Health
    reason: str
    since: float


def row(backend: str, one: Judged, pods: Mapping[str, PodState]) -> Row:
    """*one* of *backend*; *pods*: all of its namespace, which know since when."""
    endpoint, port, verdict = one
    pod = pods.get(endpoint.pod, UNKNOWN)
    since = verdict.since or (pod.deleted if endpoint.terminating else pod.since(ready=endpoint.ready))
    words = endpoint.pod, endpoint.node, endpoint.zone
    reason = verdict.reason + (NEVER_READY if pod.joining and not (endpoint.ready or endpoint.terminating) else "")
    return Row(backend, joined(endpoint.address, port), *words, 1, verdict.health, reason, max(0.0, since))


def count(judged: Iterable[Judged]) -> Counter[Health]:
    """How many endpoints there are of each health."""
    return Counter([verdict.health for _, _, verdict in judged])


def until(judged: Iterable[Judged]) -> float:
    """When the first of them has to be judged again."""
    return min((verdict.until for _, _, verdict in judged), default=NEVER)
