"""One test a rule of incremental xDS, by the rule's number in XDS_RULES."""

from __future__ import annotations

import pytest

from fairlead_xds.protocol.events import Acked, ProtocolError
from fairlead_xds.snapshot import EMPTY, Resource, Snapshot, TypeUrl
from tests.support.xds_requests import DeltaHand, delta, settled
from tests.support.xds_resources import blob

CDS, EDS, LDS, RDS, SDS = TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.SECRET


def snapshot(*parts: tuple[TypeUrl, str, str]) -> Snapshot:
    return Snapshot.of(blob(*part) for part in parts)


def version(content: str) -> str:
    return Resource(CDS, "", content.encode()).version


# --- session


def test_r02_type_url_is_required() -> None:
    with pytest.raises(ProtocolError, match="type_url") as caught:
        DeltaHand(EMPTY).ask("")
    assert caught.value.status == "INVALID_ARGUMENT"


def test_r03_the_node_is_read_from_the_first_message_and_may_be_absent_later() -> None:
    hand = DeltaHand(EMPTY)
    version = {"version": {"major_number": 1, "minor_number": 40}}
    hand.ask(CDS, node={"id": "e1", "cluster": "edge", "metadata": {"pod": "p"}, "user_agent_build_version": version})
    hand.ask(LDS)
    hand.ask(EDS, "a", node={})

    node = hand.stream.node
    assert (node.id, node.cluster, node.metadata, node.user_agent_version) == ("e1", "edge", {"pod": "p"}, "1.40.0")


def test_r04_the_same_node_may_be_repeated_and_another_ends_the_stream() -> None:
    hand = DeltaHand(EMPTY)
    hand.ask(CDS, node={"id": "e1", "cluster": "edge"})
    hand.ask(LDS, node={"id": "e1", "cluster": "edge"})
    with pytest.raises(ProtocolError, match="'e1' and cannot become 'e2'"):
        hand.ask(EDS, "a", node={"id": "e2", "cluster": "edge"})


def test_r04_a_stream_that_began_without_a_node_cannot_get_one_later() -> None:
    hand = DeltaHand(EMPTY)
    hand.ask(CDS)
    with pytest.raises(ProtocolError):
        hand.ask(LDS, node={"id": "e1", "cluster": "edge"})


def test_r05_r06_r08_r40_r41_r42_what_a_response_says() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A"), (CDS, "b", "B"), (LDS, "l", "L")))
    hand.ask(CDS)
    first = hand.only()
    hand.ack()
    hand.ask(LDS)
    second = hand.only()

    message = delta(first)
    assert message.type_url == CDS
    assert message.control_plane.identifier == "fairlead"
    assert message.system_version_info
    assert [(r.name, r.version, r.resource.type_url, r.resource.value) for r in message.resources] == [
        ("a", version("A"), CDS, b"A"),
        ("b", version("B"), CDS, b"B"),
    ]
    assert delta(second).nonce != message.nonce == first.nonce


def test_r09_a_type_that_is_not_served_is_reported_and_harms_nothing() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A")))
    hand.ask("type.googleapis.com/envoy.service.runtime.v3.Runtime", "x")
    assert [e.type_url for e in hand.ignored()] == ["type.googleapis.com/envoy.service.runtime.v3.Runtime"]
    hand.take()
    hand.ask(CDS)
    assert hand.only().names == ("a",)


def test_garbage_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError) as caught:
        DeltaHand(EMPTY).stream.receive(b"\xff\xff\xff garbage")
    assert caught.value.status == "INVALID_ARGUMENT"


def test_r11_an_ack_triggers_nothing_and_an_equal_snapshot_is_silent() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A")))
    hand.ask(CDS)
    hand.ack()
    assert hand.take() == [Acked(CDS, "1", {"a": version("A")})]
    hand.publish(snapshot((CDS, "a", "A")))
    assert hand.take() == []


def test_r11_a_change_that_is_undone_before_it_was_sent_is_never_sent() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "1"), (CDS, "b", "1")))
    hand.ask(CDS)
    hand.publish(snapshot((CDS, "a", "2"), (CDS, "b", "2")))  # in flight, so this waits
    hand.publish(snapshot((CDS, "a", "1"), (CDS, "b", "3")))
    hand.ack()
    assert hand.sent() == [("Cluster", ("b",), ())]


# --- ACK and NACK


