"""The proxies of all replicas together, and what replicas say of theirs."""

from __future__ import annotations

import json

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.replicas.peers import Peers
from fairlead_operator.replicas.report import NOBODY, FleetReport, Share, decode, encode
from fairlead_operator.status import Rollout

SHOP, BLOG = (Ref("LoadBalancerPolicy", "shop", name) for name in ("shop", "blog"))


def share(programmed: int, *, generation: int = 1, rejected: tuple[str, ...] = (), refusal: str = "") -> Share:
    return Share(generation, programmed, rejected, refusal)


def report(connected: int = 2, **policies: Share) -> FleetReport:
    return FleetReport(
        {"edge": connected}, {Ref("LoadBalancerPolicy", "shop", name): s for name, s in policies.items()}
    )


def rollout(connected: int = 1, programmed: int = 1) -> Rollout:
    return Rollout(("edge",), connected, programmed)


@pytest.fixture
def peers() -> Peers:
    return Peers("one", lasting=15)


def test_alone_the_sum_is_ones_own(peers: Peers) -> None:
    assert peers.total(SHOP, 1, rollout()) == rollout()


def test_the_proxies_of_all_replicas_are_added_up(peers: Peers) -> None:
    peers.heard("two", report(2, shop=share(2)), "a", 0)
    peers.heard("three", report(3, shop=share(1)), "a", 0)
    assert peers.total(SHOP, 1, rollout()) == Rollout(("edge",), 6, 4)
    assert peers.total(BLOG, 1, rollout()) == Rollout(("edge",), 6, 1)


def test_proxies_of_other_gateways_do_not_count(peers: Peers) -> None:
    peers.heard("two", FleetReport({"edge": 1, "inner": 5}, {SHOP: share(1)}), "a", 0)
    assert peers.total(SHOP, 1, rollout()).connected == 2


def test_a_proxy_that_has_an_older_generation_is_not_programmed(peers: Peers) -> None:
    peers.heard("two", report(2, shop=share(2, generation=1)), "a", 0)
    assert peers.total(SHOP, 2, rollout()) == Rollout(("edge",), 3, 1)


def test_what_a_proxy_of_another_replica_refused_is_told_by_name(peers: Peers) -> None:
    peers.heard("two", report(2, shop=share(0, rejected=("edge-7",), refusal="no such filter")), "a", 0)
    total = peers.total(SHOP, 1, rollout())
    assert (total.rejected, total.refusal) == (("edge-7",), "no such filter")


def test_only_what_changed_is_in_doubt(peers: Peers) -> None:
    assert peers.heard("two", report(2, shop=share(2)), "a", 0) is None  # proxies came: that is about every policy
    assert peers.heard("two", report(2, shop=share(1)), "b", 0) == {SHOP}
    assert peers.heard("two", report(2, shop=share(1)), "c", 0) == set()
    assert peers.heard("two", report(2, shop=share(1), blog=share(1)), "d", 0) == {BLOG}
    assert peers.gone("two") is None
    assert peers.gone("two") == set()


def test_the_slowest_change_is_that_of_the_slowest_replica(peers: Peers) -> None:
    """A pod has to serve on until the proxies of all replicas know that it ends."""
    assert peers.slowest() == 0
    assert peers.heard("two", FleetReport({"edge": 2}, {}, 0.3), "1", 0) is None
    assert peers.heard("two", FleetReport({"edge": 2}, {}, 0.4), "2", 0) == set()  # the advice is the same
    assert peers.heard("two", FleetReport({"edge": 2}, {}, 2.6), "3", 0) is None
    assert peers.slowest() == 2.6
    peers.took(0.412)
    assert decode(encode(peers.own)).slowest == 0.5
    assert decode('{"connected": {}, "policies": {}, "slowest": NaN}').slowest == 0
    peers.gone("two")
    assert peers.slowest() == 0


def test_ones_own_report_is_not_heard(peers: Peers) -> None:
    assert peers.heard("one", report(7), "a", 0) == set()
    assert peers.others == []


def test_a_replica_that_is_silent_for_too_long_is_dropped(peers: Peers) -> None:
    peers.heard("two", report(), "a", 0)
    peers.heard("three", report(), "a", 0)
    peers.heard("two", report(), "b", 10)
    assert peers.drop_silent(15) == set()
    assert peers.drop_silent(15.1) is None
    assert peers.others == ["two"]
    peers.heard("two", report(), "b", 20)  # a list says it again; it was not renewed
    peers.drop_silent(25.1)
    assert peers.others == []


def test_while_one_hears_nothing_nobody_is_taken_for_dead(peers: Peers) -> None:
    peers.heard("two", report(), "a", 0)
    peers.deaf(40)
    assert peers.drop_silent(41) == set()
    assert peers.drop_silent(55) == set()
    assert peers.drop_silent(55.1) is None


def test_ones_own_report_has_what_somebody_has(peers: Peers) -> None:
    peers.serves({"edge": 2})
    peers.has(SHOP, 3, Rollout(("edge",), 2, 2))
    peers.has(BLOG, 1, Rollout(("edge",), 2, 0))
    assert peers.own == FleetReport({"edge": 2}, {SHOP: share(2, generation=3)})
    peers.has(SHOP, 4, Rollout(("edge",), 2, 0))
    peers.forget(BLOG)
    assert peers.own == FleetReport({"edge": 2}, {})


def test_a_report_survives_its_configmap() -> None:
    said = report(3, shop=share(3, generation=9), blog=share(1, rejected=("edge-1",), refusal="nö"))
    assert decode(encode(said)) == said
    assert decode(encode(NOBODY)) == NOBODY


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"connected": [], "policies": {}}', '{"connected": {}, "policies": {"a/b": 3}}']
)
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own, or ours
        decode(text)


def test_a_report_stays_within_its_bound_and_leaves_out_the_least() -> None:
    names = [Ref("LoadBalancerPolicy", "shop", f"policy-{n:05}") for n in range(20000)]
    said = FleetReport({"edge": 500}, {ref: share(500) for ref in names})
    assert len(encode(said)) < 600_000
    assert decode(encode(said)) == said
    bounded = encode(said, largest=100_000)
    assert 80_000 < len(bounded) <= 100_000
    assert decode(bounded).connected == {"edge": 500}

    wordy = FleetReport({"edge": 1}, {ref: share(0, rejected=("edge-1",), refusal="x" * 5000) for ref in names[:100]})
    assert all(len(one.refusal) == 1000 for one in decode(encode(wordy)).policies.values())
    short = decode(encode(wordy, largest=50_000)).policies
    assert len(short) == 100
    assert all(len(one.refusal) == 100 for one in short.values())


def test_ten_thousand_policies_are_a_compact_report() -> None:
    said = FleetReport({"edge": 9}, {Ref("LoadBalancerPolicy", "shop", f"p{n}"): share(9) for n in range(10000)})
    assert len(encode(said)) / 10000 < 20
    assert json.loads(encode(said))["policies"]["shop/p1"] == [1, 9]
