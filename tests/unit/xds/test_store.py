"""The store: equal is silent, changes are found once, keys come and go."""

from __future__ import annotations

from fairlead_xds.snapshot import EMPTY, Origin, Resource, Snapshot, TypeUrl, diff
from fairlead_xds.store import Store
from tests.support.xds_resources import blob

EDS, CDS = TypeUrl.ENDPOINT, TypeUrl.CLUSTER


def told(store: Store, key: str = "k") -> list[Snapshot]:
    heard: list[Snapshot] = []
    store.subscribe(key, lambda: heard.append(store.current(key)))
    return heard


def test_an_unknown_key_is_empty() -> None:
    assert Store().current("nobody") is EMPTY


def test_publishing_tells_subscribers_of_that_key_only() -> None:
    store = Store()
    mine, others = told(store), told(store, "other")
    snapshot = Snapshot.of([blob(CDS, "a", "1")])
    assert dict(store.publish("k", snapshot).names(CDS)) == {"a": None}
    assert mine == [snapshot]
    assert others == []
    assert store.keys() == ["k"]


def test_equal_bytes_are_not_told_but_newer_origins_are_kept() -> None:
    store = Store()
    store.publish("k", Snapshot.of([blob(CDS, "a", "1")]))
    heard = told(store)
    newer = Snapshot.of([Resource(CDS, "a", b"1", origins=(Origin("LoadBalancerPolicy", "ns", "p", 2),))])
    assert not store.publish("k", newer)
    assert heard == []
    assert store.current("k") is newer


def test_single_resources_change_only_themselves() -> None:
    store = Store()
    store.publish("k", Snapshot.of([blob(CDS, "a", "1"), blob(EDS, "a", "1"), blob(EDS, "b", "1")]))
    before = store.current("k")
    heard = told(store)
    changes = store.publish_resources("k", [blob(EDS, "a", "1"), blob(EDS, "b", "2"), blob(EDS, "c", "3")])
    assert set(changes.names(EDS)) == {"b", "c"}
    assert changes == diff(before, store.current("k"))
    assert store.current("k").by_type[CDS] is before.by_type[CDS]
    assert len(heard) == 1
    assert not store.publish_resources("k", [blob(EDS, "b", "2")])
    assert len(heard) == 1


def test_changes_from_any_earlier_snapshot_are_found_once() -> None:
    store = Store()
    store.publish("k", Snapshot.of([blob(EDS, "a", "1")]))
    oldest = store.current("k")
    store.publish_resources("k", [blob(EDS, "a", "2")])
    previous = store.current("k")
    store.publish_resources("k", [blob(EDS, "b", "1")])
    assert set(store.changes("k", previous).names(EDS)) == {"b"}
    assert set(store.changes("k", oldest).names(EDS)) == {"a", "b"}
    assert store.changes("k", oldest) is store.changes("k", oldest)
    assert store.changes("unknown", oldest) == diff(oldest, EMPTY)


def test_keys_that_nothing_concerns_any_more_become_empty() -> None:
    store = Store()
    for key in ("k", "l"):
        store.publish(key, Snapshot.of([blob(CDS, "a", "1")]))
    heard = told(store)
    store.retain(["l"])
    assert heard == [EMPTY]
    assert store.keys() == ["l"]
    assert not store.remove("k")


def test_unsubscribing_leaves_nothing_behind() -> None:
    store = Store()
    heard: list[None] = []
    unsubscribe = store.subscribe("k", lambda: heard.append(None))
    unsubscribe()
    unsubscribe()
    store.publish("k", Snapshot.of([blob(CDS, "a", "1")]))
    assert heard == []


def test_opening_is_told_once_to_each_who_waits_and_at_once_to_later_ones() -> None:
    store = Store()
    heard: list[str] = []
    store.when_open(lambda: heard.append("early"))
    assert heard == []
    store.set_open()
    store.set_open()
    store.when_open(lambda: heard.append("late"))
    assert heard == ["early", "late"]
    assert store.open
