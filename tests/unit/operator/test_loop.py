"""The two lanes with a real store, real streams and fake Envoys; no network, no waiting."""

from __future__ import annotations

import datetime
import random
from collections.abc import Iterator
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.loop import CONFIG_EAGER, CONFIG_LONGEST, CONFIG_QUIET, ControlPlane
from fairlead_operator.progress import Report
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import Client, DeltaClient, Refuse, SotwClient
from tests.support.key_pairs import pair
from tests.support.manifests import (
    NAMESPACE,
    Raw,
    attached,
    endpoint,
    endpoint_slice,
    listener,
    placed,
    policy,
    route,
    running_pod,
    secret,
    service,
)
from tests.support.manifests import site as site_of
from tests.support.wire import Wire
from tests.support.worlds import backend, bodies, policy_ref, snapshots

THEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Scene:
    """A control plane with its proxies."""

    def __init__(self, *objects: Raw) -> None:
        self.store = Store()
        self.wire = Wire(self.store)
        self.reports: list[Report] = []
        self.written: list[tuple[Ref, dict[str, Any]]] = []
        self.now = THEN
        self.plane = ControlPlane(
            self.store,
            self.wire.proxies,
            on_status=lambda ref, status: self.written.append((ref, status)),
            on_report=self.reports.append,
            now=lambda: self.now,
        )
        for raw in objects:
            self.plane.apply(raw)
        self.plane.synced()

    def connect(self, name: str = "edge-1", *, refuse: Refuse | None = None, sotw: bool = False) -> Client:
        variant = SotwClient if sotw else DeltaClient
        client = variant(name, "edge", refuse)
        self.wire.connect(self.plane.answers, client)
        self.settle()
        return client

    def settle(self) -> None:
        """Run every lane and deliver until nothing moves."""
        for _ in range(20):
            self.plane.run_endpoints()
            self.plane.run_config()
            self.wire.deliver()
            before = len(self.written)
            self.plane.run_status()
            if len(self.written) == before and self.plane._config.due() is None:
                return
        raise AssertionError("never settles")

    def apply(self, *objects: Raw) -> None:
        for raw in objects:
            self.plane.apply(raw)
        self.settle()

    def current(self) -> Snapshot:
        return self.store.current("edge")

    def told(self, name: str, condition: str = "Programmed") -> tuple[str, str]:
        status = self.plane.statuses[policy_ref(name)]
        (found,) = (entry for entry in status["conditions"] if entry["type"] == condition)
        return found["status"], found["reason"]

    def message(self, name: str) -> str:
        (found,) = (e for e in self.plane.statuses[policy_ref(name)]["conditions"] if e["type"] == "Programmed")
        return str(found["message"])


SITE = policy("site", site_of(listener(80), "web"))


def _bad_path(path: str) -> Refuse:
    """An Envoy that does not like tables in which this stands."""

    def refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
        return f"no {path}" if type_url is TypeUrl.ROUTE and path.encode() in body else None

    return refuse


def _site(name: str, port: int, path: str = "/", **fields: Any) -> Raw:
    spec = site_of(listener(80, f"{name}.com"), route("all", "web", matches=[{"path": {"value": path}}]))
    return policy(name, spec, **fields)


async def test_nothing_is_served_before_every_source_has_listed_once() -> None:
    store = Store()
    plane = ControlPlane(store, list)
    for raw in (SITE, *backend("web")):
        plane.apply(raw)

    before = (store.open, store.keys())
    plane.synced()

    assert before == (False, [])
    assert (store.open, store.keys()) == (True, ["edge"])
    assert bodies(store.current("edge")) == bodies(snapshots(plane.world)["edge"])


@pytest.mark.parametrize("sotw", [False, True], ids=["delta", "sotw"])
async def test_a_proxy_gets_everything_and_the_policy_is_programmed(*, sotw: bool) -> None:
    scene = Scene(SITE, *backend("web"))
    client = scene.connect(sotw=sotw)

    assert {(t, name) for t in TypeUrl for name in client.held[t]} == set(bodies(scene.current()))
    assert scene.told("site") == ("True", "Programmed")


@pytest.mark.parametrize("connected", [False, True])
async def test_a_change_waits_for_others_unless_a_proxy_waits_for_it(*, connected: bool) -> None:
    scene = Scene(SITE, *backend("web"))
    if connected:
        scene.connect()
    lane = scene.plane._config
    lane.ended(scene.plane._time() - 10 * CONFIG_LONGEST)

    scene.plane.apply(_site("other", 80))
    due, first = lane.due(), lane._first
    assert due is not None
    assert first is not None
    assert due - first == pytest.approx(CONFIG_EAGER if connected else CONFIG_QUIET)


