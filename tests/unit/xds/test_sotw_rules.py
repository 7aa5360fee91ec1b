"""One test a rule of state-of-the-world xDS, by the rule's number in XDS_RULES."""

from __future__ import annotations

import pytest

from fairlead_xds.snapshot import EMPTY, Snapshot, TypeUrl
from tests.support.xds_requests import SotwHand, settled, sotw
from tests.support.xds_resources import blob

CDS, EDS, LDS, RDS, SDS = TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.SECRET


def snapshot(*parts: tuple[TypeUrl, str, str]) -> Snapshot:
    return Snapshot.of(blob(*part) for part in parts)


def bodies(hand: SotwHand) -> list[str]:
    """The contents of the only response there is, in order of content."""
    return sorted(resource.value.decode() for resource in sotw(hand.only()).resources)


def test_r05_r06_r08_what_a_response_says() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A"), (CDS, "b", "B")))
    hand.ask(CDS)
    message = sotw(hand.only())
    assert (message.type_url, message.nonce) == (CDS, hand.only().nonce)
    assert message.control_plane.identifier == "fairlead"
    assert [(r.type_url, r.value) for r in message.resources] == [(CDS, b"A"), (CDS, b"B")]


def test_r07_the_version_is_that_of_the_type_on_every_stream() -> None:
    one, other = (SotwHand(snapshot((CDS, "a", "A"), (RDS, "r", "R"))) for _ in range(2))
    one.ask(CDS)
    other.ask(RDS, "r")
    other.settle()
    other.take()
    other.ask(CDS)
    assert sotw(one.only()).version_info == sotw(other.only()).version_info
    one.ack()
    one.publish(snapshot((CDS, "a", "A"), (RDS, "r", "changed")))
    assert one.sent() == []


def test_r11_an_ack_triggers_nothing() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A")))
    hand.ask(CDS)
    hand.ack()
    assert [e.versions for e in hand.acks()] == [
        dict.fromkeys(["a"], snapshot((CDS, "a", "A")).by_type[CDS]["a"].version)
    ]
    assert hand.responses() == []


def test_r17_a_refused_listener_is_sent_as_the_client_has_it_beside_the_others() -> None:
    hand = settled(SotwHand(snapshot((LDS, "good", "g1"), (LDS, "bad", "b1"))), CDS, LDS)
    hand.publish(snapshot((LDS, "good", "g2"), (LDS, "bad", "b2"), (LDS, "worse", "w1")))
    hand.nack("Error adding/updating listener(s) bad: no\nworse: neither\n")
    assert bodies(hand) == ["b1", "g2"]
    hand.ack()
    assert hand.stream.has(LDS, "good")
    assert not hand.stream.has(LDS, "bad")
    hand.take()
    hand.publish(snapshot((LDS, "good", "g2"), (LDS, "bad", "b3"), (LDS, "worse", "w2")))
    assert bodies(hand) == ["b3", "g2", "w2"]


def test_r17_what_was_removed_while_a_response_was_refused_is_removed_whether_it_was_applied_or_not() -> None:
    hand = SotwHand(snapshot((CDS, "good", "1"), (CDS, "bad", "1")))
    hand.ask(CDS)
    first = hand.only()
    hand.publish(EMPTY)
    hand.nack("Error adding/updating cluster(s) bad: no", first)
    assert bodies(hand) == ["1"]  # the good one, which goes in its turn
    hand.ack()
    assert bodies(hand) == []


def test_r15_a_refusal_without_names_is_searched_in_halves() -> None:
    names = ["a", "b", "c", "d"]
    hand = settled(SotwHand(snapshot(*((CDS, n, f"{n}1") for n in names))), CDS)
    hand.publish(snapshot(*((CDS, n, f"{n}2") for n in names)))
    while hand.responses():
        bad = "c2" in bodies(hand)
        hand.nack("Proto constraint validation failed") if bad else hand.ack()
    assert [set(e.versions) for e in hand.nacks() if e.certain] == [{"c"}]
    assert [hand.stream.has(CDS, n) for n in names] == [True, True, False, True]


