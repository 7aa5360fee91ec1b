"""From a change to its last acknowledgement, with streams that are real and a server that is not."""

from __future__ import annotations

from fairlead_operator.api.meta import Ref
from fairlead_operator.fleet import Fleet, resources_by_policy
from fairlead_operator.progress import MOST, Cause, Causes, Progress, Report
from fairlead_operator.quarantine import Refusal
from fairlead_xds.observer import Proxy
from fairlead_xds.snapshot import EMPTY, Origin, Resource, Snapshot, TypeUrl, diff
from tests.support.xds_requests import DeltaHand

POLICY = Ref("LoadBalancerPolicy", "shop", "site")


def _snapshot(content: str, *, also: str = "") -> Snapshot:
    parts = [Resource(TypeUrl.CLUSTER, "a", content.encode(), (Origin(*POLICY, 1, "spec"),))]
    return Snapshot.of([*parts, *([Resource(TypeUrl.CLUSTER, also, b"x")] if also else [])])


class Client:
    """A proxy that is subscribed to all clusters and answers when it is told to."""

    def __init__(self, name: str = "edge-1") -> None:
        self.hand = DeltaHand(EMPTY)
        self.hand.ask(TypeUrl.CLUSTER, node={"id": name, "cluster": "edge"})
        self.hand.settle()  # there is nothing yet
        self.proxy = Proxy("edge", self.hand.stream.node, "", 0.0, self.hand.stream)


class Scene:
    """Publishes to the store's side at once, to the streams when it is told to: as the server does."""

    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.snapshot = EMPTY
        self.progress = Progress(self.reports.append, lambda _key: self.snapshot)

    def publish(self, snapshot: Snapshot, *clients: Client, what: str = "x", now: float = 0.0) -> None:
        changes, self.snapshot = diff(self.snapshot, snapshot), snapshot
        proxies = [client.proxy for client in clients]
        self.progress.published("edge", Cause((what,), now), changes=changes, snapshot=snapshot, proxies=proxies)

    def deliver(self, *clients: Client) -> None:
        for client in clients:
            client.hand.publish(self.snapshot)

    def ack(self, client: Client, now: float = 0.0) -> None:
        client.hand.ack()
        self.progress.acked(client.proxy, now)


def test_a_report_follows_the_last_acknowledgement() -> None:
    scene, one, two = Scene(), Client("edge-1"), Client("edge-2")
    scene.publish(_snapshot("1"), one, two, what="Service shop/web", now=10.0)
    scene.deliver(one, two)

    scene.ack(one, 10.5)
    assert scene.reports == []
    scene.ack(two, 11.0)

    assert scene.reports == [Report("edge", ("Service shop/web",), {"Cluster": 1}, ("edge-1", "edge-2"), 1.0)]


def test_an_acknowledgement_of_something_older_is_none() -> None:
    """The stream hears of a new snapshot a moment after it was published; what it has then is the old one."""
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1"), client)
    scene.deliver(client)
    scene.publish(_snapshot("2"), client, what="second")

    scene.ack(client)
    assert [report.what for report in scene.reports] == [("x",)]  # overtaken: nothing waits for it

    scene.deliver(client)
    scene.ack(client)
    assert [report.what for report in scene.reports] == [("x",), ("second",)]


def test_a_version_that_was_overtaken_is_not_waited_for() -> None:
    """The proxy never saw it, and never will."""
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1"), client, what="first")
    scene.publish(_snapshot("2"), client, what="second")
    scene.deliver(client)

    scene.ack(client)

    assert [report.what for report in scene.reports] == [("first",), ("second",)]


def test_who_disconnects_is_not_waited_for() -> None:
    scene, one, two = Scene(), Client("edge-1"), Client("edge-2")
    scene.publish(_snapshot("1"), one, two)
    scene.deliver(one, two)
    scene.ack(one)
    scene.progress.disconnected(two.proxy)

    assert [report.proxies for report in scene.reports] == [("edge-1",)]


def test_nothing_is_reported_when_all_who_were_asked_are_gone() -> None:
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1"), client)
    scene.progress.disconnected(client.proxy)

    assert scene.reports == []


def test_a_change_does_not_wait_for_what_it_removes() -> None:
    """Removals go last."""
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1", also="b"), client)
    scene.deliver(client)
    scene.ack(client)
    scene.publish(_snapshot("2"), client, what="second")
    scene.deliver(client)

    scene.ack(client)

    assert [(report.what, report.resources) for report in scene.reports[1:]] == [(("second",), {"Cluster": 1})]