async def test_the_endpoint_lane_touches_endpoints_only() -> None:
    scene = Scene(SITE, *backend("web"))
    client = scene.connect()
    before = dict(client.received)

    scene.plane.apply(endpoint_slice("web", 8080, [endpoint("10.0.0.1"), endpoint("10.0.0.2")]))
    scene.plane.run_endpoints()
    scene.wire.deliver()

    assert {t: client.received[t] - before[t] for t in TypeUrl} == {
        TypeUrl.CLUSTER: 0,
        TypeUrl.ENDPOINT: 1,
        TypeUrl.SECRET: 0,
        TypeUrl.LISTENER: 0,
        TypeUrl.ROUTE: 0,
    }
    assert bodies(scene.current()) == bodies(snapshots(scene.plane.world)["edge"])


async def test_a_side_that_dies_or_comes_alive_takes_the_routes_along() -> None:
    """The one case in which endpoints move routes."""
    spec = site_of(listener(80), route("all", {"web": 1, "other": 1}))
    scene = Scene(policy("site", spec), *backend("web"), service("other"))
    scene.connect()
    dead = scene.current().get(TypeUrl.ROUTE, "port-80/http")

    scene.apply(endpoint_slice("other", 8080, [endpoint("10.0.0.9")]))
    alive = scene.current().get(TypeUrl.ROUTE, "port-80/http")
    scene.apply(endpoint_slice("other", 8080, []))

    assert dead is not None
    assert alive is not None
    assert alive.version != dead.version
    again = scene.current().get(TypeUrl.ROUTE, "port-80/http")
    assert again is not None
    assert again.version == dead.version


def _events(chance: random.Random) -> Iterator[Raw]:
    for _ in range(60):
        name = chance.choice(["web", "other"])
        found = [
            endpoint(f"10.0.0.{i}", ready=chance.random() < 0.7, serving=True, terminating=chance.random() < 0.2)
            for i in chance.sample(range(1, 9), chance.randrange(4))
        ]
        yield endpoint_slice(name, 8080, found)


@pytest.mark.parametrize("seed", range(3))
async def test_after_any_events_everybody_has_what_a_full_rebuild_says(seed: int) -> None:
    """Endpoint lane, config lane, store, stream and client together lose nothing and leave nothing over."""
    chance = random.Random(seed)
    spec = site_of(listener(80), route("all", {"web": 1, "other": 1}))
    scene = Scene(policy("site", spec), *backend("web"), *backend("other"))
    clients = [scene.connect("edge-1"), scene.connect("edge-2", sotw=True)]

    for raw in _events(chance):
        scene.plane.apply(raw)
        if chance.random() < 0.3:
            scene.plane.run_endpoints()
        if chance.random() < 0.5:
            scene.wire.deliver()
    scene.settle()

    wanted = bodies(snapshots(scene.plane.world)["edge"])
    assert bodies(scene.current()) == wanted
    for client in clients:
        assert {(t, name): body for t in TypeUrl for name, body in client.bodies[t].items()} == wanted


async def test_what_cannot_be_read_changes_nothing_and_is_remembered_until_it_can() -> None:
    scene = Scene(SITE, *backend("web"))
    before = bodies(scene.current())
    ref = Ref("Service", NAMESPACE, "web")

    scene.apply(service("web") | {"spec": {"ports": "many"}})
    assert bodies(scene.current()) == before
    assert "spec.ports" in scene.plane.errors[ref]

    scene.apply(service("web"))
    assert scene.plane.errors == {}


async def test_a_deleted_policy_leaves_nothing() -> None:
    scene = Scene(SITE, *backend("web"))
    client = scene.connect()

    scene.plane.delete(policy_ref("site"))
    scene.settle()

    assert {t: held for t, held in client.held.items() if held} == {}
    assert scene.plane.statuses == {}


# --- status


async def test_a_status_is_handed_on_only_when_it_differs() -> None:
    scene = Scene(SITE, *backend("web"))
    scene.settle()
    assert [ref for ref, _ in scene.written] == [policy_ref("site")]

    scene.apply(service("unrelated"))
    assert len(scene.written) == 1


