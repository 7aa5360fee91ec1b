"""A refusal that pods, not policies, have caused ends when the pods are others, and not before; real streams, fake Envoys."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from fairlead_operator import reconcile as reconciling
from fairlead_operator.quarantine import Cluster
from fairlead_operator.reconcile import Held, reconcile
from fairlead_operator.second_chance import judge
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.translate import translate
from tests.support.manifests import (
    Raw,
    attached,
    endpoint,
    endpoint_slice,
    listener,
    placed,
    policy,
    running_pod,
    service,
)
from tests.support.manifests import site as site_of
from tests.support.worlds import policy_ref, service_ref, world_of
from tests.unit.operator.test_loop import Scene

ASKS: dict[str, Any] = {"healthCheck": {"active": {"type": "ReadinessProbe"}}}
GOOD, BAD, WORSE = "/healthz", "/bad", "/bad/worse"


def _pod(path: str, name: str = "web-1") -> Raw:
    probe = {"httpGet": {"path": path, "port": 8080}}
    return running_pod(name) | {"spec": {"containers": [{"name": "web", "readinessProbe": probe}]}}


def _backend(path: str, name: str = "web") -> list[Raw]:
    """A Service with a pod that is asked at *path*."""
    one = placed(endpoint("10.0.0.1"), pod=f"{name}-1")
    return [service(name), endpoint_slice(name, 8080, [one]), _pod(path, f"{name}-1")]


def _asks(name: str = "site", **fields: Any) -> Raw:
    return policy(name, site_of(listener(80, f"{name}.com"), "web", **ASKS), **fields)


def _plain(name: str = "site", **fields: Any) -> Raw:
    return policy(name, site_of(listener(80, f"{name}.com"), "web"), **fields)


def _refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
    """An Envoy that does not like clusters that ask there."""
    return f"no {BAD}" if type_url is TypeUrl.CLUSTER and BAD.encode() in body else None


class Counted(Scene):
    """A scene in which the config lane runs only where it is due, and that counts what clusters are sent."""

    def settle(self) -> None:
        for _ in range(40):
            self.plane._endpoints._ready_at = float("-inf")
            if self.plane._services:
                self.plane.run_endpoints()
            if self.plane._config.due() is not None:
                self.plane.run_config()
            self.wire.deliver()
            before = len(self.written)
            self.plane.run_status()
            if len(self.written) == before and self.plane._config.due() is None:
                return
        raise AssertionError("never settles")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One for each full computation."""
    found: list[None] = []
    real = reconciling.reconcile

    def counted(*args: Any, **kwargs: Any) -> Any:
        found.append(None)
        return real(*args, **kwargs)

    monkeypatch.setattr(reconciling, "reconcile", counted)
    return found


@pytest.mark.parametrize("sotw", [False, True], ids=["delta", "sotw"])
async def test_pods_that_are_repaired_end_the_refusal_without_an_edit(*, sotw: bool) -> None:
    scene = Counted(_asks(), *_backend(BAD))
    client = scene.connect(refuse=_refuse, sotw=sotw)
    assert scene.told("site") == ("False", "Rejected")
    assert client.held[TypeUrl.LISTENER] == {}

    scene.apply(_pod(GOOD))

    assert scene.told("site") == ("True", "Programmed")
    assert scene.message("site") == "1/1 proxies have acknowledged generation 1"
    (body,) = client.bodies[TypeUrl.CLUSTER].values()
    assert GOOD.encode() in body
    assert client.held[TypeUrl.LISTENER]


async def test_what_others_change_sends_nothing_again_and_computes_nothing(runs: list[None]) -> None:
    scene = Counted(_asks(), *_backend(BAD), *_backend(GOOD, "other"))
    client = scene.connect(refuse=_refuse)
    received, before = dict(client.received), len(runs)

    scene.apply(endpoint_slice("other", 8080, [endpoint("10.0.0.7")]), _pod(BAD, "other-1"))
    scene.apply(endpoint_slice("web", 8080, [placed(endpoint("10.0.0.9"), pod="web-1")]))
    assert len(runs) == before

    scene.apply(service("third"), policy("third", site_of(listener(80, "third.com"), "third")))
    assert client.received[TypeUrl.CLUSTER] == received[TypeUrl.CLUSTER] + 1  # the third's
    assert scene.told("site") == ("False", "Rejected")
    assert "refused by edge-1" in scene.message("site")