def test_a_removal_alone_is_reported_when_it_was_acknowledged() -> None:
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1", also="b"), client)
    scene.deliver(client)
    scene.ack(client)
    scene.publish(_snapshot("1"), client, what="b deleted")

    scene.progress.acked(client.proxy, 1.0)  # of something else: the stream does not know of it yet
    assert len(scene.reports) == 1
    scene.deliver(client)
    scene.progress.acked(client.proxy, 1.0)  # it is on its way
    assert len(scene.reports) == 1
    scene.ack(client, 2.0)

    assert scene.reports[1:] == [Report("edge", ("b deleted",), {"Cluster": 1}, ("edge-1",), 2.0, removed=True)]


def test_a_change_that_is_refused_is_reported_as_that() -> None:
    """What takes its place is another change, and its acknowledgement no acknowledgement of this one."""
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1"), client, what="bad")
    scene.deliver(client)
    version = scene.snapshot.resources(TypeUrl.CLUSTER)["a"].version
    scene.progress.refused(client.proxy, TypeUrl.CLUSTER, {"a": "another"}, message="no", now=1.0)
    assert scene.reports == []
    scene.progress.refused(client.proxy, TypeUrl.CLUSTER, {"a": version}, message="no", now=1.0)
    scene.publish(_snapshot("0"), client, what="rollback")
    scene.deliver(client)
    scene.ack(client, 2.0)

    assert scene.reports[0] == Report("edge", ("bad",), {"Cluster": 1}, ("edge-1",), 1.0, refusal="no")
    assert all(report.what != ("bad",) for report in scene.reports[1:])


def test_a_proxy_that_never_answers_costs_a_bounded_amount() -> None:
    scene, client = Scene(), Client()
    for number in range(MOST + 50):
        scene.publish(_snapshot(str(number)), client)

    assert len(scene.progress._open) == MOST


def test_a_cause_is_as_old_as_its_first_change_and_is_taken_once() -> None:
    causes = Causes()
    causes.add("a", 1.0)
    causes.add("b", 2.0)
    causes.add("a", 3.0)

    taken = causes.take(9.0)

    assert taken == Cause(("a", "b"), 1.0)
    assert causes.take(9.0) == Cause((), 9.0)
    causes.put_back(taken)
    assert causes.take(9.0) == Cause(("a", "b"), 1.0)


# --- the fleet: what the status of a policy asks


def _fleet(scene: Scene, *clients: Client) -> Fleet:
    fleet = Fleet(lambda: [client.proxy for client in clients])
    fleet.published({"edge": scene.snapshot})
    fleet.survey()
    return fleet


def test_what_a_policy_asks_for_are_the_resources_that_it_is_an_origin_of() -> None:
    assert resources_by_policy(_snapshot("1", also="b")) == {POLICY: {(TypeUrl.CLUSTER, "a")}}


def test_a_policy_is_programmed_where_exactly_its_version_was_accepted() -> None:
    """Not while the stream has yet to hear of it: an ACK of the version before would count for the new one."""
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1"), client)
    scene.deliver(client)
    scene.ack(client)
    assert _fleet(scene, client).rollout(POLICY, ["edge"], None).programmed == 1

    scene.publish(_snapshot("2"), client)
    assert _fleet(scene, client).rollout(POLICY, ["edge"], None).programmed == 0
    scene.deliver(client)
    assert _fleet(scene, client).rollout(POLICY, ["edge"], None).programmed == 0
    scene.ack(client)
    assert _fleet(scene, client).rollout(POLICY, ["edge"], None).programmed == 1


def test_what_is_not_served_is_programmed_nowhere() -> None:
    scene, client = Scene(), Client()
    scene.publish(_snapshot("1"), client)
    scene.deliver(client)
    scene.ack(client)
    fleet = _fleet(scene, client)

    assert fleet.rollout(POLICY, ["edge"], None, served=False).programmed == 0
    refused = fleet.rollout(POLICY, ["edge"], Refusal("bad", "spec", {"edge-1"}))
    assert (refused.connected, refused.programmed, refused.rejected, refused.refusal) == (
        1,
        0,
        ("edge-1",),
        "bad (spec)",
    )


def test_only_proxies_of_the_policys_gateways_count() -> None:
    scene, client = Scene(), Client()

    assert _fleet(scene, client).rollout(POLICY, ["inner"], None).connected == 0
