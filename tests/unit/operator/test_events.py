"""Events of policies: what two statuses differ in, how many are told, and what is written."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.slices import SliceEndpoint
from fairlead_operator.events.limit import ALL_BURST, ALL_EVERY, BURST, EVERY, LONGEST, SAME, Limit
from fairlead_operator.events.transitions import Transition, transitions
from fairlead_operator.events.writer import EventWriter, manifest
from fairlead_operator.health import NEVER_READY, judge
from fairlead_operator.sources.client import ApiError
from fairlead_xds.features.endpoints import Endpoints

SHOP = Ref("LoadBalancerPolicy", "shop", "shop")
#: Why a pod that has just come gets nothing.
STARTS = f"not ready{NEVER_READY}"
NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, datetime.UTC)


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def status(*conditions: dict[str, Any], ready: int = 3, **more: Any) -> dict[str, Any]:
    excluded = sum(one["health"] == "Excluded" for one in more.get("unhealthyEndpoints", []))
    counts = {"ready": ready, "excluded": excluded, "summary": f"{ready}/3"}
    return {"conditions": list(conditions), "endpoints": counts, "unhealthyEndpoints": [], **more}


def unfit(
    number: int, health: str = "Excluded", reason: str = "not ready", *, pod: str = "", backend: str = "shop/web:http"
) -> dict[str, Any]:
    return {
        "backend": backend,
        "address": f"10.0.0.{number}:80",
        "pod": pod or f"web-{number}",
        "health": health,
        "reason": reason,
    }


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (
            condition("Programmed", "True", "Programmed"),
            condition("Programmed", "False", "Rejected", "1/2 proxies; refused by edge-1: no"),
            [Transition(True, "Rejected", "Programmed: 1/2 proxies; refused by edge-1: no")],
        ),
        (
            condition("Programmed", "False", "Rejected", "1/2 proxies; refused by edge-1: no"),
            condition("Programmed", "True", "Programmed", "2/2 proxies have acknowledged generation 2"),
            [Transition(False, "Programmed", "Programmed: 2/2 proxies have acknowledged generation 2")],
        ),
        (
            condition("ResolvedRefs", "True", "ResolvedRefs"),
            condition("ResolvedRefs", "False", "BackendNotFound", "spec.routes[0]: no Service shop/web"),
            [Transition(True, "BackendNotFound", "ResolvedRefs: spec.routes[0]: no Service shop/web")],
        ),
        (
            condition("Degraded", "True", "NodesInDoubt", "7 of 9 nodes"),
            condition("Degraded", "False", "Fine"),
            [Transition(False, "Recovered", "Degraded: not NodesInDoubt any more")],
        ),
        (
            condition("Degraded", "True", "NodesInDoubt", "7 of 9 nodes"),
            condition("Degraded", "True", "ProbeNotUsable", "exec"),
            [Transition(True, "ProbeNotUsable", "Degraded: exec")],
        ),
        # Proxies come and go, and every change is pending for a moment.
        (condition("Programmed", "True", "Programmed"), condition("Programmed", "False", "Pending"), []),
        (condition("Programmed", "False", "Pending"), condition("Programmed", "True", "Programmed"), []),
        (condition("Programmed", "False", "NoProxies"), condition("Programmed", "True", "Programmed"), []),
        (condition("Degraded", "True", "X", "6 of 9"), condition("Degraded", "True", "X", "7 of 9"), []),
    ],
)
def test_conditions(before: dict[str, Any], after: dict[str, Any], told: list[Transition]) -> None:
    assert transitions(status(before), status(after)) == told


def test_a_new_policy_tells_what_is_wrong_with_it_and_nothing_else() -> None:
    bad = condition("Accepted", "False", "Conflicted", "spec.listeners[0].port: taken")
    new = status(bad, condition("Programmed", "False", "NotAccepted"), unhealthyEndpoints=[unfit(1)])
    assert transitions({}, new) == [Transition(True, "Conflicted", "Accepted: spec.listeners[0].port: taken")]
    assert transitions({}, status(condition("Accepted", "True", "Accepted"))) == []


def test_endpoints_that_leave_and_come_back() -> None:
    well, ill = status(), status(ready=2, unhealthyEndpoints=[unfit(1)])
    assert transitions(well, ill) == [
        Transition(True, "EndpointExcluded", "shop/web:http: pod web-1 (10.0.0.1:80): not ready")
    ]
    assert transitions(ill, well) == [
        Transition(False, "EndpointHealthy", "shop/web:http: pod web-1 (10.0.0.1:80): healthy")
    ]


def test_one_that_comes_back_while_another_one_fails_is_told_too() -> None:
    before = status(ready=2, unhealthyEndpoints=[unfit(1)])
    after = status(ready=2, unhealthyEndpoints=[unfit(2)])

    assert [(one.reason, one.note) for one in transitions(before, after)] == [
        ("EndpointExcluded", "shop/web:http: pod web-2 (10.0.0.2:80): not ready"),
        ("EndpointHealthy", "shop/web:http: pod web-1 (10.0.0.1:80): healthy"),
    ]


def test_a_pod_that_ends_and_serves_no_longer_is_no_warning() -> None:
    draining = unfit(1, "Draining", "terminating: keeps its sessions, gets no new ones")
    ended = unfit(1, "Excluded", "terminating and no longer serving")

    (one,) = transitions(status(unhealthyEndpoints=[draining]), status(unhealthyEndpoints=[ended]))

    assert (one.warning, one.reason) == (False, "EndpointExcluded")


def test_an_endpoint_that_is_listed_no_more_because_it_is_gone_is_not_called_healthy() -> None:
    assert transitions(status(ready=2, unhealthyEndpoints=[unfit(1)]), status(ready=2)) == []


def test_a_pod_that_has_just_come_is_news_once_it_is_ready() -> None:
    starts = status(ready=3, unhealthyEndpoints=[unfit(4, reason=STARTS)])
    assert transitions(status(ready=3), starts) == []
    assert transitions(starts, status(ready=4)) == [
        Transition(False, "EndpointHealthy", "shop/web:http: pod web-4 (10.0.0.4:80): healthy")
    ]


@pytest.mark.parametrize("turned", [False, True])
def test_one_that_fails_while_another_one_comes_is_the_one_that_is_told(*, turned: bool) -> None:
    listed = [unfit(4, reason=STARTS), unfit(1)]
    after = status(ready=2, unhealthyEndpoints=listed[::-1] if turned else listed)
    assert transitions(status(ready=3), after) == [
        Transition(True, "EndpointExcluded", "shop/web:http: pod web-1 (10.0.0.1:80): not ready")
    ]


def test_one_that_fails_while_another_one_has_come_and_is_ready_is_told() -> None:
    failed = unfit(1) | {"since": "2026-01-01T00:00:00Z"}
    assert transitions(status(ready=1), status(ready=1, unhealthyEndpoints=[failed])) == [
        Transition(True, "EndpointExcluded", "shop/web:http: pod web-1 (10.0.0.1:80): not ready")
    ]


def test_who_may_have_come_or_failed_is_told_and_is_no_warning() -> None:
    """Without a pod, or before it says since when."""
    assert transitions(status(ready=3), status(ready=3, unhealthyEndpoints=[unfit(1)])) == [
        Transition(False, "EndpointExcluded", "shop/web:http: pod web-1 (10.0.0.1:80): not ready")
    ]


#: How a pod is listed until it is gone, or until another one has its address or its name.
ENDS = [
    unfit(1, "Draining", "terminating: keeps its sessions, gets no new ones"),
    unfit(1, reason="terminating and no longer serving"),
    unfit(1, reason="terminating"),
]


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "comes", [unfit(4, reason=STARTS), unfit(1, pod="web-4", reason=STARTS), unfit(4, pod="web-1", reason=STARTS)]
)
def test_one_that_comes_when_another_one_is_gone_is_no_news_either(end: dict[str, Any], comes: dict[str, Any]) -> None:
    """Of a rolling update, both in one status; the newcomer may have the address of the one that is gone, or its name."""
    before = status(ready=2, unhealthyEndpoints=[end])
    before["endpoints"] |= {"draining": 1} if end["health"] == "Draining" else {}
    assert transitions(before, status(ready=2, unhealthyEndpoints=[comes])) == []
    # And a third one that turns not ready meanwhile is.
    assert [one.warning for one in transitions(before, status(ready=1, unhealthyEndpoints=[comes, unfit(3)]))] == [True]


def test_who_ends_may_be_what_serves_when_nothing_else_does() -> None:
    """Then the count of the healthy stays, and the one that turned not ready has not just come."""
    before = status(ready=1, unhealthyEndpoints=[ENDS[0]])
    before["endpoints"] |= {"draining": 1}
    told = transitions(before, status(ready=1, unhealthyEndpoints=[unfit(2)]))
    assert told == [Transition(True, "EndpointExcluded", "shop/web:http: pod web-2 (10.0.0.2:80): not ready")]


@pytest.mark.parametrize("comes", [unfit(1, pod="web-4", reason=STARTS), unfit(4, pod="web-1", reason=STARTS)])
def test_who_has_lost_its_address_or_name_to_another_one_is_not_called_healthy(comes: dict[str, Any]) -> None:
    before, after = (
        status(ready=2, unhealthyEndpoints=[unfit(1)]),
        status(ready=3, unhealthyEndpoints=[comes]),
    )
    assert transitions(before, after) == []


def test_one_of_the_address_of_another_backend_has_not_taken_it() -> None:
    other = unfit(1, backend="shop/other:http", pod="web-4")
    assert transitions(status(ready=2, unhealthyEndpoints=[unfit(1)]), status(ready=2, unhealthyEndpoints=[other])) == [
        Transition(True, "EndpointExcluded", "shop/other:http: pod web-4 (10.0.0.1:80): not ready"),
        Transition(False, "EndpointHealthy", "shop/web:http: pod web-1 (10.0.0.1:80): healthy"),
    ]


def test_ends_have_the_words_of_the_table() -> None:
    """What is known of a pod that ends, from its reason."""
    ending = SliceEndpoint("10.0.0.1", ready=False, serving=False, terminating=True, zone="", node="", pod="")
    draining = ending._replace(serving=True)
    whole = [Endpoints(terminating=what) for what in ("Drain", "Exclude")]
    found = {judge(one, policy, last_resort=False).reason for one in (ending, draining) for policy in whole}
    assert found == {one["reason"] for one in ENDS}


def test_an_end_that_was_asked_for_is_no_warning() -> None:
    draining = unfit(1, "Draining", "terminating")
    assert transitions(status(), status(ready=2, unhealthyEndpoints=[draining])) == [
        Transition(False, "EndpointDraining", "shop/web:http: pod web-1 (10.0.0.1:80): terminating")
    ]
    assert transitions(status(ready=2, unhealthyEndpoints=[draining]), status(ready=3)) == []


def test_more_than_a_status_lists_are_told_as_a_count() -> None:
    many = [unfit(number) for number in range(20)]
    assert transitions(status(ready=23), status(ready=3, unhealthyEndpoints=many)) == [
        Transition(True, "EndpointsChanged", "3/3 endpoints are healthy, 23 were; 20 excluded, 0 were")
    ]
    assert transitions(status(ready=3, unhealthyEndpoints=many), status(ready=3, unhealthyEndpoints=many[1:])) == []


def test_of_more_than_a_status_lists_a_total_loss_of_those_that_were_degraded_is_a_warning() -> None:
    before, after = (
        status(ready=0, unhealthyEndpoints=[unfit(number, health) for number in range(20)])
        for health in ("Degraded", "Excluded")
    )
    before["endpoints"] |= {"degraded": 20}
    assert transitions(before, after) == [
        Transition(
            True, "EndpointsChanged", "0/3 endpoints are healthy, 0 were; 0 degraded, 20 were; 20 excluded, 0 were"
        )
    ]


def test_ejections() -> None:
    one = {**unfit(1), "reason": "ejected by 2 of 3 proxies"}
    assert transitions(status(), status(ejectedEndpoints=[one])) == [
        Transition(True, "EndpointEjected", "shop/web:http: pod web-1 (10.0.0.1:80): ejected by 2 of 3 proxies")
    ]
    assert transitions(status(ejectedEndpoints=[one]), status(ejectedEndpoints=[])) == [
        Transition(
            False,
            "EndpointReturned",
            "shop/web:http: pod web-1 (10.0.0.1:80): no proxy that answers keeps it out any more",
        )
    ]


def test_who_has_the_address_of_one_that_was_ejected_is_another_one() -> None:
    was, now = unfit(1) | {"reason": "ejected"}, unfit(1, pod="web-4") | {"reason": "ejected"}
    assert transitions(status(ejectedEndpoints=[was]), status(ejectedEndpoints=[now])) == [
        Transition(True, "EndpointEjected", "shop/web:http: pod web-4 (10.0.0.1:80): ejected")
    ]
    after = status(ready=2, ejectedEndpoints=[], unhealthyEndpoints=[unfit(1, pod="web-4")])
    assert [one.reason for one in transitions(status(ejectedEndpoints=[was]), after)] == ["EndpointExcluded"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "conditions",
                    "unhealthyEndpoints",
                    "ejectedEndpoints",
                    "endpoints",
                    "ready",
                    "type",
                    "status",
                    "health",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["conditions", "unhealthyEndpoints", "endpoints"]), JSON), JSON)
def test_a_status_that_somebody_else_has_written_does_no_harm(before: Any, after: Any) -> None:
    transitions(before, after if isinstance(after, dict) else {})


def _numbered(number: int) -> Transition:
    return Transition(True, "EndpointExcluded", f"pod {number}")


def test_a_burst_then_now_and_then_and_what_is_left_out_is_told() -> None:
    limit = Limit()
    told = [limit.admit(SHOP, _numbered(number), 0.0) for number in range(BURST + 10)]
    assert told[:BURST] == [_numbered(number) for number in range(BURST)]
    assert told[BURST:] == [None] * 10
    assert limit.admit(SHOP, _numbered(99), EVERY - 1) is None
    later = limit.admit(SHOP, _numbered(100), EVERY)
    assert later is not None
    assert later.note == "pod 100 (11 events before this one were left out: there were too many)"
    # Another policy has room of its own.
    assert limit.admit(Ref("LoadBalancerPolicy", "shop", "other"), _numbered(1), EVERY) == _numbered(1)


def test_the_same_words_are_not_said_twice_in_a_row() -> None:
    limit = Limit()
    assert limit.admit(SHOP, _numbered(1), 0.0) is not None
    assert limit.admit(SHOP, _numbered(1), SAME - 1) is None
    assert limit.admit(SHOP, _numbered(1), SAME) is not None


def test_the_same_words_are_news_after_others() -> None:
    """Not ready, ready, not ready: the last one told is the last one that was."""
    limit = Limit()
    assert [limit.admit(SHOP, _numbered(n), 0.1 * at) for at, n in enumerate((1, 2, 1))] == [
        _numbered(n) for n in (1, 2, 1)
    ]


def test_all_policies_together_are_bounded() -> None:
    limit = Limit()
    told = [limit.admit(Ref("LoadBalancerPolicy", "shop", f"p{n}"), _numbered(n), 0.0) for n in range(1000)]
    assert sum(one is not None for one in told) == ALL_BURST


def test_what_all_policies_together_may_not_say_costs_the_one_that_asks_nothing() -> None:
    limit = Limit()
    for number in range(ALL_BURST):
        limit.admit(Ref("LoadBalancerPolicy", "shop", f"p{number}"), _numbered(number), 0.0)
    assert all(limit.admit(SHOP, _numbered(number), 0.0) is None for number in range(BURST))

    told = [limit.admit(SHOP, _numbered(number), ALL_BURST * ALL_EVERY) for number in range(BURST)]
    assert None not in told
    assert told[0] is not None
    assert told[0].note == f"pod 0 ({BURST} events before this one were left out: there were too many)"


def test_what_there_is_no_room_for_is_counted_and_costs_nothing() -> None:
    limit = Limit()
    assert all(limit.admit(SHOP, _numbered(number), 0.0, room=False) is None for number in range(BURST))
    told = [limit.admit(SHOP, _numbered(number), 0.0) for number in range(BURST)]
    assert None not in told
    assert told[0] is not None
    assert told[0].note.endswith(f"({BURST} events before this one were left out: there were too many)")


def test_an_hour_of_flips_is_a_bounded_number_of_events() -> None:
    limit = Limit()
    told = sum(limit.admit(SHOP, _numbered(second % 2), float(second)) is not None for second in range(3600))
    assert told <= BURST + 3600 / EVERY


@given(st.text(max_size=2000))
def test_notes_have_the_length_that_the_api_allows(note: str) -> None:
    found = Limit().admit(SHOP, Transition(False, "X", note), 0.0)
    assert found is not None
    assert len(found.note.encode()) <= LONGEST


def test_an_event_is_about_its_policy() -> None:
    made = manifest(SHOP, "u1", Transition(True, "Rejected", "no"), instance="fairlead-operator-x", now=NOW)
    name = made["metadata"].pop("name")
    assert name.startswith("shop.")
    assert made == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"namespace": "shop"},
        "eventTime": "2026-01-02T03:04:05.000678Z",
        "type": "Warning",
        "reason": "Rejected",
        "action": "Balancing",
        "note": "no",
        "reportingController": "fairlead.dev/operator",
        "reportingInstance": "fairlead-operator-x",
        "regarding": {
            "apiVersion": "fairlead.dev/v1alpha1",
            "kind": "LoadBalancerPolicy",
            "namespace": "shop",
            "name": "shop",
            "uid": "u1",
        },
    }


class Api:
    """Takes events; refuses as often as it is told to."""

    def __init__(self, refuse: int = 0) -> None:
        self.refuse, self.made = refuse, list[tuple[str, str]]()
        self.notes: list[str] = []
        self.error: Exception = ApiError(403, "not yours")

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if self.refuse:
            self.refuse -= 1
            raise self.error
        self.made.append((path, body["reason"]))
        self.notes.append(body["note"])
        return body


async def test_what_a_full_queue_drops_is_told_with_the_next_one() -> None:
    api = Api()
    events = EventWriter(api, "one", most=1)
    ill = status(ready=2, unhealthyEndpoints=[unfit(1)])
    events.written(SHOP, "u1", status(), ill)
    events.written(SHOP, "u1", ill, status())  # there is no room for it
    running = asyncio.create_task(events.run())
    for _ in range(20):
        await asyncio.sleep(0)
    events.written(SHOP, "u1", status(), status(ready=2, unhealthyEndpoints=[unfit(2)]))
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert [note.partition(" (1 events")[2][:7] for note in api.notes] == ["", " before"]


@pytest.mark.parametrize("error", [ApiError(403, "not yours"), ValueError("not yours"), RuntimeError("not yours")])
async def test_a_refused_event_is_told_and_the_next_is_written(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    api = Api(refuse=1)
    api.error = error
    events = EventWriter(api, "one")
    running = asyncio.create_task(events.run())
    events.written(SHOP, "u1", status(), status(ready=2, unhealthyEndpoints=[unfit(1)]))
    events.written(SHOP, "u1", status(ready=2, unhealthyEndpoints=[unfit(1)]), status())
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert api.made == [("/apis/events.k8s.io/v1/namespaces/shop/events", "EndpointHealthy")]
    assert events.writes == 1
    assert "not yours" in caplog.text


@pytest.mark.parametrize(
    "error",
    [ApiError(403, "unable to create new content in namespace shop because it is being terminated"), ApiError(404, "")],
)
async def test_a_namespace_that_ends_is_nothing_to_tell(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    api = Api(refuse=1)
    api.error = error
    events = EventWriter(api, "one")
    running = asyncio.create_task(events.run())
    events.written(SHOP, "u1", status(), status(ready=2, unhealthyEndpoints=[unfit(1)]))
    for _ in range(20):
        await asyncio.sleep(0)
    running.cancel()
    assert events.writes == 0
    assert not [one for one in caplog.records if one.levelname == "WARNING"]
