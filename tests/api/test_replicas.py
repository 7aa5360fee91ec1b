"""Several operators at one API server: statuses count the proxies of all of them, and one of them writes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fairlead_operator.app import Operator
from fairlead_operator.replicas.report import decode
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import DeltaClient, FakeEnvoy
from tests.support.kube import Cluster
from tests.support.operating import Json, Site, endpoint, eventually, installation, operating

pytestmark = pytest.mark.timeout(120)


@contextlib.asynccontextmanager
async def replica(kube: Cluster, site: Site, name: str, **more: Any) -> AsyncIterator[Operator]:
    gateways = {"gateways": [{"name": site.gateway, "namespaces": {"from": "All"}}]}
    config = installation(site.namespace, name, **gateways)
    async with operating(kube.kubeconfig, config=config, **more) as operator:
        yield operator


def leads(operator: Operator) -> bool:
    assert operator.replica is not None
    return operator.replica.leadership.is_leader


async def proxies(site: Site, policy: Json, summary: str) -> Json:
    """The status, once it counts so many proxies."""
    found: Json = {}
    for _ in range(600):
        found = (await site.get(policy)).get("status", {})
        if found.get("proxies", {}).get("summary") == summary:
            return found
        await asyncio.sleep(0.025)
    raise AssertionError(f"proxies {summary} not seen within 15 s: {found}")


def programmed(status: Json) -> str:
    return next(str(entry["status"]) for entry in status["conditions"] if entry["type"] == "Programmed")


def refuse_header(type_url: TypeUrl, _name: str, body: bytes) -> str | None:
    return "this prefix is not to my taste" if type_url is TypeUrl.ROUTE and b"/refused" in body else None


async def test_the_status_adds_up_the_proxies_of_all_replicas(kube: Cluster, site: Site) -> None:
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(replica(kube, site, "one"))
        await eventually(lambda: leads(one), "the first leads")
        two = await stack.enter_async_context(replica(kube, site, "two"))
        three = await stack.enter_async_context(replica(kube, site, "three"))
        for number, operator in enumerate((one, two, two, three, three, three)):
            await stack.enter_async_context(site.envoy(operator, DeltaClient(f"envoy-{number}", cluster=site.gateway)))
        policy = await site.shop()
        status = await proxies(site, policy, "6/6")
        assert programmed(status) == "True"

        # A change reaches all of them before Programmed says so.
        await site.apply(site.policy(port=8081))
        await asyncio.sleep(0.05)
        await site.until(policy, "Programmed", "True", message="6/6 proxies have acknowledged generation 2")

        # Quiet is quiet: reports are renewed, statuses are not. On a busy machine it takes a moment to be quiet.
        for _ in range(5):
            writes = [operator.writer.writes for operator in (one, two, three)]
            reports = [operator.replica.reporter.writes for operator in (one, two, three) if operator.replica]
            await asyncio.sleep(3)
            if [operator.writer.writes for operator in (one, two, three)] == writes:
                break
        assert [operator.writer.writes for operator in (one, two, three)] == writes
        assert writes[1:] == [0, 0]
        assert 1 <= writes[0] <= 8, writes
        renewed = [operator.replica.reporter.writes for operator in (one, two, three) if operator.replica]
        assert all(1 <= now - before <= 4 for before, now in zip(reports, renewed, strict=True)), (reports, renewed)
        print(f"status writes {writes}; reports {renewed}")

        found = await asyncio.to_thread(kube.request, "GET", f"/api/v1/namespaces/{site.namespace}/configmaps")
        said = {item["metadata"]["name"]: decode(item["data"]["report"]).connected for item in found["items"]}
        assert said == {"one": {site.gateway: 1}, "two": {site.gateway: 2}, "three": {site.gateway: 3}}


async def test_a_proxy_of_a_follower_that_lags_or_refuses_is_told(kube: Cluster, site: Site) -> None:
    async with replica(kube, site, "one") as one:
        await eventually(lambda: leads(one), "the first leads")
        client = DeltaClient("picky", cluster=site.gateway, refuse=refuse_header)
        async with replica(kube, site, "two") as two, site.envoy(one), site.envoy(two, client):
            good = await site.shop()
            await proxies(site, good, "2/2")
            match = {"path": {"type": "PathPrefix", "value": "/refused"}}
            routes = [{"name": "all", "matches": [match], "backendRefs": [{"name": "web", "port": 80}]}]
            bad = site.policy("bad", port=9090, routes=routes)
            await site.apply(bad)
            entry = await site.until(bad, "Programmed", "False", reason="Rejected")
            assert "picky" in entry["message"]
            assert "this prefix is not to my taste" in entry["message"]
            assert (await site.condition(good, "Programmed"))["status"] == "True"


async def test_who_ends_hands_over_at_once_and_equal_statuses_are_not_rewritten(kube: Cluster, site: Site) -> None:
    async with replica(kube, site, "two-comes-later"):
        pass  # makes the Lease and gives it back
    async with contextlib.AsyncExitStack() as stack:
        first = contextlib.AsyncExitStack()
        one = await first.enter_async_context(replica(kube, site, "one"))
        await eventually(lambda: leads(one), "the first leads")
        two = await stack.enter_async_context(replica(kube, site, "two"))
        await stack.enter_async_context(site.envoy(two))
        policy = await site.shop()
        before = await proxies(site, policy, "1/1")
        await site.until(policy, "Programmed", "True")
        await asyncio.sleep(1.2)
        before = await site.get(policy)
        await one.drain()
        await first.aclose()
        began = asyncio.get_running_loop().time()
        await eventually(lambda: leads(two), "the second leads")
        took = asyncio.get_running_loop().time() - began
        assert took < 2.5, took  # retry, and not the time of the Lease
        await asyncio.sleep(1.5)
        after = await site.get(policy)
        assert after["status"] == before["status"]
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert two.writer.writes == 0

        # And what differs is written by the new one.
        await site.apply(site.slice(endpoint("10.9.0.1"), endpoint("10.9.0.2")))
        await site.counted(policy, "2/2")
        assert two.writer.writes == 1


async def test_a_replica_that_died_without_a_word_is_dropped_in_the_leases_time(kube: Cluster, site: Site) -> None:
    async with replica(kube, site, "one") as one:
        await eventually(lambda: leads(one), "the first leads")
        dead = contextlib.AsyncExitStack()
        two = await dead.enter_async_context(replica(kube, site, "two"))
        async with site.envoy(one), FakeEnvoy(f"127.0.0.1:{two.xds_port}", DeltaClient("lost", cluster=site.gateway)):
            policy = await site.shop()
            await proxies(site, policy, "2/2")
            await dead.aclose()  # without drain: its report stays as it was
            began = asyncio.get_running_loop().time()
            await proxies(site, policy, "1/1")
            assert asyncio.get_running_loop().time() - began < 4 + 2


async def test_a_policy_that_comes_while_nobody_leads_is_served_and_told_later(kube: Cluster, site: Site) -> None:
    lease = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "fairlead-leader", "namespace": site.namespace},
        "spec": {
            "holderIdentity": "somebody-who-is-no-more",
            "leaseDurationSeconds": 4,
            "acquireTime": "2026-01-01T00:00:00.000000Z",
            "renewTime": "2026-01-01T00:00:00.000000Z",
        },
    }
    await asyncio.to_thread(kube.apply, lease)
    async with replica(kube, site, "one") as one, site.envoy(one) as envoy:
        policy = await site.shop()
        await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]), 10)
        assert not leads(one)
        assert "status" not in await site.get(policy)
        status = await proxies(site, policy, "1/1")
        assert leads(one)
        assert programmed(status) == "True"