def test_r19_a_stale_nonce_is_not_answered() -> None:
    hand = settled(SotwHand(snapshot((EDS, "a", "A"), (EDS, "b", "B"))), LDS)
    hand.ask(EDS, "a")
    first = hand.only()
    hand.ack()
    hand.publish(snapshot((EDS, "a", "A2"), (EDS, "b", "B")))
    second = hand.only()
    hand.take()
    hand.ask(EDS, "a", "b", nonce=first.nonce)
    assert hand.take() == []
    hand.ask(EDS, "a", "b", nonce=second.nonce)
    assert hand.only().names == ("b",)


def test_r20_the_first_request_may_carry_what_is_left_of_an_earlier_stream() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A")))
    hand.ask(CDS, version="of-another-server", nonce="17")
    assert bodies(hand) == ["A"]


def test_r21_all_clusters_of_an_equal_version_are_not_sent_again() -> None:
    parts = snapshot((CDS, "a", "A"), (EDS, "a", "E"))
    hand = SotwHand(parts)
    hand.ask(CDS, version=parts.type_version(CDS))
    assert hand.take() == []
    assert hand.stream.has(CDS, "a")
    hand.ask(EDS, "a", version=parts.type_version(EDS))
    assert bodies(hand) == ["E"]


def test_r22_cluster_responses_carry_all_and_omission_deletes() -> None:
    hand = settled(SotwHand(snapshot((CDS, "a", "A"), (CDS, "b", "B"))), CDS)
    hand.publish(snapshot((CDS, "a", "A2"), (CDS, "b", "B")))
    assert bodies(hand) == ["A2", "B"]
    hand.ack()
    hand.publish(snapshot((CDS, "a", "A2")))
    assert bodies(hand) == ["A2"]
    hand.ack()
    hand.publish(EMPTY)
    assert bodies(hand) == []


def test_r22_nothing_at_all_is_an_answer() -> None:
    hand = SotwHand(EMPTY)
    hand.ask(CDS)
    assert bodies(hand) == []
    hand.ack()
    hand.ask(LDS)
    assert bodies(hand) == []


def test_r23_endpoint_responses_carry_what_changed_and_deletion_is_silent() -> None:
    hand = settled(SotwHand(snapshot((EDS, "a", "A"), (EDS, "b", "B"))), EDS)
    hand.publish(snapshot((EDS, "a", "A2"), (EDS, "b", "B")))
    assert bodies(hand) == ["A2"]
    hand.ack()
    hand.publish(snapshot((EDS, "b", "B")))
    assert hand.responses() == []


def test_r24_an_added_name_is_answered_though_the_version_is_the_same() -> None:
    hand = SotwHand(snapshot((EDS, "a", "A"), (EDS, "b", "B")))
    hand.ask(EDS, "a")
    first = hand.only()
    hand.ack()
    hand.ask(EDS, "a", "b", nonce=first.nonce, version=sotw(first).version_info)
    assert bodies(hand) == ["B"]


def test_r25_a_dropped_name_is_not_answered_and_not_sent() -> None:
    hand = SotwHand(snapshot((EDS, "a", "A"), (EDS, "b", "B")))
    hand.ask(EDS, "a", "b")
    first = hand.only()
    hand.ack()
    hand.take()
    hand.ask(EDS, "b", nonce=first.nonce)
    hand.publish(snapshot((EDS, "a", "A2"), (EDS, "b", "B")))
    assert hand.take() == []


def test_r26_a_name_dropped_and_taken_again_is_sent_again() -> None:
    hand = SotwHand(snapshot((EDS, "a", "A"), (EDS, "b", "B")))
    hand.ask(EDS, "a", "b")
    first = hand.only()
    hand.ack()
    hand.ask(EDS, "b", nonce=first.nonce)
    hand.ask(EDS, "a", "b", nonce=first.nonce)
    assert bodies(hand) == ["A"]


def test_r27_a_missing_name_is_remembered_in_silence() -> None:
    hand = SotwHand(EMPTY)
    hand.ask(SDS, "cert")
    assert hand.take() == []
    hand.publish(snapshot((SDS, "cert", "C")))
    assert bodies(hand) == ["C"]


