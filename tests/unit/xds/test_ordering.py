"""When a route goes behind the endpoints of its new cluster, and when it waits for the answer about that (XDS_RULES 44)."""

from __future__ import annotations

import pytest

from fairlead_xds.protocol.stream import CHUNK_NAMES
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl
from tests.support.xds_requests import AnyHand, DeltaHand, SotwHand, settled
from tests.support.xds_resources import blob

CDS, EDS, LDS, RDS = TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE
CLUSTERS, ENDPOINTS, LISTENERS, ROUTES = "Cluster", "ClusterLoadAssignment", "Listener", "RouteConfiguration"


def prompt(name: str, content: str = "1") -> Resource:
    return Resource(CDS, name, content.encode(), prompt=True)


BEFORE = (prompt("a"), blob(EDS, "a", "1"), blob(LDS, "l", "1"), blob(RDS, "r", "1"))


@pytest.fixture(params=[DeltaHand, SotwHand])
def hand(request: pytest.FixtureRequest) -> DeltaHand | SotwHand:
    """A client that has all of ``BEFORE``."""
    client: DeltaHand | SotwHand = _settled(request.param)
    return client


def _settled(variant: type[AnyHand]) -> AnyHand:
    return settled(variant(Snapshot.of(BEFORE)), CDS, EDS, LDS, RDS)


def _ask(client: DeltaHand | SotwHand, type_url: TypeUrl, *names: str) -> None:
    """For more endpoints than those of ``a``, in the words of the variant."""
    if isinstance(client, SotwHand):
        client.ask(type_url, "a", *names, nonce=client.stream._ledgers[type_url].last_nonce)
    else:
        client.ask(type_url, *names)


def _publish(client: DeltaHand | SotwHand, *more: Resource, without: str = "") -> None:
    by_key = {(one.type_url, one.name): one for one in (*BEFORE, *more) if one.name != without}
    client.publish(Snapshot.of(by_key.values()))


def _types(client: DeltaHand | SotwHand, *, take: bool = True) -> list[str]:
    types = [response.type_url.short for response in client.responses()]
    if take:
        client.take()
    return types


