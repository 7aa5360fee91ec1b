"""What is lost when the API server, its history or a watch goes away: nothing."""

from __future__ import annotations

import asyncio
import json

import pytest

from fairlead_operator.sources.reflector import Timings
from tests.support.api_proxy import ApiProxy
from tests.support.kube import Cluster
from tests.support.operating import Site, endpoint, endpoints, eventually, lasting, operating

pytestmark = pytest.mark.timeout(120)

POLICIES, SLICES = "loadbalancerpolicies", "endpointslices"
SERVER_ERROR = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 500, "message": "etcd is unwell"}})
GONE = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old resource version"}})


async def test_the_api_server_restarts(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig) as operator, site.envoy(operator) as envoy:
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        await lasting(kube.stop_apiserver)
        await asyncio.sleep(1)
        assert endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}
        assert not envoy.ended
        await lasting(kube.start_apiserver)
        await site.apply(site.slice(endpoint("10.9.0.7")))
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.7": "HEALTHY"}, 20)
        second = site.policy("second", port=8082)
        await site.apply(second)
        await site.until(second, "Programmed", "True")
        await site.delete(policy)
        await eventually(lambda: site.known_to(operator) == {"second"}, "the deletion arrives")


async def test_history_is_compacted_while_the_watches_are_down(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig, sweep=1.0) as operator, site.envoy(operator) as envoy:
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        lists = [reflector.lists for reflector in operator.reflectors]
        await lasting(kube.expire)
        await site.apply(site.slice(endpoint("10.9.0.8")))
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.8": "HEALTHY"}, 20)
        await site.delete(policy)
        await envoy.wait_for(lambda: endpoints(envoy.client) == {}, 20)
        assert sum(reflector.lists for reflector in operator.reflectors) > sum(lists)


async def test_a_slice_deleted_while_its_watch_is_down_and_its_version_gone(site: Site, proxy: ApiProxy) -> None:
    async with operating(proxy.kubeconfig) as operator, site.envoy(operator) as envoy:
        await site.shop()
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}, 10)
        proxy.refuse(SLICES)
        await site.delete(site.slice())
        operator.reflectors[1]._mirror.version = ""  # as after a 410: the deletion is in no watch any more
        proxy.allow(SLICES)
        await envoy.wait_for(lambda: endpoints(envoy.client) == {}, 10)


@pytest.mark.parametrize("lie", ["{garbage", '{"type": "ADDED"}', SERVER_ERROR, GONE])
async def test_a_watch_that_lies_is_begun_again(site: Site, proxy: ApiProxy, lie: str) -> None:
    async with operating(proxy.kubeconfig) as operator, site.envoy(operator) as envoy:
        await site.shop()
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}, 10)
        lists = operator.reflectors[1].lists
        await proxy.say(SLICES, lie)
        await eventually(lambda: operator.reflectors[1].lists > lists, "a new list")
        await site.apply(site.slice(endpoint("10.9.0.9")))
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.9": "HEALTHY"}, 10)


async def test_a_watch_that_falls_silent_is_left(site: Site, proxy: ApiProxy) -> None:
    timings = Timings(silence=1.0, backoff=(0.02, 0.5))
    async with operating(proxy.kubeconfig, timings=timings) as operator, site.envoy(operator) as envoy:
        await site.shop()
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}, 10)
        proxy.silence(SLICES)
        await site.apply(site.slice(endpoint("10.9.0.3")))
        proxy.allow(SLICES)
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.3": "HEALTHY"}, 10)


async def test_a_policy_deleted_while_its_watch_is_down_is_found_by_the_sweep(site: Site, proxy: ApiProxy) -> None:
    """kopf lists again after the 410 and says nothing of what is not in the list."""
    async with operating(proxy.kubeconfig, sweep=0.5) as operator, site.envoy(operator) as envoy:
        policy = await site.shop()
        await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.0.1": "HEALTHY"}, 10)
        await eventually(lambda: proxy.watches(POLICIES), "kopf watches")
        proxy.silence(POLICIES)
        await site.delete(policy)
        await proxy.say(POLICIES, GONE)
        proxy.allow(POLICIES)
        await envoy.wait_for(lambda: endpoints(envoy.client) == {}, 10)
        assert operator.policies.found == 1
        assert operator.kopf.runs == 1


async def test_kopf_ends_and_is_started_again_without_loss(site: Site, proxy: ApiProxy) -> None:
    async with operating(proxy.kubeconfig) as operator, site.envoy(operator) as envoy:
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        await eventually(lambda: proxy.watches(POLICIES), "kopf watches")
        await proxy.say(POLICIES, SERVER_ERROR)
        await site.delete(policy)
        second = site.policy("second", port=8082)
        await site.apply(second)
        await eventually(lambda: operator.kopf.runs >= 2, "kopf runs again")
        await site.until(second, "Programmed", "True")
        await eventually(lambda: site.known_to(operator) == {"second"}, "the deletion is found")
        third = site.policy("third", port=8083)
        await eventually(lambda: proxy.watches(POLICIES), "kopf watches again")
        found = operator.policies.found
        await site.apply(third)
        await site.until(third, "Programmed", "True")
        assert operator.policies.found == found, "kopf told, not the sweep"
        assert not envoy.ended


async def test_a_policy_that_kopf_missed_is_fetched_by_the_sweep(site: Site, proxy: ApiProxy) -> None:
    async with operating(proxy.kubeconfig, sweep=0.5) as operator, site.envoy(operator):
        await eventually(lambda: proxy.watches(POLICIES), "kopf watches")
        proxy.silence(POLICIES)
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        assert operator.policies.found >= 1


async def test_status_writes_are_repeated_until_they_succeed(site: Site, proxy: ApiProxy) -> None:
    async with operating(proxy.kubeconfig) as operator:
        policy = await site.shop()
        await site.until(policy, "Programmed", "False", reason="NoProxies")
        proxy.refuse("status")
        async with site.envoy(operator):
            await eventually(lambda: operator.writer.failures >= 2, "writes fail")
            assert (await site.condition(policy, "Programmed"))["reason"] == "NoProxies"
            proxy.allow("status")
            await site.until(policy, "Programmed", "True")
