"""Events of policies come late, twice, or not at all."""

from __future__ import annotations

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.policies import PolicyBook, Seen, seen

SHOP = Ref("LoadBalancerPolicy", "shop", "shop")
OTHER = Ref("LoadBalancerPolicy", "shop", "other")


def test_seen_reads_the_metadata() -> None:
    assert seen({"metadata": {"uid": "u", "resourceVersion": "7", "generation": 2}}) == Seen("u", 7, 2)
    assert seen({"metadata": {}}) == Seen("", 0, 0)


def test_what_is_older_than_what_is_known_is_no_news() -> None:
    book = PolicyBook()
    assert book.take(SHOP, Seen("u", 7, 2))
    assert not book.take(SHOP, Seen("u", 6, 1))
    assert book.take(SHOP, Seen("u", 7, 2))
    assert book.known[SHOP].generation == 2


def test_the_late_deletion_of_a_predecessor_deletes_nothing() -> None:
    book = PolicyBook()
    book.take(SHOP, Seen("old", 7, 1))
    book.take(SHOP, Seen("new", 9, 1))
    assert not book.gone(SHOP, "old")
    assert book.gone(SHOP, "new")
    assert not book.gone(SHOP, "new")


def test_a_list_finds_what_vanished_and_what_was_missed() -> None:
    book = PolicyBook()
    book.take(SHOP, Seen("u", 7, 1))
    before = dict(book.known)
    assert book.compare({SHOP: Seen("u", 8, 1)}, before) == (set(), set())
    assert book.compare({}, before) == ({SHOP}, set())
    assert book.compare({SHOP: Seen("u", 9, 2)}, before) == (set(), {SHOP})
    assert book.compare({SHOP: Seen("new", 9, 1)}, before) == (set(), {SHOP})
    assert book.compare({SHOP: Seen("u", 7, 1), OTHER: Seen("o", 8, 1)}, before) == (set(), {OTHER})


def test_what_was_heard_of_since_the_list_began_is_left_alone() -> None:
    book = PolicyBook()
    book.take(SHOP, Seen("u", 7, 1))
    book.take(OTHER, Seen("o", 7, 1))
    before = dict(book.known)
    book.take(SHOP, Seen("again", 12, 1))  # deleted and made anew while the list was on its way
    book.gone(OTHER, "o")
    book.take(Ref("LoadBalancerPolicy", "shop", "third"), Seen("t", 13, 1))
    vanished, missed = book.compare({OTHER: Seen("o", 7, 1)}, before)
    assert vanished == set()
    assert missed <= {OTHER}  # to be fetched, which says 404