def test_r13_r14_a_nack_is_a_request_with_error_detail() -> None:
    hand = settled(DeltaHand(snapshot((RDS, "r", "1"))), RDS)
    hand.publish(snapshot((RDS, "r", "2")))
    hand.nack("no such filter")

    (nacked,) = hand.nacks()
    assert (nacked.versions, nacked.message, nacked.certain) == ({"r": version("2")}, "no such filter", True)
    assert not hand.stream.has(RDS, "r")


def test_r15_no_resend_after_nack_until_the_bytes_change() -> None:
    hand = settled(DeltaHand(snapshot((RDS, "r", "1"))), RDS)
    hand.publish(snapshot((RDS, "r", "2")))
    hand.nack()
    hand.take()
    hand.publish(snapshot((RDS, "r", "2"), (CDS, "x", "X")))
    assert hand.sent() == []

    hand.publish(snapshot((RDS, "r", "3")))
    assert hand.sent() == [("RouteConfiguration", ("r",), ())]


def test_r15_a_newer_version_goes_at_once_after_the_nack() -> None:
    hand = settled(DeltaHand(snapshot((RDS, "r", "1"))), RDS)
    hand.publish(snapshot((RDS, "r", "2")))
    refused = hand.only()
    hand.publish(snapshot((RDS, "r", "3")))
    hand.nack(response=refused)
    assert [r.names for r in hand.responses()] == [("r",)]


def test_r15_going_back_to_what_the_client_kept_settles_without_a_word_and_the_refused_stays_parked() -> None:
    hand = settled(DeltaHand(snapshot((RDS, "r", "1"))), RDS)
    hand.publish(snapshot((RDS, "r", "2")))
    hand.nack()
    hand.take()
    hand.publish(snapshot((RDS, "r", "1")))
    assert hand.sent() == []
    assert hand.stream.has(RDS, "r")
    hand.publish(snapshot((RDS, "r", "2")))
    assert hand.sent() == []
    assert [u.parked for u in hand.stream.unsettled()] == [1]


def test_r15_of_clusters_only_those_named_are_at_fault() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A"), (CDS, "bad1", "B"), (CDS, "ns/a", "C"), (CDS, "d", "D")))
    hand.ask(CDS)
    hand.nack("Error adding/updating cluster(s) bad1: no d: here, ns/a: neither")

    (nacked,) = hand.nacks()
    assert set(nacked.versions) == {"bad1", "ns/a"}
    assert nacked.certain
    assert [hand.stream.has(CDS, name) for name in ("a", "bad1", "ns/a", "d")] == [True, False, False, True]
    assert hand.responses() == []


def test_r15_a_refusal_that_names_none_is_searched_in_halves() -> None:
    names = [f"c{i}" for i in range(8)]
    hand = DeltaHand(snapshot(*((EDS, name, name) for name in names)))
    hand.ask(EDS, *names)
    rounds = 0
    while hand.responses():
        response = hand.only()
        rounds += 1
        if "c5" in response.names:
            hand.nack("malformed address", response)
        else:
            hand.ack(response)

    certain = [event for event in hand.nacks() if event.certain]
    assert [set(event.versions) for event in certain] == [{"c5"}]
    assert all(hand.stream.has(EDS, name) for name in names if name != "c5")
    assert rounds == 7  # 8, then 4 4, then 2 2, then 1 1


def test_r15_a_constraint_failure_that_quotes_a_name_blames_nobody_by_it() -> None:
    hand = DeltaHand(snapshot((CDS, "name", "A"), (CDS, "other", "B")))
    hand.ask(CDS)
    hand.nack('Proto constraint validation failed: name: "other"')
    assert [event.certain for event in hand.nacks()] == [False]
    assert hand.only().names == ("name",)


def test_r15_what_is_left_of_a_refused_response_is_not_blamed_for_what_was_dropped_from_it() -> None:
    hand = DeltaHand(snapshot((EDS, "bad", "A"), (EDS, "good", "B")))
    hand.ask(EDS, "bad", "good")
    refused = hand.only()
    hand.take()
    hand.ask(EDS, drop=["bad"])
    hand.nack("malformed address", refused)
    assert [event.certain for event in hand.nacks()] == [False]
    hand.ack()
    assert hand.stream.has(EDS, "good")