async def test_nothing_is_computed_twice_while_nothing_is_refused(runs: list[None]) -> None:
    scene = Counted(_asks(), *_backend(GOOD))
    scene.connect(refuse=_refuse)
    before = len(runs)

    scene.plane.run_config()
    assert len(runs) == before + 1


async def test_an_older_form_is_served_until_the_pods_are_repaired() -> None:
    scene = Counted(_plain(generation=1), *_backend(BAD))
    client = scene.connect(refuse=_refuse)
    (before,) = client.bodies[TypeUrl.CLUSTER].values()
    scene.apply(_asks(generation=2))
    assert scene.told("site") == ("False", "Rejected")
    assert list(client.bodies[TypeUrl.CLUSTER].values()) == [before]

    scene.apply(_pod(GOOD))

    assert scene.told("site") == ("True", "Programmed")
    assert any(GOOD.encode() in body for body in client.bodies[TypeUrl.CLUSTER].values())


async def test_an_attached_policy_that_asks_is_tried_again_too() -> None:
    scene = Counted(_plain(), *_backend(BAD))
    client = scene.connect(refuse=_refuse)
    scene.apply(policy("over", attached("web", **ASKS)))
    assert scene.told("over") == ("False", "Rejected")
    assert scene.told("site") == ("True", "Programmed")

    scene.apply(_pod(GOOD))

    assert scene.told("over") == ("True", "Programmed")
    assert any(GOOD.encode() in body for body in client.bodies[TypeUrl.CLUSTER].values())


async def test_whatever_was_refused_once_is_not_sent_again() -> None:
    """From one bad template to another, and back: each is tried once. What is served for an instant is no acceptance."""
    scene = Counted(_asks(), *_backend(BAD))
    seen: list[bytes] = []

    def refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
        if type_url is TypeUrl.CLUSTER:
            seen.append(body)
        return _refuse(type_url, name, body)

    scene.connect(refuse=refuse)
    for path in (WORSE, BAD, WORSE):
        scene.apply(_pod(path))
        assert scene.told("site") == ("False", "Rejected")

    assert len(seen) == len(set(seen)) == 2
    scene.apply(_pod(GOOD))
    assert scene.told("site") == ("True", "Programmed")


async def test_a_form_that_is_as_before_before_anybody_answered_is_refused_as_before() -> None:
    """Nobody refuses the same bytes twice aloud: without that it would be pending for ever."""
    scene = Counted(_asks(), *_backend(BAD))
    scene.connect(refuse=_refuse)
    scene.plane.apply(_pod(GOOD))
    scene.plane.run_endpoints()
    assert any(GOOD.encode() in one.body for one in scene.current().resources(TypeUrl.CLUSTER).values())

    scene.apply(_pod(BAD))  # not delivered meanwhile

    assert scene.told("site") == ("False", "Rejected")
    assert scene.current().resources(TypeUrl.CLUSTER) == {}


async def test_policies_that_share_the_refused_cluster_are_refused_and_come_back_together() -> None:
    scene = Counted(*_backend(BAD))
    client = scene.connect(refuse=_refuse)
    scene.apply(_asks("a"), _asks("b"), _plain("c"))
    assert {name: scene.told(name)[1] for name in "abc"} == {"a": "Rejected", "b": "Rejected", "c": "Programmed"}
    received = client.received[TypeUrl.CLUSTER]

    scene.apply(_pod(GOOD))

    assert {scene.told(name)[1] for name in "abc"} == {"Programmed"}
    assert client.received[TypeUrl.CLUSTER] == received + 1


async def test_a_suspect_that_waits_for_its_trial_waits_no_longer_than_the_cause() -> None:
    """Nobody leads to the attached one while it is tried, and so nobody ever answers."""
    scene = Counted(*_backend(BAD))
    scene.connect(refuse=_refuse)
    scene.apply(policy("over", attached("web", **ASKS)), _plain())

    scene.apply(_pod(GOOD))

    assert scene.told("over") == scene.told("site") == ("True", "Programmed")


