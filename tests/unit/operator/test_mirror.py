"""What lists and watch events mean: the pure half of the reflector."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.backoff import RECONNECT, Backoff, Backoffs
from fairlead_operator.sources.client import ApiError
from fairlead_operator.sources.mirror import Apply, Delete, ExpiredError, Kind, Mirror, UnexpectedError

SERVICE = Kind("Service", "v1", "services")


def item(name: str, version: str = "5") -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": version, "managedFields": [1]}}


def listed(*names: str) -> Mirror:
    mirror = Mirror(SERVICE)
    mirror.start_list()
    list(mirror.page({"items": [item(name) for name in names]}))
    assert mirror.end_list("10") == []
    return mirror


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (SERVICE, "/api/v1/services"),
        (Kind("EndpointSlice", "discovery.k8s.io/v1", "endpointslices"), "/apis/discovery.k8s.io/v1/endpointslices"),
    ],
)
def test_paths(kind: Kind, path: str) -> None:
    assert kind.path == path


def test_items_of_a_list_get_their_kind_and_lose_what_nobody_reads() -> None:
    mirror = Mirror(SERVICE)
    mirror.start_list()
    (step,) = mirror.page({"items": [item("a")]})
    assert step.raw["kind"] == "Service"
    assert step.raw["apiVersion"] == "v1"
    assert "managedFields" not in step.raw["metadata"]


def test_what_is_on_no_page_of_a_list_is_gone() -> None:
    mirror = listed("a", "b", "c")
    mirror.start_list()
    assert mirror.version == ""
    list(mirror.page({"items": [item("c")]}))
    list(mirror.page({"items": None}))
    list(mirror.page({"items": [item("a")]}))
    assert mirror.end_list("20") == [Delete(Ref("Service", "shop", "b"))]
    assert mirror.version == "20"


def test_a_list_that_broke_off_deletes_nothing_and_forgets_nothing() -> None:
    mirror = listed("a", "b")
    mirror.start_list()
    list(mirror.page({"items": [item("new")]}))
    mirror.start_list()
    list(mirror.page({"items": [item("a")]}))
    gone = {step.ref.name for step in mirror.end_list("20")}
    assert gone == {"b", "new"}


def test_events_move_the_version_and_the_set() -> None:
    mirror = listed("a")
    assert isinstance(mirror.event({"type": "ADDED", "object": item("b", "11")}), Apply)
    assert mirror.event({"type": "DELETED", "object": item("a", "12")}) == Delete(Ref("Service", "shop", "a"))
    assert mirror.event({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "30"}}}) is None
    assert mirror.version == "30"
    mirror.start_list()
    assert mirror.end_list("40") == [Delete(Ref("Service", "shop", "b"))]


def test_an_expired_version_is_told_apart() -> None:
    with pytest.raises(ExpiredError):
        listed("a").event({"type": "ERROR", "object": {"code": 410}})


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        {},
        {"type": "ADDED"},
        {"type": "ADDED", "object": None},
        {"type": "ADDED", "object": {"metadata": {}}},
        {"type": "ADDED", "object": {"metadata": {"resourceVersion": "9"}}},
        {"type": "SURPRISE", "object": item("a")},
        {"type": "ERROR", "object": {"code": 500}},
        {"type": "ERROR", "object": "no"},
    ],
)
def test_nonsense_is_unexpected_and_moves_nothing(event: Any) -> None:
    mirror = listed("a")
    with pytest.raises(UnexpectedError):
        mirror.event(event)
    assert mirror.version == "10"


def test_delays_grow_to_a_bound_and_start_anew() -> None:
    backoff = Backoff(0.1, 1.0, chance=lambda: 0.0)
    assert [round(backoff.next(), 3) for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.next() == 0.1
    assert Backoff(1.0, 1.0, chance=lambda: 1.0).next() == 0.5


def test_an_outage_is_not_counted_against_the_server_that_comes_back() -> None:
    backoffs = Backoffs(0.1, 30.0)
    away = [backoffs.after(ConnectionRefusedError()) for _ in range(20)]

    assert max(away) <= RECONNECT
    assert backoffs.after(ApiError(503, "starting")) <= 0.1
    assert [backoffs.after(ApiError(500, "broken")) for _ in range(20)][-1] > RECONNECT