async def test_a_policy_that_loses_a_conflict_is_programmed_nowhere() -> None:
    """Although every proxy has all zero resources of it."""
    scene = Scene(policy("old", site_of(listener(80), "web"), age=9), SITE, *backend("web"))
    scene.connect()

    assert scene.told("site") == ("False", "NotAccepted")
    assert scene.plane.statuses[policy_ref("site")]["proxies"] == {
        "connected": 1,
        "programmed": 0,
        "rejected": 0,
        "summary": "0/1",
    }


async def test_an_attached_policy_is_programmed_by_acknowledgements_of_what_it_changes() -> None:
    over = policy("over", attached("web", loadBalancer={"type": "Random"}))
    scene = Scene(SITE, *backend("web"))

    def refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
        return "no Random" if type_url is TypeUrl.CLUSTER and b"Random" in body else None

    scene.connect(refuse=refuse)
    assert scene.told("site") == ("True", "Programmed")
    scene.apply(over)

    assert scene.told("over") == ("False", "Rejected")
    assert "no Random" in scene.message("over")
    assert scene.told("site") == ("True", "Programmed")


async def test_an_attached_policy_that_nobody_uses_says_so() -> None:
    scene = Scene(SITE, *backend("web"), *backend("other"), policy("over", attached("other", endpoints={})))
    scene.connect()

    assert scene.told("over") == ("False", "NotUsed")


# --- refusals


async def test_a_refused_policy_is_told_in_envoys_words_and_the_others_move_on() -> None:
    scene = Scene(_site("good", 80), *backend("web"))
    client = scene.connect(refuse=_bad_path("/bad"))

    scene.apply(_site("broken", 80, "/bad"))
    assert scene.told("broken") == ("False", "Rejected")
    assert "refused by edge-1: no /bad" in scene.message("broken")

    scene.apply(_site("late", 80))
    assert scene.told("good") == scene.told("late") == ("True", "Programmed")
    assert b"late.com" in client.bodies[TypeUrl.ROUTE]["port-80/http"]


async def test_a_corrected_policy_is_served_at_once() -> None:
    scene = Scene(_site("site", 80, "/bad", generation=1), *backend("web"))
    scene.connect(refuse=_bad_path("/bad"))
    assert scene.told("site") == ("False", "Rejected")

    scene.apply(_site("site", 80, "/fine", generation=2))
    assert scene.told("site") == ("True", "Programmed")


async def test_a_bad_edit_keeps_the_form_before_also_for_new_proxies() -> None:
    scene = Scene(_site("site", 80, "/fine", generation=1), *backend("web"))
    scene.connect("edge-1", refuse=_bad_path("/bad"))
    before = bodies(scene.current())

    scene.apply(_site("site", 80, "/bad", generation=2))
    newcomer = scene.connect("edge-2", refuse=_bad_path("/bad"))

    assert bodies(scene.current()) == before
    assert b"/fine" in newcomer.bodies[TypeUrl.ROUTE]["port-80/http"]
    assert scene.told("site") == ("False", "Rejected")


async def test_a_form_that_every_proxy_has_is_kept_before_its_status_was_told() -> None:
    scene = Scene(_site("site", 80, "/first", generation=1), *backend("web"))
    scene.connect("edge-1", refuse=_bad_path("/bad"))
    scene.plane.apply(_site("site", 80, "/second", generation=2))
    scene.plane.run_config()
    scene.wire.deliver()  # acknowledged, and the status lane holds off
    before = bodies(scene.current())

    scene.apply(_site("site", 80, "/bad", generation=3))

    assert bodies(scene.current()) == before
    assert scene.told("site") == ("False", "Rejected")


async def test_a_form_that_a_proxy_lacks_still_is_not_what_a_bad_edit_falls_back_to() -> None:
    scene = Scene(_site("site", 80, "/first", generation=1), *backend("web"))
    scene.connect("edge-1", refuse=_bad_path("/bad"))
    before = bodies(scene.current())
    scene.plane.apply(_site("site", 80, "/second", generation=2))
    scene.plane.run_config()  # not delivered

    scene.apply(_site("site", 80, "/bad", generation=3))

    assert bodies(scene.current()) == before