def test_r15_a_removal_in_a_response_refused_as_a_whole_is_told_again() -> None:
    hand = settled(DeltaHand(snapshot((LDS, "old", "1"))), CDS, LDS)
    hand.publish(snapshot((LDS, "bad", "1")))
    hand.nack("Proto constraint validation failed")
    assert hand.sent() == [("Listener", (), ("old",))]


def test_r15_a_listener_asked_for_and_removed_in_a_refused_response_is_remembered() -> None:
    """It is named twice, as an answer and as a removal: what the client had before must not get lost."""
    hand = settled(DeltaHand(snapshot((LDS, "a", "1"))), CDS, LDS)
    hand.publish(snapshot((LDS, "a", "2")))
    pending = hand.only()
    hand.ask(LDS, "a")
    hand.publish(snapshot((LDS, "b", "bad")))
    hand.ack(pending)
    assert [(r.names, r.removed) for r in hand.responses()] == [(("b",), ("a",))]
    hand.publish(snapshot((LDS, "a", "bad")))
    hand.nack()
    hand.publish(EMPTY)
    hand.nack()
    assert [(r.names, r.removed) for r in hand.responses()] == [((), ("a",))]


def test_r16_a_nack_that_also_changes_names_is_heard() -> None:
    hand = settled(DeltaHand(snapshot((RDS, "r", "1"), (RDS, "s", "S"))), LDS)
    hand.ask(RDS, "r")
    hand.nack(names=["s"])
    assert hand.only().names == ("s",)


# --- subscriptions


def test_r31_r32_a_subscription_counts_even_with_a_stale_nonce() -> None:
    hand = DeltaHand(snapshot((EDS, "a", "A"), (EDS, "b", "B")))
    hand.ask(EDS, "a")
    first = hand.only()
    hand.take()
    hand.ask(EDS, "b", nonce="from-another-life", error="whatever")
    assert hand.take() == []  # one in flight
    hand.ack(first)
    assert hand.only().names == ("b",)


def test_r33_a_name_subscribed_again_is_answered_again() -> None:
    hand = settled(DeltaHand(snapshot((EDS, "a", "A"))), EDS)
    hand.ask(EDS, "a")
    assert hand.sent() == [("ClusterLoadAssignment", ("a",), ())]


def test_r34_a_missing_name_is_said_to_be_missing_and_sent_when_it_comes() -> None:
    hand = DeltaHand(EMPTY)
    hand.ask(SDS, "cert")
    response = hand.only()
    assert delta(response).removed_resources == ["cert"]
    hand.ack()
    hand.take()
    hand.publish(snapshot((SDS, "cert", "C")))
    assert hand.sent() == [("Secret", ("cert",), ())]


def test_r35_unsubscribed_names_are_dropped_and_phantoms_ignored() -> None:
    hand = settled(DeltaHand(snapshot((EDS, "a", "1"), (EDS, "b", "1"))), EDS)
    hand.ask(EDS, drop=["a", "phantom"])
    assert hand.take() == []
    hand.publish(snapshot((EDS, "a", "2"), (EDS, "b", "2")))
    assert hand.sent() == [("ClusterLoadAssignment", ("b",), ())]


def test_r26_unsubscribed_in_flight_and_subscribed_again_is_sent_again() -> None:
    hand = DeltaHand(snapshot((EDS, "a", "1")))
    hand.ask(EDS, "a")
    first = hand.only()
    hand.take()
    hand.ask(EDS, drop=["a"])
    hand.ask(EDS, "a")
    hand.ack(first)
    assert hand.sent() == [("ClusterLoadAssignment", ("a",), ())]


@pytest.mark.parametrize("present", [True, False])
def test_r36_dropping_an_explicit_name_under_a_wildcard_is_answered(present: bool) -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A")) if present else EMPTY)
    hand.ask(CDS, "*", "a")
    hand.settle()
    hand.take()
    hand.ask(CDS, drop=["a"])
    assert hand.sent() == [("Cluster", ("a",) if present else (), () if present else ("a",))]


def test_r36_what_a_client_dropped_and_refused_to_take_back_it_does_not_have() -> None:
    hand = settled(DeltaHand(EMPTY), CDS, LDS)
    hand.publish(snapshot((LDS, "a", "1"), (LDS, "b", "bad")))
    crossing = hand.only()
    hand.ask(LDS, "a")
    hand.ask(LDS, drop=["a"])
    hand.publish(snapshot((LDS, "a", "bad")))
    hand.nack(response=crossing)
    hand.nack()
    hand.publish(snapshot((LDS, "a", "1")))
    assert hand.only().names == ("a",)


