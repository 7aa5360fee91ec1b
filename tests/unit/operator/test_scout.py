"""Proxies of a policy are asked once, all at the same time: who is slow is told to be silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.endpoints import scout as subject
from fairlead_operator.endpoints.admin import Page, Seen
from fairlead_operator.endpoints.scout import Scout
from fairlead_operator.endpoints.targets import Target
from fairlead_operator.loop import ControlPlane
from fairlead_xds.store import Store
from tests.support import manifests
from tests.support.manifests import Raw, endpoint

SHOP = Ref("LoadBalancerPolicy", "shop", "shop")


class Envoys:
    """Each answers with the same page, but those whose names begin with ``slow`` never do."""

    def __init__(self, page: Page) -> None:
        self.page, self.picked = page, list[Any]()

    async def clusters(self, target: Target, pick: Callable[[Page], Any]) -> Any:
        if target.name.startswith("slow"):
            await asyncio.Event().wait()
        self.picked.append(pick(self.page))
        return self.picked[-1]


#: A policy over one Service with one endpoint.
ONE = (
    manifests.service("a"),
    manifests.endpoint_slice("a", 8080, [endpoint("10.0.0.1")]),
    manifests.policy("shop", manifests.site(manifests.listener(8080), "a")),
)


async def survey(monkeypatch: pytest.MonkeyPatch, envoys: Envoys, *names: str, objects: Iterable[Raw] = ONE) -> Any:
    """Of the policy among *objects*."""
    monkeypatch.setattr(subject, "Pages", lambda: envoys)
    plane = ControlPlane(Store(), list)
    for raw in objects:
        plane.apply(raw)
    plane.synced()
    return await Scout(plane, lambda _keys: [Target(name, "edge", "http://x") for name in names]).survey(SHOP)


async def test_who_has_not_answered_when_the_time_is_over_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "WHOLE", 0.01)
    envoys = Envoys({"shop/a:80": {"10.0.0.1:8080": Seen(requests=3)}})
    async with asyncio.timeout(20):
        said = await survey(monkeypatch, envoys, "slow-1", "edge-1", "slow-2")
    assert said["proxies"] == {"asked": 3, "answered": 1, "silent": ["slow-1", "slow-2"]}
    assert [(one["address"], one["proxies"], one["requests"]) for one in said["endpoints"]] == [("10.0.0.1:8080", 1, 3)]


async def test_nothing_is_kept_but_what_was_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty of those who answer the largest page with anything would be a gigabyte."""
    mine = {"10.0.0.1:8080": Seen(ejected=True)}
    envoys = Envoys({"shop/a:80": {**mine, "10.0.0.9:8080": Seen()}, "shop/b:80": {"10.0.0.1:8080": Seen()}})
    said = await survey(monkeypatch, envoys, "edge-1")
    assert envoys.picked == [{"shop/a:80": mine}]
    assert said["endpoints"][0]["ejected"] == 1


async def test_a_hostname_of_a_backend_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoints = [{"hostname": "db.example", "port": 80, "weight": 3}, {"hostname": "db.example", "port": 81}]
    backend = {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"endpoints": endpoints},
    }
    route = {"name": "all", "backendRefs": [{"name": "db", "kind": "Backend"}]}
    policy = manifests.policy("shop", manifests.site(manifests.listener(8080), route))
    envoys = Envoys({"shop/backend/db": {"db.example:80": Seen(requests=2), "10.0.0.1:80": Seen(requests=2)}})
    said = await survey(monkeypatch, envoys, "edge-1", objects=(backend, policy))

    first, second = said["endpoints"]
    words = ("backend", "address", "weight", "health", "proxies", "requests")
    assert [first[name] for name in words] == ["shop/db", "db.example:80", 3, "Healthy", 1, 2]
    assert [second[name] for name in words] == ["shop/db", "db.example:81", 1, "Excluded", 0, 0]


async def test_of_no_policy_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "Pages", lambda: Envoys({}))
    with pytest.raises(KeyError):
        await Scout(ControlPlane(Store(), list), lambda _keys: []).survey(SHOP)