async def test_a_refused_policy_keeps_its_port_from_a_younger_one() -> None:
    """The two do not swap when it is mended: the younger has never had the port."""
    scene = Scene(*backend("web"))
    client = scene.connect(refuse=_bad_path("/bad"))
    younger = policy("younger", site_of(listener(80, "site.com"), "web"), age=1)

    scene.apply(_site("site", 80, "/bad", age=9))
    scene.apply(younger)
    assert scene.told("site") == ("False", "Rejected")
    assert scene.told("younger", "Accepted") == ("False", "Conflicted")
    assert client.held[TypeUrl.LISTENER] == {}

    scene.apply(_site("site", 80, "/fine", age=9, generation=2))
    assert scene.told("site") == ("True", "Programmed")
    assert scene.told("younger", "Accepted") == ("False", "Conflicted")


async def test_of_several_new_policies_only_the_bad_one_is_held() -> None:
    """They arrive together, so the refused table names them all: each is tried alone."""
    scene = Scene(*backend("web"))
    scene.connect(refuse=_bad_path("/bad"))

    scene.apply(_site("a", 80), _site("b", 80, "/bad"), _site("c", 80), _site("d", 80))

    assert {name: scene.told(name)[1] for name in "abcd"} == {
        "a": "Programmed",
        "b": "Rejected",
        "c": "Programmed",
        "d": "Programmed",
    }


async def test_a_form_that_others_have_is_told_where_one_proxy_refuses_it() -> None:
    """An older Envoy, a port that is taken on its machine: it keeps what it has, and nobody else loses anything."""
    scene = Scene(_site("site", 80, "/new"), *backend("web"))
    first = scene.connect("edge-1")
    before = bodies(scene.current())
    second = scene.connect("edge-2", refuse=_bad_path("/new"))

    assert scene.told("site") == ("False", "Rejected")
    assert scene.message("site").startswith("1/2 proxies; refused by edge-2: no /new")
    assert bodies(scene.current()) == before
    assert b"/new" in first.bodies[TypeUrl.ROUTE]["port-80/http"]

    second.refuse = None
    scene.apply(_site("site", 80, "/newer", generation=2))
    assert scene.told("site") == ("True", "Programmed")


async def test_a_proxy_that_refused_and_is_gone_is_not_told_of_any_more() -> None:
    scene = Scene(_site("site", 80, "/new"), *backend("web"))
    scene.connect("edge-1")
    scene.connect("edge-2", refuse=_bad_path("/new"))
    scene.wire.disconnect(scene.plane.answers, "edge-2")
    scene.settle()

    assert scene.told("site") == ("True", "Programmed")


async def test_refused_endpoints_are_told_to_the_policies_that_lead_there() -> None:
    scene = Scene(_site("site", 80), _site("bystander", 81), *backend("web"))

    def refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
        return "bad address" if type_url is TypeUrl.ENDPOINT and b"10.66.6.6" in body else None

    scene.connect(refuse=refuse)
    good = endpoint_slice("web", 8080, [endpoint("10.0.0.1")])
    scene.apply(endpoint_slice("web", 8080, [endpoint("10.66.6.6")]))

    assert scene.told("site") == ("False", "Rejected")
    assert "refused by edge-1: bad address" in scene.message("site")
    scene.apply(good)
    assert scene.told("site") == ("True", "Programmed")


async def test_a_refused_change_is_no_acknowledged_one() -> None:
    scene = Scene(_site("site", 80, "/fine"), *backend("web"))
    scene.connect(refuse=_bad_path("/bad"))
    scene.reports.clear()
    scene.apply(_site("site", 80, "/bad", generation=2))

    (report,) = scene.reports  # nothing was sent in its place: the proxy has kept what it had
    assert (report.proxies, report.refusal) == (("edge-1",), "no /bad")
    scene.apply(_site("site", 80, "/finer", generation=3))
    assert [report.what for report in scene.reports[1:]] == [("LoadBalancerPolicy shop/site",)]


async def test_a_deleted_policy_that_comes_back_is_judged_anew() -> None:
    """Its generation is 1 again: neither the refusal nor the acceptance of the old one counts."""
    scene = Scene(_site("site", 80, "/bad"), *backend("web"))
    scene.connect(refuse=_bad_path("/bad"))

    scene.plane.delete(policy_ref("site"))
    scene.plane.apply(_site("site", 80, "/fine"))
    scene.settle()
    assert scene.told("site") == ("True", "Programmed")

    scene.plane.delete(policy_ref("site"))
    scene.plane.apply(_site("site", 80, "/bad"))
    scene.settle()
    assert scene.told("site") == ("False", "Rejected")


# --- progress


