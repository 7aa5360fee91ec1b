"""Every row of what Kubernetes can say of an endpoint, against every policy."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fairlead_operator import health
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.pod_status import PodState, Restarts
from fairlead_operator.api.slices import EndpointSlice, SliceEndpoint, read_slice
from fairlead_operator.nodes import Lost
from fairlead_operator.world import World
from fairlead_xds.features.endpoints import Endpoints, Health
from tests.support.manifests import NAMESPACE, endpoint, endpoint_slice, running_pod

HEALTHY, DEGRADED, DRAINING, EXCLUDED = Health.HEALTHY, Health.DEGRADED, Health.DRAINING, Health.EXCLUDED
TERMINATES = {"ready": False, "serving": True, "terminating": True}
GONE = {"ready": False, "serving": False, "terminating": True}
NOT_READY = {"ready": False}
READY = {"ready": True}


def _endpoint(address: str = "10.0.0.1", *, ready: bool, serving: bool, terminating: bool) -> SliceEndpoint:
    return SliceEndpoint(address, ready, serving, terminating, "", "", "")


def _expected(policy: Endpoints, *, ready: bool, serving: bool, terminating: bool, last_resort: bool) -> Health:
    """The table of DESIGN §7, written as a table."""
    match ready, serving, terminating, last_resort:
        case _, False, True, _:
            return EXCLUDED
        case _, True, True, True if policy.all_terminating == "Serve":
            return HEALTHY
        case _, True, True, _:
            return DRAINING if policy.terminating == "Drain" else EXCLUDED
        case True, _, False, _:
            return HEALTHY
        case _:
            return DEGRADED if policy.not_ready == "Degrade" else EXCLUDED


BOOL = (False, True)
POLICIES = [
    Endpoints(not_ready=a, terminating=b, all_terminating=c)
    for a, b, c in itertools.product(("Exclude", "Degrade"), ("Drain", "Exclude"), ("Serve", "Fail"))
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: f"{p.not_ready}-{p.terminating}-{p.all_terminating}")
@pytest.mark.parametrize(("ready", "serving", "terminating", "last_resort"), list(itertools.product(BOOL, repeat=4)))
def test_every_row(policy: Endpoints, *, ready: bool, serving: bool, terminating: bool, last_resort: bool) -> None:
    """Ready and not terminating is healthy, whatever else; terminating and not serving is gone, whatever else."""
    judged, reason, *_ = health.judge(
        _endpoint(ready=ready, serving=serving, terminating=terminating), policy, last_resort=last_resort
    )

    assert judged is _expected(policy, ready=ready, serving=serving, terminating=terminating, last_resort=last_resort)
    assert reason


def _assess(policy: Endpoints, *endpoints: dict[str, bool]) -> list[Health]:
    raw = endpoint_slice("web", 8080, [endpoint(f"10.0.0.{i}", **e) for i, e in enumerate(endpoints)])
    return [verdict.health for _, _, verdict in health.assess([read_slice(raw)], "", policy)]


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([READY, TERMINATES], [HEALTHY, DRAINING]),
        ([TERMINATES, GONE], [HEALTHY, EXCLUDED]),
        ([NOT_READY, TERMINATES], [EXCLUDED, HEALTHY]),
        ([NOT_READY], [EXCLUDED]),
        ([GONE], [EXCLUDED]),
    ],
)
def test_terminating_endpoints_serve_when_no_ready_one_is_left(
    endpoints: list[dict[str, Any]], expected: list[Health]
) -> None:
    assert _assess(health.DEFAULT, *endpoints) == expected


def test_conditions_that_are_absent_have_the_defaults_of_the_api() -> None:
    """discovery.k8s.io/v1: no ready means ready, no serving means what ready says."""
    raw = endpoint_slice("web", 8080, [{"addresses": ["10.0.0.1"]}, {"addresses": ["10.0.0.2"], "conditions": None}])

    assert [e[1:4] for e in read_slice(raw).endpoints] == [(True, True, False)] * 2


def _slices(*endpoints: SliceEndpoint, ports: dict[str, int] | None = None) -> list[EndpointSlice]:
    service = Ref("Service", "shop", "web")
    return [
        EndpointSlice(Ref("EndpointSlice", "shop", f"s{i}"), service, {"": 8080} if ports is None else ports, (entry,))
        for i, entry in enumerate(endpoints)
    ]


def test_an_endpoint_in_two_slices_counts_once_and_ready_wins() -> None:
    """Kubernetes moves endpoints between slices: for a moment they stand in both."""
    stale = _endpoint(ready=False, serving=False, terminating=False)
    fresh = _endpoint(ready=True, serving=True, terminating=False)

    for order in ((stale, fresh), (fresh, stale)):
        ((_, _, verdict),) = health.assess(_slices(*order), "", health.DEFAULT)
        assert verdict.health is HEALTHY


def test_only_slices_with_the_port_count() -> None:
    entry = _endpoint(ready=True, serving=True, terminating=False)

    assert health.assess(_slices(entry, ports={"metrics": 9090}), "http", health.DEFAULT) == []
    ((_, port, _),) = health.assess(_slices(entry, ports={"http": 8080, "metrics": 9090}), "http", health.DEFAULT)
    assert port == 8080


def test_envoy_gets_all_but_the_excluded() -> None:
    raw = endpoint_slice("web", 8080, [endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False)])
    judged = health.assess([read_slice(raw)], "", health.DEFAULT)

    assert [(e.address, e.port, e.health) for e in health.endpoints(judged)] == [("10.0.0.1", 8080, HEALTHY)]
    assert health.count(judged) == {HEALTHY: 1, EXCLUDED: 1}


@pytest.mark.parametrize("policy", POLICIES, ids=lambda p: f"{p.not_ready}-{p.terminating}-{p.all_terminating}")
@pytest.mark.parametrize(
    "states", list(itertools.combinations_with_replacement((READY, TERMINATES, GONE, NOT_READY), 3))
)
def test_facts_of_other_pods_and_nodes_change_nothing(policy: Endpoints, states: tuple[dict[str, Any], ...]) -> None:
    """The thorough way and the fast one agree."""
    raw = endpoint_slice("web", 8080, [endpoint(f"10.0.0.{i}", **one) for i, one in enumerate(states)])
    others = health.Facts({"other": PodState(waiting="CrashLoopBackOff")}, {"elsewhere": Lost("gone")}, now=5.0)

    with_facts, without = (health.assess([read_slice(raw)], "", policy, facts) for facts in (others, health.NO_FACTS))

    assert with_facts == without


@pytest.mark.parametrize("started", [0.0, 100.0])
def test_a_pod_that_restarted_is_held_back_for_a_time_though_nobody_knows_when_it_started(started: float) -> None:
    pod = PodState(restarts=Restarts((("web", 3),), (60.0, 80.0, 100.0), started))
    ready = _endpoint(ready=True, serving=True, terminating=False)

    def says(now: float) -> health.Verdict:
        return health.judge(ready, Endpoints(), last_resort=False, pod=pod, now=now)

    assert (says(129.0).health, says(129.0).until) == (Health.DEGRADED, 130.0)
    assert says(130.0).health is Health.HEALTHY


def test_a_pod_of_a_node_whose_clock_is_ahead_is_held_back_no_longer_than_others() -> None:
    world = World()
    world.now = 1000.0
    world.apply(running_pod("web-1", restarts=3, started=4600.0, run=1.0))
    (pod,) = world.pod_states(NAMESPACE).values()
    ready = _endpoint(ready=True, serving=True, terminating=False)

    verdict = health.judge(ready, Endpoints(), last_resort=False, pod=pod, now=1001.0)

    assert (verdict.health, verdict.since, verdict.until) == (Health.DEGRADED, 1000.0, 1030.0)