def test_r28_r29_no_names_mean_all_until_names_were_given() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A"), (CDS, "b", "B")))
    hand.ask(CDS)
    assert bodies(hand) == ["A", "B"]
    hand.ack(names=["a"])
    last = hand.only()
    hand.ack(last)
    hand.take()
    hand.ask(CDS, nonce=last.nonce)
    hand.publish(snapshot((CDS, "a", "A2"), (CDS, "b", "B2")))
    assert hand.take() == []


def test_r30_an_explicit_wildcard_and_a_name_are_both_and_the_name_alone_is_the_name() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A"), (CDS, "b", "B")))
    hand.ask(CDS, "*", "a")
    assert bodies(hand) == ["A", "B"]
    hand.ack(names=["a"])
    hand.take()
    hand.publish(snapshot((CDS, "a", "A2"), (CDS, "b", "B2")))
    assert bodies(hand) == ["A2"]


def test_r30_a_name_dropped_under_a_wildcard_is_covered_as_before() -> None:
    hand = settled(SotwHand(snapshot((LDS, "a", "A"))), CDS)
    hand.ask(LDS, "*", "a")
    response = hand.only()
    hand.publish(EMPTY)
    hand.ack(response, names=["*"])
    assert bodies(hand) == []  # which deletes it


def test_r30_a_name_that_the_wildcard_covered_before_is_no_new_one() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A")))
    hand.ask(CDS, "*")
    hand.publish(snapshot((CDS, "b", "bad")))
    hand.ack(names=["a", "b"])
    assert bodies(hand) == ["A", "bad"]  # nothing is removed yet
    hand.nack()
    assert bodies(hand) == []  # which deletes it


def test_r43_a_cluster_stays_in_the_responses_until_no_route_names_it() -> None:
    hand = settled(SotwHand(snapshot((CDS, "a", "A"), (RDS, "r", "to a"))), CDS, RDS)
    hand.publish(snapshot((CDS, "b", "B"), (RDS, "r", "to b")))
    assert bodies(hand) == ["A", "B"]
    interim = sotw(hand.only()).version_info
    assert interim != hand.stream.snapshot.type_version(CDS)
    hand.ack()
    assert bodies(hand) == ["to b"]
    hand.ack()
    assert bodies(hand) == ["B"]
    assert sotw(hand.only()).version_info == hand.stream.snapshot.type_version(CDS)


def test_r43_endpoints_that_were_to_be_sent_again_and_are_gone_are_not_told_before_the_listeners() -> None:
    """They were owed for their cluster. Absence cannot be told here (XDS_RULES 23): nothing is left to say."""
    hand = SotwHand(snapshot((EDS, "a", "E")))
    hand.ask(CDS)
    hand.ack()
    hand.ask(LDS)
    hand.ask(EDS, "a")
    (endpoints,) = hand.responses(EDS)
    hand.publish(snapshot((CDS, "a", "A"), (EDS, "a", "E")))
    hand.publish(EMPTY)
    hand.ack(endpoints)
    assert hand.responses(EDS) == []


def test_r45_the_load_assignment_follows_each_update_of_its_cluster() -> None:
    hand = settled(SotwHand(snapshot((CDS, "a", "1"), (EDS, "a", "E"), (CDS, "b", "B"), (EDS, "b", "F"))), CDS, EDS)
    hand.publish(snapshot((CDS, "a", "2"), (EDS, "a", "E"), (CDS, "b", "B"), (EDS, "b", "F")))
    assert hand.sent() == [("Cluster", ("a",), ()), ("ClusterLoadAssignment", ("a",), ())]


def test_r62_clusters_by_exact_name_get_no_others() -> None:
    hand = SotwHand(snapshot((CDS, "a", "A"), (CDS, "b", "B")))
    hand.ask(CDS, "a")
    assert bodies(hand) == ["A"]
    hand.ack()
    hand.publish(snapshot((CDS, "b", "B")))
    assert bodies(hand) == []


@pytest.mark.parametrize("type_url", [EDS, RDS, SDS])
def test_secrets_routes_and_endpoints_know_no_wildcard(type_url: TypeUrl) -> None:
    hand = SotwHand(snapshot((type_url, "a", "A")))
    hand.ask(type_url)
    hand.ask(type_url, "*")
    assert hand.take() == []
