"""The roles of the chart and the operator's work are one and the same: with them all of it succeeds, and none is left over.

The operator runs as its service account; every request of its is recorded on the way to the API server.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from tests.support.installed import Installed, installed
from tests.support.kube import ApiError, Cluster
from tests.support.operating import Site, endpoint
from tests.support.rights import Right, asked

Json = dict[str, Any]

pytestmark = pytest.mark.timeout(180)


def used(answers: Iterable[tuple[str, str, int]]) -> set[Right]:
    """The rights without which these requests would have failed. Server-side apply that makes an object needs two."""
    found = set()
    for method, url, status in answers:
        right = asked(method, url)
        if right is None or status in {401, 403}:
            continue
        found.add(right)
        if (method, status) == ("PATCH", 201):
            found.add(Right("create", right.resource, right.name, right.namespace))
    return found


def needed(rights: set[Right], requests: set[Right]) -> set[Right]:
    """Those of *rights* without which one of *requests* would be refused: no other one covers it."""
    result = set()
    for request in requests:
        covering = [right for right in rights if right.covers(request)]
        if len(covering) == 1:
            result.add(covering[0])
    return result


def test_used_and_needed_are_understood() -> None:
    """The measure itself: a request that two rights cover shows neither to be needed."""
    everywhere, by_name = Right("patch", "configmaps", "a"), Right("patch", "configmaps", namespace="n")
    answers = [
        ("PATCH", "/api/v1/namespaces/n/configmaps/a", 200),
        ("PATCH", "/api/v1/namespaces/n/configmaps/b", 201),
        ("GET", "/api/v1/pods", 403),
    ]
    requests = used(answers)

    assert requests == {
        Right("patch", "configmaps", "a", "n"),
        Right("patch", "configmaps", "b", "n"),
        Right("create", "configmaps", "b", "n"),
    }
    assert needed({everywhere, by_name}, requests) == {by_name}


async def test_every_right_is_needed_and_none_is_missing(kube: Cluster, namespace: str, tmp_path: Path) -> None:
    with kube.namespace(f"{namespace}-shop") as shop:
        async with installed(kube, namespace, tmp_path) as release:
            site = Site(kube, shop)
            site.gateway = "edge"
            envoy = release.envoy(release.pod("edge-1", "fairlead-gateway-edge"))
            async with envoy:
                policy = await _everything(release, site)
                await _seen(release, site, policy)
            site.clean()

            refused = {(method, url) for method, url, status in release.proxy.answers if status == 403}
            assert refused == set()
            assert {str(right) for right in release.account.rights - _needed(release)} == set()


def _needed(release: Installed) -> set[Right]:
    return needed(release.account.rights, used(release.proxy.answers))


async def _everything(release: Installed, site: Site) -> Json:
    """Objects that make the operator do all that it does: a gateway's policy on a port of its own, and a sidecar's."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace}}
    namespace["metadata"]["labels"] = {"fairlead.dev/gateway-access": "edge"}  # type: ignore[index]
    await site.apply(namespace)
    await site.apply(site.service())
    await site.apply(site.slice(endpoint("10.9.0.1")))
    policy = await site.apply(site.policy("shop", port=8443))
    await site.apply(site.policy("side", port=9090, proxies={"sidecars": {"matchLabels": {"app": "web"}}}))
    await site.apply(site.policy("shop-2", port=8443))  # refused, as the younger one: that becomes an event
    await asyncio.to_thread(
        release.pod, "web-1", "default", site.namespace, **{"app": "web", "fairlead.dev/sidecar": "injected"}
    )
    return policy


async def _seen(release: Installed, site: Site, policy: Json) -> None:
    """What the operator wrote is there; and it has renewed its Lease."""
    await site.until(policy, "Programmed", "True")
    edge = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fairlead-gateway-edge"}}
    edge["metadata"]["namespace"] = release.namespace  # type: ignore[index]
    await _eventually(lambda: 8443 in {one["port"] for one in release.kube.get(edge)["spec"]["ports"]}, "the port")
    await _eventually(lambda: release.bundle(site.namespace) == release.bundle() != "", "the bundle of the sidecars")
    for _ in range(200):  # what is used now and then only; the test says what was not
        if not release.account.rights - _needed(release):
            break
        await asyncio.sleep(0.1)


async def _eventually(condition: Any, what: str) -> None:
    async def holds() -> bool:
        try:
            return bool(await asyncio.to_thread(condition))
        except ApiError:
            return False

    for _ in range(300):
        if await holds():
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"not seen within 15 s: {what}")