def test_r44_a_route_goes_behind_the_endpoints_of_its_new_cluster(hand: DeltaHand | SotwHand) -> None:
    _publish(hand, prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    assert _types(hand) == [CLUSTERS]

    _ask(hand, EDS, "b")
    assert _types(hand) == [ENDPOINTS, ROUTES]


def test_r44_a_listener_does_too(hand: DeltaHand | SotwHand) -> None:
    _publish(hand, prompt("b"), blob(EDS, "b", "1"), blob(LDS, "l", "to b"), blob(RDS, "r", "to b"))
    assert _types(hand) == [CLUSTERS]

    _ask(hand, EDS, "b")
    assert _types(hand) == [ENDPOINTS, LISTENERS, ROUTES]


def test_r44_not_behind_those_of_a_cluster_that_waits_for_checks(hand: DeltaHand | SotwHand) -> None:
    _publish(hand, blob(CDS, "b", "asked"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    clusters = hand.only()
    hand.take()

    _ask(hand, EDS, "b")
    assert _types(hand) == [ENDPOINTS]
    hand.answer(clusters)
    assert _types(hand) == [ROUTES]


def test_r44_not_before_each_of_the_new_clusters_was_taken(hand: DeltaHand | SotwHand) -> None:
    new = [*(prompt(name) for name in "bc"), *(blob(EDS, name, "1") for name in "bc")]
    _publish(hand, *new, blob(RDS, "r", "to b and c"))
    hand.take()

    _ask(hand, EDS, "b")
    assert _types(hand) == [ENDPOINTS]


def test_r44_not_when_the_client_had_the_cluster_before(hand: DeltaHand | SotwHand) -> None:
    """That it asks for the endpoints again does not tell of which of the two clusters."""
    _publish(hand, prompt("a", "2"), prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    hand.take()

    _ask(hand, EDS, "b")
    assert ROUTES not in _types(hand)


def test_r44_nor_when_it_asks_for_its_endpoints_later(hand: DeltaHand | SotwHand) -> None:
    _publish(hand, prompt("b"))
    hand.settle()
    hand.take()
    _publish(hand, prompt("b", "2"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    hand.take()

    _ask(hand, EDS, "b")
    assert ROUTES not in _types(hand)


def test_r44_not_when_the_client_asked_for_the_endpoints_before_it_knew_the_cluster(hand: DeltaHand | SotwHand) -> None:
    _ask(hand, EDS, "b")
    hand.settle()
    hand.take()
    _publish(hand, prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    assert ROUTES not in _types(hand)

    _ask(hand, EDS, "b")
    assert ROUTES not in _types(hand)


def test_r44_not_without_a_load_assignment(hand: DeltaHand | SotwHand) -> None:
    """The cluster is not in place before it has one, be it empty."""
    _publish(hand, prompt("b"), blob(RDS, "r", "to b"))
    hand.take()

    _ask(hand, EDS, "b")
    assert ROUTES not in _types(hand)


def test_r44_not_when_the_load_assignment_has_gone_meanwhile() -> None:
    hand = _settled(SotwHand)
    _publish(hand, prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    _publish(hand, prompt("b"), blob(RDS, "r", "to b"))
    hand.take()

    _ask(hand, EDS, "b")
    assert ROUTES not in _types(hand)


def test_r44_not_while_an_answer_about_clusters_is_late(hand: DeltaHand | SotwHand) -> None:
    """It was given up, and its cluster may warm still: who answers about the next ones has both in place."""
    slow, its_endpoints = blob(CDS, "slow", "asked"), blob(EDS, "slow", "1")
    _publish(hand, slow, its_endpoints, blob(RDS, "r", "to slow"))
    hand.take()
    _ask(hand, EDS, "slow")
    hand.ack()
    _publish(hand, slow, its_endpoints, prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to slow and b"))
    hand.take()
    hand.events += hand.stream.give_up(CDS)
    clusters = hand.only()
    hand.take()

    _ask(hand, EDS, "slow", "b") if isinstance(hand, SotwHand) else _ask(hand, EDS, "b")
    assert _types(hand) == [ENDPOINTS]
    hand.answer(clusters)
    assert _types(hand) == [ROUTES]


def test_r44_not_when_the_endpoints_are_owed_behind_an_old_response() -> None:
    hand = _settled(DeltaHand)
    _publish(hand, prompt("b"), blob(EDS, "b", "1"))
    clusters = hand.only()
    hand.take()
    _ask(hand, EDS, "b")
    unanswered = hand.only()
    hand.take()
    hand.answer(clusters)
    _publish(hand)
    hand.ack(hand.responses()[0])
    hand.ask(EDS, drop=["b"])
    _publish(hand, prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"))
    hand.take()

    _ask(hand, EDS, "b")
    assert ROUTES not in _types(hand)
    hand.answer(unanswered)
    assert _types(hand) == [ENDPOINTS, ROUTES]


def test_r44_not_while_others_endpoints_are_on_their_way_and_those_of_the_new_cluster_wait() -> None:
    hand = _settled(DeltaHand)
    changed = blob(EDS, "a", "2"), blob(EDS, "b", "1"), blob(LDS, "l", "to b"), blob(RDS, "r", "to b")
    _publish(hand, prompt("b"), *changed)
    _, endpoints = hand.responses()
    hand.take()

    _ask(hand, EDS, "b")
    assert _types(hand) == []
    hand.answer(endpoints)
    assert _types(hand) == [ENDPOINTS, LISTENERS, ROUTES]


def test_r44_not_while_more_clusters_wait() -> None:
    hand, many = _settled(DeltaHand), [f"b{number}" for number in range(CHUNK_NAMES + 1)]
    _publish(hand, *map(prompt, many), *(blob(EDS, name, "1") for name in many), blob(RDS, "r", "to all"))
    clusters = hand.only()
    hand.take()
    assert len(clusters.names) == CHUNK_NAMES

    _ask(hand, EDS, *clusters.names)
    assert _types(hand) == [ENDPOINTS]


def test_r43_removals_wait_for_the_answer_about_clusters_and_for_the_routes(hand: DeltaHand | SotwHand) -> None:
    _publish(hand, prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b"), without="a")
    clusters = hand.only()
    hand.take()
    _ask(hand, EDS, "b")
    _, routes = hand.responses()
    hand.take()

    hand.answer(routes)
    assert hand.sent() == []
    hand.answer(clusters)
    assert hand.sent()[0] == (CLUSTERS, (), ("a",))


@pytest.fixture(params=[DeltaHand, SotwHand])
def back(request: pytest.FixtureRequest) -> DeltaHand | SotwHand:
    """A client that has all of ``BEFORE`` from an earlier stream, and asks for all but clusters: one of its own warms."""
    client: DeltaHand | SotwHand = request.param(
        Snapshot.of((prompt("a"), blob(EDS, "a", "1"), prompt("b"), blob(EDS, "b", "1"), blob(RDS, "r", "to b")))
    )
    _ask_again(client, EDS, "a", "b")
    _ask_again(client, LDS)
    _ask_again(client, RDS, "r")
    return client


def _ask_again(client: DeltaHand | SotwHand, type_url: TypeUrl, *names: str) -> None:
    """As a client that has what ``BEFORE`` says of the type."""
    if isinstance(client, SotwHand):
        client.ask(type_url, *names, version="1")
    else:
        known = {one.name: one.version for one in BEFORE if one.type_url is type_url}
        client.ask(type_url, *names, known=known)


def test_r44_listeners_and_routes_of_who_comes_back_wait_for_its_question_about_clusters(
    back: DeltaHand | SotwHand,
) -> None:
    """Nor is anything removed before they are up to date; what warming needs is sent at once."""
    (response,) = back.responses()
    assert (response.type_url, set(response.names), response.removed) == (EDS, {"a", "b"}, ())
    back.ack()
    assert back.responses() == []

    _ask_again(back, CDS)
    assert _types(back, take=False) == [CLUSTERS, ENDPOINTS]
    for response in back.responses():
        back.ack(response)
    assert _types(back) == [LISTENERS, ROUTES]


def test_r43_what_is_gone_is_removed_though_clusters_are_asked_for_late() -> None:
    """Also for a client without routes, which alone would tell that it has asked for everything."""
    client = DeltaHand(Snapshot.of([blob(EDS, "a", "1"), prompt("a")]))
    _ask_again(client, EDS, "a")
    client.settle()
    client.events += client.stream.resumed()
    client.ask(CDS, "*", known={"a": prompt("a").version, "gone": "1"})
    assert (CLUSTERS, (), ("gone",)) in client.sent()


def test_r44_a_client_that_wants_no_clusters_is_not_waited_for_for_ever(back: DeltaHand | SotwHand) -> None:
    back.ack()
    back.events += back.stream.stop_waiting_for_clusters()
    assert not back.stream.warming
    assert ROUTES in _types(back)


@pytest.mark.parametrize("variant", [DeltaHand, SotwHand])
def test_r44_a_client_that_has_nothing_may_ask_for_routes_first(variant: type[AnyHand]) -> None:
    """As gRPC does without a proxy."""
    client = variant(Snapshot.of(BEFORE))
    client.ask(RDS, "r")
    assert not client.stream.warming
    assert _types(client) == [ROUTES]
