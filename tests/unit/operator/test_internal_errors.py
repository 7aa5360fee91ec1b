"""A mistake of ours that one policy brings to light costs that policy alone, keeps what it had, and is told once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from fairlead_operator import advice, bindings, placing, reconcile, resolve_captured, statuses
from fairlead_operator.loop import ControlPlane
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from tests.support.manifests import (
    NAMESPACE,
    Raw,
    attached,
    endpoint,
    endpoint_slice,
    listener,
    pod,
    policy,
    route,
    service,
    site,
)
from tests.support.worlds import backend, bodies, policy_ref, snapshots, world_of

BAD = policy("bad", site(listener(80, "bad.com"), "web"), age=1)
GOOD = policy("good", site(listener(80, "good.com"), "other"))
BACKENDS = [*backend("web", "10.0.0.1"), *backend("other", "10.0.0.9")]


class Plane:
    def __init__(self, *objects: Raw) -> None:
        self.store = Store()
        self.plane = ControlPlane(self.store, list)
        for raw in objects:
            self.plane.apply(raw)
        self.plane.synced()
        self.plane.run_status()

    def apply(self, *objects: Raw) -> None:
        for raw in objects:
            self.plane.apply(raw)
        self.plane.run_endpoints()
        self.plane.run_config()
        self.plane.run_status()

    def told(self, name: str, condition: str = "Accepted") -> tuple[str, str]:
        conditions = self.plane.statuses[policy_ref(name)]["conditions"]
        (found,) = (entry for entry in conditions if entry["type"] == condition)
        return found["status"], found["reason"]

    def hosts(self) -> set[str]:
        table = self.store.current("edge").get(TypeUrl.ROUTE, "port-80/http")
        return {name for name in ("bad.com", "good.com") if table is not None and name.encode() in table.body}

    def addresses(self) -> set[str]:
        found = self.store.current("edge").resources(TypeUrl.ENDPOINT).values()
        return {a for a in ("10.0.0.1", "10.0.0.2", "10.0.0.9", "10.0.0.10") for one in found if a.encode() in one.body}


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make a function of a module raise where *wanted* says so of its arguments."""

    def break_it(module: Any, name: str, wanted: Callable[..., bool]) -> None:
        whole = getattr(module, name)

        def raises(*args: Any, **named: Any) -> Any:
            if wanted(*args, **named):
                raise ZeroDivisionError("by no means")
            return whole(*args, **named)

        monkeypatch.setattr(module, name, raises)

    return break_it


def _of_bad(_world: object, policy: Any, *_args: object) -> bool:
    return bool(policy.ref.name == "bad")


async def test_a_policy_that_cannot_be_resolved_stops_nobody(broken: Callable[..., None]) -> None:
    broken(placing, "resolve", _of_bad)
    scene = Plane(BAD, GOOD, *BACKENDS)

    assert scene.hosts() == {"good.com"}
    assert scene.told("good") == ("True", "Accepted")
    assert scene.told("bad") == ("False", "InternalError")
    assert "ZeroDivisionError" in str(scene.plane.statuses[policy_ref("bad")]["conditions"])


async def test_it_keeps_what_was_served_of_it_and_its_endpoints_move_on(broken: Callable[..., None]) -> None:
    scene = Plane(BAD, GOOD, *BACKENDS)
    assert scene.hosts() == {"bad.com", "good.com"}

    broken(placing, "resolve", _of_bad)
    moved = policy("bad", site(listener(81, "bad.com"), "web"), age=1, generation=2)
    scene.apply(moved, endpoint_slice("web", 8080, [endpoint("10.0.0.2")]))
    scene.apply()  # what is kept is kept from one run to the next

    assert scene.hosts() == {"bad.com", "good.com"}
    assert scene.addresses() == {"10.0.0.2", "10.0.0.9"}
    assert scene.told("bad") == ("False", "InternalError")