def test_r37_a_legacy_wildcard_stays_when_a_name_is_added() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "1"), (CDS, "b", "1"))), CDS)
    hand.ask(CDS, "a")
    hand.ack()
    hand.take()
    hand.publish(snapshot((CDS, "a", "2"), (CDS, "b", "2")))
    assert hand.sent() == [("Cluster", ("a", "b"), ())]


def test_r37_a_wildcard_ends_with_its_unsubscription() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "1"), (CDS, "b", "1")))
    hand.ask(CDS, "*", "a")
    hand.settle()
    hand.take()
    hand.ask(CDS, drop=["*"])
    hand.publish(snapshot((CDS, "a", "2"), (CDS, "b", "2")))
    assert hand.sent() == [("Cluster", ("a",), ())]


@pytest.mark.parametrize("type_url", [EDS, RDS, SDS])
def test_secrets_routes_and_endpoints_know_no_wildcard(type_url: TypeUrl) -> None:
    hand = DeltaHand(snapshot((type_url, "a", "A")))
    hand.ask(type_url)
    assert hand.sent() == []
    hand.ask(type_url, "*")
    assert hand.sent() == [(type_url.short, (), ("*",))]


def test_r38_a_first_wildcard_request_is_answered_even_with_nothing() -> None:
    hand = DeltaHand(EMPTY)
    hand.ask(CDS)
    assert hand.sent() == [("Cluster", (), ())]
    hand.ask(LDS, "*")
    assert hand.sent() == []  # listeners wait for the answer about clusters
    hand.ask(CDS, nonce="1")
    assert [s for s in hand.sent() if s[0] == "Listener"] == [("Listener", (), ())]


def test_r39_a_reconnecting_client_gets_the_differences_only() -> None:
    hand = DeltaHand(snapshot((CDS, "same", "S"), (CDS, "new", "N"), (CDS, "changed", "2")))
    hand.ask(CDS, "*", known={"same": version("S"), "changed": version("1")})
    assert hand.only().names == ("new", "changed")


def test_r39_r43_what_is_gone_is_removed_after_the_routes_of_a_reconnecting_client_are_up_to_date() -> None:
    hand = DeltaHand(snapshot((CDS, "b", "B"), (LDS, "l", "L"), (RDS, "r", "to b")))
    hand.ask(CDS, "*", known={"a": version("A"), "b": version("B")})
    hand.ask(LDS, known={"l": version("L")})
    assert hand.responses() == []
    hand.ask(RDS, "r", known={"r": version("to a")})
    assert hand.only().names == ("r",)
    hand.ack()
    assert hand.sent() == [("Cluster", (), ("a",))]


def test_r39_a_reconnecting_client_without_routes_is_not_waited_for() -> None:
    hand = DeltaHand(EMPTY)
    hand.ask(CDS, "*", known={"a": version("A")})
    assert hand.take() == []
    hand.events += hand.stream.resumed()
    assert hand.sent() == [("Cluster", (), ("a",))]


def test_r39_a_reconnecting_client_that_has_everything_gets_nothing() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A"), (EDS, "a", "E"), (LDS, "l", "L"), (RDS, "r", "R")))
    hand.ask(CDS, "*", known={"a": version("A")})
    hand.ask(EDS, "a", known={"a": version("E")})
    hand.ask(LDS, known={"l": version("L")})
    hand.ask(RDS, "r", known={"r": version("R")})
    assert hand.take() == []
    assert hand.stream.has(EDS, "a")
    assert hand.stream.unsettled() == []


def test_r46_who_asks_for_endpoints_first_is_told_at_once_which_are_gone() -> None:
    """It may warm a cluster that waits for them, and asks for no clusters until then."""
    hand = DeltaHand(snapshot((CDS, "b", "B"), (EDS, "b", "E")))
    hand.ask(EDS, "a", "b", known={"a": version("E"), "b": version("E")})
    assert hand.sent() == [("ClusterLoadAssignment", ("b",), ("a",))]


# --- order