async def test_a_refused_table_is_not_sent_again_because_pods_change() -> None:
    scene = Counted(_asks(), *_backend(GOOD))
    seen: list[bytes] = []

    def refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
        if type_url is TypeUrl.ROUTE:
            seen.append(body)
        return "no route" if type_url is TypeUrl.ROUTE else None

    scene.connect(refuse=refuse)
    assert scene.told("site") == ("False", "Rejected")
    before = len(seen)

    scene.apply(_pod("/elsewhere"))
    scene.plane.run_config()
    scene.settle()

    assert scene.told("site") == ("False", "Rejected")
    assert len(seen) == before


async def test_a_deployment_is_followed_until_most_of_its_pods_are_repaired() -> None:
    pods = [f"web-{number}" for number in range(3)]
    entries = [placed(endpoint(f"10.0.0.{number}"), pod=pod) for number, pod in enumerate(pods, start=1)]
    scene = Counted(_asks(), service("web"), endpoint_slice("web", 8080, entries), *(_pod(BAD, one) for one in pods))
    scene.connect(refuse=_refuse)

    scene.apply(_pod(GOOD, pods[0]))
    assert scene.told("site") == ("False", "Rejected")
    scene.apply(_pod(GOOD, pods[1]))
    assert scene.told("site") == ("True", "Programmed")


async def test_a_service_that_goes_takes_the_refusal_along() -> None:
    scene = Counted(_asks(), *_backend(BAD))
    scene.connect(refuse=_refuse)
    scene.plane.delete(service_ref("web"))
    scene.settle()

    assert scene.told("site") == ("True", "Programmed")
    assert scene.told("site", "ResolvedRefs") == ("False", "BackendNotFound")


async def test_each_refusal_ends_with_its_own_cause() -> None:
    other = policy("other", site_of(listener(80, "other.com"), "other", **ASKS))
    scene = Counted(*_backend(BAD), *_backend(BAD, "other"))
    client = scene.connect(refuse=_refuse)
    scene.apply(_asks(), other)
    assert scene.told("site") == scene.told("other") == ("False", "Rejected")

    scene.apply(_pod(GOOD))
    assert scene.told("site") == ("True", "Programmed")
    assert scene.told("other") == ("False", "Rejected")
    received = client.received[TypeUrl.CLUSTER]

    scene.apply(_pod(GOOD, "other-1"))
    assert scene.told("site") == scene.told("other") == ("True", "Programmed")
    assert client.received[TypeUrl.CLUSTER] == received + 1


async def test_a_second_proxy_that_refuses_is_named_and_comes_back_too() -> None:
    scene = Counted(_asks(), *_backend(GOOD))
    clients = [scene.connect(f"edge-{number}", refuse=_refuse) for number in (1, 2)]
    scene.apply(_pod(BAD), _asks(generation=2))

    scene.apply(_pod(GOOD))

    assert scene.told("site") == ("True", "Programmed")
    assert all(GOOD.encode() in body for client in clients for body in client.bodies[TypeUrl.CLUSTER].values())


# --- what would be served


def test_what_one_policy_would_bring_depends_on_whether_the_other_is_held() -> None:
    """With the attached one, the inline one would bring another cluster; but that one is still as it was refused."""
    world = world_of(_plain(), policy("over", attached("web", **ASKS)), *_backend(BAD))
    site, over = (policy_ref("site"), 1), (policy_ref("over"), 1)

    def brought(held: Held) -> set[Cluster]:
        backends = translate(reconcile(world, held).proxies["edge"]).resources(TypeUrl.CLUSTER)
        return {Cluster(one.name, one.version) for one in backends.values()}

    both, alone = brought({}), brought({over[0]: None})
    assert both.isdisjoint(alone)
    found = judge({site: alone, over: both}, {site[0]: None, over[0]: None}, partial(reconcile, world))

    assert found.still == {site, over}
    assert judge({site: alone}, {site[0]: None}, partial(reconcile, world)).still == set()