async def test_it_is_as_if_nothing_had_been_once_it_can_be_resolved(
    broken: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Plane(BAD, GOOD, *BACKENDS)
    broken(placing, "resolve", _of_bad)
    scene.apply(policy("bad", site(listener(81, "bad.com"), "web"), age=1, generation=2))
    monkeypatch.undo()
    scene.apply()

    assert scene.told("bad") == ("True", "Accepted")
    assert bodies(scene.store.current("edge")) == bodies(snapshots(scene.plane.world)["edge"])


async def test_endpoints_that_cannot_be_judged_stay_and_stop_nobody(broken: Callable[..., None]) -> None:
    scene = Plane(BAD, GOOD, *BACKENDS)

    broken(bindings, "_assess", lambda _world, source, *_args: source.name == "web")
    scene.apply(
        endpoint_slice("web", 8080, [endpoint("10.0.0.2")]), endpoint_slice("other", 8080, [endpoint("10.0.0.10")])
    )

    assert scene.hosts() == {"bad.com", "good.com"}
    assert scene.addresses() == {"10.0.0.1", "10.0.0.10"}
    assert scene.told("bad", "Degraded") == ("True", "InternalError")
    assert scene.told("good", "Degraded")[0] == "False"


async def test_a_status_that_cannot_be_computed_stops_nobody_and_the_one_before_stands(
    broken: Callable[..., None],
) -> None:
    scene = Plane(BAD, GOOD, *BACKENDS)
    broken(statuses, "status", lambda subject, *_args, **_named: subject.generation == 2)
    scene.apply(
        policy("bad", site(listener(80, "bad.com"), "web"), age=1, generation=2),
        policy("good", site(listener(80, "good.com"), "web"), generation=3),
        policy("new", site(listener(80, "new.com"), "web"), generation=2),
    )

    found = scene.plane.statuses
    assert scene.told("bad") == ("True", "Accepted")
    assert scene.told("bad", "Degraded") == scene.told("new", "Degraded") == ("True", "InternalError")
    assert found[policy_ref("bad")]["observedGeneration"] == 1
    assert found[policy_ref("good")]["observedGeneration"] == 3


def test_a_captured_service_that_cannot_be_resolved_is_left_to_kubernetes(broken: Callable[..., None]) -> None:
    broken(resolve_captured, "explicit", lambda _world, binding, _check: binding.source.name == "web")
    balancer = {"loadBalancer": {"type": "RoundRobin"}}
    annotations = {"fairlead.dev/mode": "Capture", "fairlead.dev/captured": "10.96.0.1:80,10.96.0.2:80"}
    done = reconcile.reconcile(
        world_of(
            _captured("web", "10.96.0.1"),
            _captured("other", "10.96.0.2"),
            policy("bad", attached("web", **balancer)),
            policy("good", attached("other", **balancer)),
            pod("caller", {"app": "caller"}, annotations=annotations),
        )
    )

    (config,) = done.proxies.values()
    assert [chain.address for chain in config.captured[0].chains] == ["10.96.0.2"]
    assert [problem.reason for problem in done.findings[policy_ref("bad")].degraded] == ["InternalError"]
    assert [problem.reason for problem in done.findings[policy_ref("good")].degraded] == ["NoEndpoints"]


def _captured(name: str, ip: str) -> Raw:
    return service(name) | {"spec": {"clusterIPs": [ip], "ports": [{"port": 80}]}}


async def test_each_mistake_is_logged_once_with_its_traceback(
    broken: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    broken(placing, "resolve", _of_bad)
    with caplog.at_level(logging.ERROR):
        scene = Plane(BAD, GOOD, *BACKENDS)
        scene.apply()

    (told,) = caplog.records
    assert f"LoadBalancerPolicy {NAMESPACE}/bad" in told.getMessage()
    assert (told.exc_info or (None,))[0] is ZeroDivisionError


def test_an_attached_policy_whose_endpoints_cannot_be_looked_at_is_told(broken: Callable[..., None]) -> None:
    broken(advice, "without_endpoints", lambda _world, binding: binding.source.name == "web")
    refs = [route("web", "web"), route("other", "other")]
    balancer = {"loadBalancer": {"type": "RoundRobin"}}
    over = [policy(name, attached(name, **balancer)) for name in ("web", "other")]
    done = reconcile.reconcile(
        world_of(policy("site", site(listener(80), refs)), *backend("web"), *backend("other"), *over)
    )

    assert [problem.reason for problem in done.findings[policy_ref("web")].degraded] == ["InternalError"]
    assert done.findings[policy_ref("other")].degraded == done.findings[policy_ref("site")].degraded == ()


async def test_what_is_kept_may_be_of_an_attached_policy_that_is_gone(broken: Callable[..., None]) -> None:
    """Nobody is left to be told; the others go on."""
    spec = site(listener(80, "bad.com"), "web") | {"healthCheck": {"passive": {}}}
    over = policy("over", attached("web", loadBalancer={"type": "Random"}))
    scene = Plane(policy("bad", spec, age=1), GOOD, over, *BACKENDS)
    broken(bindings, "_assess", lambda _world, source, *_: source.name == "web")
    scene.apply(endpoint_slice("web", 8080, [endpoint("10.0.0.2")]))
    assert scene.told("bad", "Degraded") == ("True", "InternalError")
    scene.plane.delete(policy_ref("over"))
    scene.apply(endpoint_slice("other", 8080, [endpoint("10.0.0.10")]))

    assert "10.0.0.10" in scene.addresses()
    assert scene.told("good")[0] == "True"