def test_r43_r48_one_push_goes_in_order_and_removals_last() -> None:
    old = snapshot((CDS, "a", "A"), (EDS, "a", "E"), (LDS, "l", "1"), (RDS, "r", "to a"))
    new = snapshot((CDS, "b", "B"), (EDS, "b", "E"), (LDS, "l", "2"), (RDS, "r", "to b"))
    hand = settled(DeltaHand(old), CDS, EDS, LDS, RDS)
    hand.publish(new)
    log = []
    while hand.responses():
        response = hand.responses()[0]
        log.append((response.type_url.short, response.names, response.removed))
        if response.names == ("b",) and response.type_url is CDS:
            hand.ask(EDS, "b")  # a warming Envoy asks first and answers later
        hand.ack(response)
    assert log == [
        ("Cluster", ("b",), ()),
        ("ClusterLoadAssignment", ("b",), ()),
        ("Listener", ("l",), ()),
        ("RouteConfiguration", ("r",), ()),
        ("Cluster", (), ("a",)),
        ("ClusterLoadAssignment", (), ("a",)),
    ]


def test_r44_a_route_waits_for_the_answer_about_its_cluster_and_endpoints_do_not() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "A"), (EDS, "a", "1"), (RDS, "r", "1"))), CDS, EDS, RDS)
    hand.publish(snapshot((CDS, "a", "A"), (CDS, "b", "B"), (EDS, "a", "2"), (EDS, "b", "E"), (RDS, "r", "2")))
    clusters, endpoints = hand.responses()
    assert (clusters.type_url, endpoints.type_url) == (CDS, EDS)
    hand.take()
    hand.ack(endpoints, names=["b"])
    assert hand.sent() == [("ClusterLoadAssignment", ("b",), ())]
    hand.ack(clusters)
    assert hand.sent() == [("RouteConfiguration", ("r",), ())]


def test_r44_a_refused_cluster_does_not_hold_routes_back() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "1"), (RDS, "r", "1"))), CDS, RDS)
    hand.publish(snapshot((CDS, "a", "2"), (RDS, "r", "2")))
    hand.nack("Error adding/updating cluster(s) a: no")
    assert [s for s in hand.sent() if s[0] != "Cluster"] == [("RouteConfiguration", ("r",), ())]


def test_r43_a_cluster_stays_while_a_refused_route_may_name_it() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "A"), (RDS, "r", "to a"))), CDS, RDS)
    hand.publish(snapshot((RDS, "r", "bad")))
    hand.nack()
    assert hand.responses() == []
    hand.publish(snapshot((RDS, "r", "good")))
    hand.ack()
    assert hand.sent() == [("Cluster", (), ("a",))]


def test_r43_endpoints_that_were_to_be_sent_again_and_are_gone_are_removed_last() -> None:
    hand = settled(DeltaHand(snapshot((EDS, "a", "1"))), CDS, EDS)
    hand.ask(LDS)  # whose answer is awaited
    hand.publish(snapshot((EDS, "a", "2")))
    (endpoints,) = hand.responses(EDS)
    hand.publish(snapshot((CDS, "a", "A"), (EDS, "a", "2")))
    hand.publish(EMPTY)
    hand.ack(endpoints)
    assert hand.responses(EDS) == []
    for type_url in (LDS, CDS, CDS):
        (response,) = hand.responses(type_url)
        hand.ack(response)
    assert [(r.names, r.removed) for r in hand.responses(EDS)] == [((), ("a",))]


def test_r43_what_a_wildcard_that_was_dropped_and_taken_again_crossed_is_removed_last() -> None:
    hand = settled(DeltaHand(EMPTY), CDS)
    hand.ask(LDS)  # whose answer is awaited
    hand.publish(snapshot((CDS, "a", "A")))
    (crossing,) = hand.responses(CDS)
    hand.ask(CDS, drop=["*"])
    hand.ask(CDS, "*")
    assert not hand.stream.has(CDS, "a")
    hand.publish(EMPTY)
    hand.ack(crossing)
    assert [(r.names, r.removed) for r in hand.responses(CDS)] in ([], [((), ())])


def test_r45_the_load_assignment_follows_each_update_of_its_cluster() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "1"), (EDS, "a", "E"), (EDS, "b", "E"))), CDS, EDS)
    hand.publish(snapshot((CDS, "a", "2"), (EDS, "a", "E"), (EDS, "b", "E")))
    assert hand.stream.has(EDS, "a")
    assert hand.sent() == [("Cluster", ("a",), ()), ("ClusterLoadAssignment", ("a",), ())]


