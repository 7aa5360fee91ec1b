"""The conditions of a policy, from what was found and what the proxies answered."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from fairlead_operator.api.status_types import LoadBalancerPolicyStatus
from fairlead_operator.bindings import Survey
from fairlead_operator.conditions import Findings, Problem
from fairlead_operator.health import Row
from fairlead_operator.status import LONGEST, Rollout, Subject, rfc3339, status
from fairlead_xds.features.endpoints import Health

SUBJECT = Subject(3, "Gateway", "LeastRequest")
DONE = Rollout(("edge",), connected=2, programmed=2)
THEN, NOW = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
PROBLEM = Problem("Conflicted", "spec.listeners[0].port", "taken")


def _status(
    findings: Findings | None = None,
    rollout: Rollout = DONE,
    *,
    previous: dict[str, Any] | None = None,
    now: str = THEN,
) -> dict[str, Any]:
    endpoints = Survey(Counter({Health.HEALTHY: 2, Health.DRAINING: 1}))
    return status(SUBJECT, findings or Findings(), rollout, endpoints, previous=previous or {}, now=now)


def _condition(of: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = (entry for entry in of["conditions"] if entry["type"] == kind)
    return dict(found)


def _told(of: dict[str, Any], kind: str) -> tuple[str, str]:
    found = _condition(of, kind)
    return found["status"], found["reason"]


def test_a_policy_that_every_proxy_has() -> None:
    found = _status()

    assert {entry["type"]: entry["status"] for entry in found["conditions"]} == {
        "Accepted": "True",
        "ResolvedRefs": "True",
        "Programmed": "True",
        "Degraded": "False",
    }
    assert found["proxies"] == {"connected": 2, "programmed": 2, "rejected": 0, "summary": "2/2"}
    assert found["endpoints"] == {"ready": 2, "draining": 1, "degraded": 0, "excluded": 0, "summary": "2/3"}
    assert found["observedGeneration"] == 3
    assert _condition(found, "Programmed")["message"] == "2/2 proxies have acknowledged generation 3"


@pytest.mark.parametrize(
    ("findings", "condition", "told"),
    [
        (Findings(accepted=(PROBLEM,)), "Accepted", ("False", "Conflicted")),
        (Findings(accepted=(PROBLEM,)), "Programmed", ("False", "NotAccepted")),
        (Findings(resolved=(PROBLEM,)), "ResolvedRefs", ("False", "Conflicted")),
        (Findings(resolved=(PROBLEM,)), "Programmed", ("True", "Programmed")),
        (Findings(degraded=(PROBLEM,)), "Degraded", ("True", "Conflicted")),
        # What nobody gets is not degraded.
        (Findings(accepted=(PROBLEM,), degraded=(PROBLEM,)), "Degraded", ("False", "Fine")),
    ],
)
def test_findings_become_conditions(findings: Findings, condition: str, told: tuple[str, str]) -> None:
    assert _told(_status(findings), condition) == told


def test_messages_name_the_field_and_hold_every_problem() -> None:
    other = Problem("Invalid", "", "wrong as a whole")

    assert _condition(_status(Findings(accepted=(PROBLEM, other))), "Accepted")["message"] == (
        "spec.listeners[0].port: taken; wrong as a whole"
    )


@pytest.mark.parametrize(
    ("rollout", "told", "words"),
    [
        (Rollout(("edge",), 3, 1), ("False", "Pending"), "1/3 proxies have acknowledged generation 3"),
        (Rollout(("edge", "inner")), ("False", "NoProxies"), "no proxy of gateway edge, inner is connected"),
        (Rollout(), ("False", "NotUsed"), "no route leads to its Services, no sidecar captures them"),
        (
            Rollout(("edge",), 3, 2, ("edge-1",), "bad regex (spec.routes[0])"),
            ("False", "Rejected"),
            "2/3 proxies; refused by edge-1: bad regex (spec.routes[0])",
        ),
    ],
)
def test_programmed_says_how_far_it_is(rollout: Rollout, told: tuple[str, str], words: str) -> None:
    found = _status(rollout=rollout)

    assert _told(found, "Programmed") == told
    assert words in _condition(found, "Programmed")["message"]


def test_the_transition_time_moves_only_when_the_status_does() -> None:
    """Also when reason and message change (metav1.Condition)."""
    first = _status(rollout=Rollout(("edge",), 2, 0))
    second = _status(rollout=Rollout(("edge",), 2, 1), previous=first, now=NOW)
    third = _status(previous=second, now=NOW)

    assert _condition(second, "Programmed")["message"] != _condition(first, "Programmed")["message"]
    assert _condition(second, "Programmed")["lastTransitionTime"] == THEN
    assert _condition(third, "Programmed")["lastTransitionTime"] == NOW
    assert _condition(third, "Accepted")["lastTransitionTime"] == THEN


def test_an_equal_state_is_an_equal_status() -> None:
    """So that nothing is written when nothing changed."""
    assert _status(previous=_status(), now=NOW) == _status()


def test_a_message_of_any_length_fits() -> None:
    found = _status(rollout=Rollout(("edge",), 1, 0, ("edge-1",), "x" * 100_000))

    message = _condition(found, "Programmed")["message"]
    assert len(message) == LONGEST
    assert message.endswith("…")


@pytest.mark.parametrize("kind", [SUBJECT, Subject(1, "", "")], ids=["readable", "unreadable"])
@pytest.mark.parametrize("findings", [Findings(), Findings((PROBLEM,), (PROBLEM,), (PROBLEM,))], ids=["fine", "bad"])
def test_the_schema_of_the_crd_takes_it(kind: Subject, findings: Findings) -> None:
    """The API server refuses a status that its schema does not take, and nobody would see any."""
    found = status(kind, findings, DONE, Survey(Counter()), previous={}, now=THEN)

    assert LoadBalancerPolicyStatus.model_validate(found)


def test_endpoints_that_are_not_healthy_are_listed_with_why_and_since_when() -> None:
    known = Row(
        "shop/web:http", "10.0.0.1:80", "web-1", "node-1", "a", 1, Health.EXCLUDED, "not ready", 1_767_225_600.0
    )
    unknown = Row("shop/web:http", "10.0.0.2:80", "", "", "", 1, Health.DEGRADED, "restarted", 0.0)

    found = status(SUBJECT, Findings(), DONE, Survey(Counter(), (known, unknown)), previous={}, now=THEN)

    assert found["unhealthyEndpoints"] == [
        {
            "backend": "shop/web:http",
            "address": "10.0.0.1:80",
            "pod": "web-1",
            "node": "node-1",
            "since": "2026-01-01T00:00:00Z",
            "health": "Excluded",
            "reason": "not ready",
        },
        {"backend": "shop/web:http", "address": "10.0.0.2:80", "health": "Degraded", "reason": "restarted"},
    ]
    none = status(SUBJECT, Findings(), DONE, Survey(Counter()), previous={}, now=THEN)
    assert (none["unhealthyEndpoints"], none["activeChecks"]) == ([], [])


@pytest.mark.parametrize("seconds", [-1e18, 1e18, float("inf"), float("nan"), 253402300800.0])
def test_a_time_in_no_year_is_no_time(seconds: float) -> None:
    assert rfc3339(seconds) == ""
