"""Gateways of an installation with the real API server: Services follow the listeners, namespaces need leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fairlead_operator.app import Operator
from tests.support.api_proxy import ApiProxy
from tests.support.operating import Json, Site, eventually, installation, operating, starting

pytestmark = pytest.mark.timeout(120)


def _gateway_service(site: Site, *ports: Json) -> Json:
    """As the chart makes it."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "gateway", "namespace": site.namespace},
        "spec": {"ports": [{"name": "http", "port": 80, "targetPort": 80, "protocol": "TCP"}, *ports]},
    }


@contextlib.asynccontextmanager
async def _installed(site: Site, **gateway: Any) -> AsyncIterator[Operator]:
    entry = {"name": site.gateway, "service": "gateway", "namespaces": {"from": "All"}, **gateway}
    config = installation(site.namespace, "one", gateways=[entry])
    async with operating(site.kube.kubeconfig, config=config) as operator:
        yield operator


async def _ports(site: Site, *numbers: int) -> Json:
    """The Service, once it has these ports."""
    found: Json = {}
    for _ in range(600):
        found = await site.get(_gateway_service(site))
        if sorted(port["port"] for port in found["spec"]["ports"]) == sorted(numbers):
            return found
        await asyncio.sleep(0.025)
    raise AssertionError(f"ports {numbers} not seen within 15 s: {found['spec']['ports']}")


async def test_the_service_follows_the_listeners_and_leaves_the_charts_ports(site: Site) -> None:
    chart = _gateway_service(site)
    await asyncio.to_thread(site.kube.apply, chart, manager="helm")
    async with _installed(site):
        await site.shop()  # port 8080
        await _ports(site, 80, 8080)

        await site.apply(site.policy(port=8443))
        found = await _ports(site, 80, 8443)
        assert found["spec"]["ports"][1] | {"nodePort": 0} == {
            "name": "listener-8443",
            "port": 8443,
            "targetPort": 8443,
            "protocol": "TCP",
            "nodePort": 0,
        }

        # Helm upgrades: what it does not name is not its own to take away.
        more = {"name": "admin", "port": 9000, "targetPort": 9000, "protocol": "TCP"}
        await asyncio.to_thread(site.kube.apply, _gateway_service(site, more), manager="helm")
        await _ports(site, 80, 9000, 8443)

        await site.delete(site.policy())
        await _ports(site, 80, 9000)


async def test_a_port_that_the_api_server_refuses_is_told_and_the_rest_goes_on(site: Site) -> None:
    """A Service of another manager that has our name for another port: the apply is refused as invalid."""
    other = {"name": "listener-8080", "port": 7000, "targetPort": 7000, "protocol": "UDP"}
    await asyncio.to_thread(site.kube.apply, _gateway_service(site, other), manager="helm")
    async with _installed(site) as operator, site.envoy(operator):
        policy = await site.shop()
        entry = await site.until(policy, "Degraded", "True", reason="PortNotExposed")
        assert "port 8080 of gateway" in entry["message"]
        assert "spec.listeners[0].port" in entry["message"]
        assert "listener-8080" in entry["message"] or "Duplicate" in entry["message"]
        assert (await site.condition(policy, "Programmed"))["status"] == "True"

        # Another port is fine, and the condition goes.
        await site.apply(site.policy(port=8081))
        await _ports(site, 80, 7000, 8081)
        await site.until(policy, "Degraded", "False")


async def test_without_its_service_the_policies_are_told_what_to_do(site: Site) -> None:
    async with _installed(site) as operator, site.envoy(operator):
        policy = await site.shop()

        entry = await site.until(policy, "Degraded", "True", reason="PortNotExposed")

        assert "does not exist: turn service.enabled on" in entry["message"]


async def test_a_namespace_needs_the_label(site: Site) -> None:
    config = installation("elsewhere", "one", gateways=[{"name": site.gateway}])
    namespace: Json = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": site.namespace}}
    leader_needs = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}}
    await site.apply(leader_needs)
    async with operating(site.kube.kubeconfig, config=config) as operator, site.envoy(operator):
        policy = await site.shop()
        entry = await site.until(policy, "Accepted", "False", reason="NotAllowedByGateway")
        assert (
            f"kubectl label namespace {site.namespace} fairlead.dev/gateway-access={site.gateway}" in entry["message"]
        )

        namespace["metadata"]["labels"] = {"fairlead.dev/gateway-access": site.gateway}
        await site.apply(namespace)
        await site.until(policy, "Programmed", "True")

        await site.apply(
            site.policy("other", port=9090) | {"spec": site.policy()["spec"] | {"proxies": {"gateway": "egde"}}}
        )
        entry = await site.until(site.policy("other"), "Accepted", "False", reason="GatewayNotFound")
        assert f"there are: {site.gateway}" in entry["message"]


async def test_a_leader_that_has_not_listed_everything_takes_no_port_away(site: Site, proxy: ApiProxy) -> None:
    """It knows the Service already, and no listener yet."""
    await asyncio.to_thread(site.kube.apply, _gateway_service(site), manager="helm")
    async with _installed(site):
        await site.shop()
        await _ports(site, 80, 8080)
    proxy.refuse("endpointslices")
    entry = {"name": site.gateway, "service": "gateway", "namespaces": {"from": "All"}}
    config = installation(site.namespace, "two", gateways=[entry])
    async with starting(proxy.kubeconfig, config=config) as operator:
        replica = operator.replica
        assert replica is not None
        await eventually(lambda: replica.leadership.is_leader and operator.plane.world.services, "it leads and knows")
        await asyncio.sleep(1)
        assert not operator.plane.ready
        await _ports(site, 80, 8080)
        proxy.allow("endpointslices")
        await eventually(lambda: operator.plane.ready, "it serves")
        await site.apply(site.policy(port=8081))
        await _ports(site, 80, 8081)
    found = [path for method, path in proxy.requests if method == "PATCH" and path.endswith("/services/gateway")]
    assert len(found) == 1


async def test_the_leader_alone_touches_the_service(site: Site) -> None:
    await asyncio.to_thread(site.kube.apply, _gateway_service(site), manager="helm")
    async with _installed(site) as one:
        await eventually(lambda: one.replica is not None and one.replica.leadership.is_leader, "the first leads")
        entry = {"name": site.gateway, "service": "gateway", "namespaces": {"from": "All"}}
        config = installation(site.namespace, "two", gateways=[entry])
        async with operating(site.kube.kubeconfig, config=config):
            await site.shop()
            found = await _ports(site, 80, 8080)
            await asyncio.sleep(1)
            after = await site.get(_gateway_service(site))
            assert after["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]