def test_r45_a_load_assignment_on_its_way_since_before_is_sent_once_more() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "1"), (EDS, "a", "1"))), CDS, EDS)
    hand.publish(snapshot((CDS, "a", "1"), (EDS, "a", "2")))
    early = hand.only()
    hand.take()
    hand.publish(snapshot((CDS, "a", "2"), (EDS, "a", "2")))
    assert hand.sent() == [("Cluster", ("a",), ())]
    hand.ack(early)
    assert hand.sent() == [("ClusterLoadAssignment", ("a",), ())]


def test_r46_endpoints_asked_before_clusters_on_a_new_stream_are_sent_again() -> None:
    hand = DeltaHand(snapshot((CDS, "a", "A"), (EDS, "a", "E")))
    hand.ask(EDS, "a", known={"a": version("E")})
    assert hand.sent() == [("ClusterLoadAssignment", ("a",), ())]


def test_a_listener_takes_over_an_address_in_one_response() -> None:
    hand = settled(DeltaHand(snapshot((LDS, "old", "1"))), CDS, LDS)
    hand.publish(snapshot((LDS, "new", "1")))
    assert hand.sent() == [("Listener", ("new",), ("old",))]


# --- bounds


def test_a_first_answer_comes_in_chunks() -> None:
    hand = DeltaHand(snapshot(*((CDS, f"c{i}", "x") for i in range(1200))))
    hand.ask(CDS)
    sizes = []
    while hand.responses():
        sizes.append(len(hand.only().names))
        hand.ack()
    assert sizes == [500, 500, 200]


def test_a_chunk_is_bounded_in_bytes_but_holds_one_resource_at_least() -> None:
    hand = DeltaHand(snapshot(*((CDS, f"c{i}", f"{i}" * 100_000) for i in range(4)), (CDS, "huge", "x" * 400_000)))
    hand.ask(CDS)
    sizes = []
    while hand.responses():
        sizes.append(len(hand.only().names))
        hand.ack()
    assert sizes == [2, 2, 1]


def test_routes_and_secrets_go_one_by_one() -> None:
    hand = DeltaHand(snapshot((RDS, "r", "1"), (RDS, "s", "1")))
    hand.ask(RDS, "r", "s")
    assert hand.only().names == ("r",)
    hand.ack()
    assert hand.only().names == ("s",)


def test_too_many_names_end_the_stream() -> None:
    hand = DeltaHand(EMPTY)
    with pytest.raises(ProtocolError) as caught:
        hand.ask(EDS, *(f"n{i}" for i in range(100_001)))
    assert caught.value.status == "RESOURCE_EXHAUSTED"


def test_streams_of_equal_subscriptions_share_their_names() -> None:
    parts = snapshot(*((EDS, f"e{i}", "x") for i in range(50)))
    one, other = (settled(DeltaHand(parts), EDS) for _ in range(2))
    assert one.stream._ledgers[EDS].names is other.stream._ledgers[EDS].names


# --- silence


def test_an_answer_that_does_not_come_can_be_given_up_and_still_counts() -> None:
    hand = settled(DeltaHand(snapshot((CDS, "a", "1"), (RDS, "r", "1"))), CDS, RDS)
    hand.publish(snapshot((CDS, "a", "stuck"), (RDS, "r", "2")))
    stuck = hand.only()
    hand.take()
    (state,) = [u for u in hand.stream.unsettled() if u.nonce]
    assert state.in_flight == ("a",)

    hand.events += hand.stream.give_up(CDS)
    assert hand.sent() == [("RouteConfiguration", ("r",), ())]
    assert not hand.stream.has(CDS, "a")

    hand.publish(snapshot((CDS, "a", "cured"), (RDS, "r", "2")))
    cured = hand.only()
    hand.take()
    hand.ask(CDS, nonce=stuck.nonce, error="Error adding/updating cluster(s) a: no")
    assert [set(e.versions.values()) for e in hand.nacks()] == [{version("stuck")}]
    hand.ask(CDS, nonce=cured.nonce, error="Error adding/updating cluster(s) a: no")
    hand.take()
    # Both refused: the client has the first version still.
    hand.publish(snapshot((CDS, "a", "1"), (RDS, "r", "2")))
    assert [s for s in hand.sent() if s[0] == "Cluster"] == []
    assert hand.stream.has(CDS, "a")