@pytest.mark.parametrize("sotw", [False, True], ids=["delta", "sotw"])
async def test_the_end_of_the_last_policy_of_a_gateway_is_reported(*, sotw: bool) -> None:
    scene = Scene(SITE, *backend("web"))
    client = scene.connect(sotw=sotw)
    scene.reports.clear()

    scene.plane.delete(policy_ref("site"))
    scene.settle()

    assert client.held[TypeUrl.LISTENER] == {}
    (report,) = scene.reports
    assert (report.what, report.removed) == (("LoadBalancerPolicy shop/site deleted",), True)


async def test_each_change_is_named_by_the_lane_that_takes_it_in() -> None:
    """Endpoints go at once; what waits for quiet meanwhile keeps its name."""
    scene = Scene(SITE, *backend("web"))
    scene.connect()
    scene.reports.clear()

    scene.plane.apply(_site("late", 80))
    scene.plane.apply(endpoint_slice("web", 8080, [endpoint("10.0.0.7")]))
    scene.settle()

    assert sorted((report.what, *report.resources) for report in scene.reports) == [
        (("EndpointSlice shop/web",), "ClusterLoadAssignment"),
        (("LoadBalancerPolicy shop/late",), "RouteConfiguration"),
    ]


async def test_a_change_is_reported_when_every_proxy_has_it() -> None:
    scene = Scene(SITE, *backend("web"))
    scene.connect("edge-1")
    scene.connect("edge-2", sotw=True)
    scene.reports.clear()

    scene.apply(endpoint_slice("web", 8080, [endpoint("10.0.0.7")]))

    (report,) = scene.reports
    assert report.what == ("EndpointSlice shop/web",)
    assert report.resources == {"ClusterLoadAssignment": 1}
    assert sorted(report.proxies) == ["edge-1", "edge-2"]


async def test_an_endpoint_that_was_held_back_is_judged_again_when_its_time_has_come() -> None:
    """Nothing is heard of it meanwhile; a wall clock that stands still ends nothing."""
    began = THEN.timestamp()
    addresses = [placed(endpoint(f"10.0.0.{number}"), pod=f"web-{number}") for number in (1, 2)]
    scene = Scene(SITE, service("web"), endpoint_slice("web", 8080, addresses))
    scene.apply(running_pod("web-2", restarts=3, started=began))

    def degraded() -> int:
        scene.settle()
        return int(scene.plane.statuses[policy_ref("site")]["endpoints"]["degraded"])

    assert degraded() == 1
    scene.plane._run_due()
    assert degraded() == 1
    assert scene.plane._next_turn() is not None
    scene.now = THEN + datetime.timedelta(seconds=30)
    scene.plane._run_due()
    assert degraded() == 0
    assert scene.plane._next_turn() is None
    assert bodies(scene.current()) == bodies(snapshots(scene.plane.world)["edge"])


async def test_a_certificate_that_ends_is_told_though_nothing_is_heard_of_it() -> None:
    ends = THEN + datetime.timedelta(hours=1)
    scene = Scene(
        policy("site", site_of(listener(443, secret="tls"), "web")),
        *backend("web"),
        secret("tls", *pair("a.com", ends)),
    )
    scene.settle()
    assert scene.told("site", "ResolvedRefs")[0] == "True"
    scene.now = ends - datetime.timedelta(seconds=1)
    scene.plane._run_due()
    assert scene.plane._config.due() is None

    scene.now = ends
    scene.plane._run_due()
    assert scene.plane._config.due() is not None
    scene.settle()
    assert scene.told("site", "ResolvedRefs") == ("False", "CertificateExpired")


async def test_changes_that_put_off_what_is_due_leave_the_timer_as_it_is() -> None:
    """It comes sooner then, and looks again: nothing that is due is forgotten, and a burst makes no timers."""
    scene = Scene(SITE, service("web"), endpoint_slice("web", 8080, [endpoint("10.0.0.1")]))
    scene.connect()
    scene.plane._run_due()
    timers = []
    for number in range(2, 6):
        scene.plane.apply(endpoint_slice("web", 8080, [endpoint(f"10.0.0.{number}")]))
        timers.append(scene.plane._timer)
    assert timers[1] is timers[2] is timers[3]  # the first change reaches proxies at once, the second begins a wait
    scene.plane._came()  # as the timer does
    dues = (scene.plane._endpoints.due(), scene.plane._status.due())
    assert scene.plane._comes == min(due for due in dues if due is not None)
    assert scene.plane._timer is not None
    assert scene.plane._timer is not timers[3]
