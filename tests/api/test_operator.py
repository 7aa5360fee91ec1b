"""The operator against a real API server: from objects to proxies and back to statuses."""

from __future__ import annotations

import asyncio

import pytest
import trustme

from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import DeltaClient
from tests.support.api_proxy import ApiProxy
from tests.support.kube import Cluster
from tests.support.operating import Json, Site, endpoint, endpoints, eventually, operating, tls_secret

pytestmark = pytest.mark.timeout(90)


class Hesitant(DeltaClient):
    """Takes in responses, and answers none of them until ``holding`` is cleared."""

    def __init__(self, cluster: str) -> None:
        super().__init__(cluster=cluster)
        self.holding = True
        self.held_back: list[bytes] = []

    def receive(self, data: bytes) -> list[bytes]:
        out = super().receive(data)
        if not self.holding:
            return out
        self.held_back += out
        return []


async def test_a_policy_reaches_the_proxy_and_is_programmed_only_after_its_ack(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig) as operator:
        client = Hesitant(site.gateway)
        policy = await site.shop()
        await site.until(policy, "Programmed", "False", reason="NoProxies")
        async with site.envoy(operator, client) as envoy:
            await envoy.wait_for(lambda: bool(client.bodies[TypeUrl.CLUSTER]), 10)
            entry = await site.until(policy, "Programmed", "False", reason="Pending")
            assert "0/1 proxies" in entry["message"]
            client.holding = False
            await envoy.send(*client.held_back)
            await site.until(policy, "Programmed", "True")
            assert all(len(client.held[one]) == 1 for one in TypeUrl if one is not TypeUrl.SECRET)
            assert endpoints(client) == {"10.9.0.1": "HEALTHY"}


async def test_endpoints_follow_their_conditions(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig) as operator, site.envoy(operator) as envoy:
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        steady = endpoint("10.9.0.1")

        async def gets(*others: dict[str, object], **expected: str) -> None:
            await site.apply(site.slice(steady, *others))
            want = {"10.9.0.1": "HEALTHY", **({"10.9.0.2": expected["second"]} if expected else {})}
            await envoy.wait_for(lambda: endpoints(envoy.client) == want, 10)

        await gets(endpoint("10.9.0.2"), second="HEALTHY")
        before = dict(envoy.client.received)
        await gets(endpoint("10.9.0.2", ready=False))
        await gets(endpoint("10.9.0.2"), second="HEALTHY")
        await gets(endpoint("10.9.0.2", ready=False, serving=True, terminating=True), second="DRAINING")
        await gets(endpoint("10.9.0.2", ready=False, serving=False, terminating=True))
        await gets()
        assert {one for one in TypeUrl if envoy.client.received[one] != before[one]} == {TypeUrl.ENDPOINT}
        await site.counted(policy, "1/1")


async def test_one_change_is_one_write_and_writes_feed_no_loop(kube: Cluster, site: Site, proxy: ApiProxy) -> None:
    def patches() -> int:
        return proxy.count("PATCH", "/loadbalancerpolicies/shop/status")

    async with operating(proxy.kubeconfig) as operator, site.envoy(operator):
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        await asyncio.sleep(1.2)  # the burst of the beginning is written by now

        async def writes_after(change: Json) -> tuple[int, Json]:
            before, counted = patches(), operator.writer.writes
            await site.apply(change)
            await eventually(lambda: patches() > before, "the status is written")
            await asyncio.sleep(0.5)
            written = await site.get(policy)
            await asyncio.sleep(1.0)
            quiet = await site.get(policy)
            assert quiet["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]
            assert operator.writer.writes - counted == patches() - before
            return patches() - before, quiet

        writes, found = await writes_after(site.slice(endpoint("10.9.0.1"), endpoint("10.9.0.2")))
        assert writes == 1
        assert found["status"]["endpoints"]["summary"] == "2/2"
        writes, found = await writes_after(site.policy(port=8081))
        assert writes <= 2  # a second one where the proxy needed longer than the status waits for quiet
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 2
        assert found["metadata"].keys().isdisjoint({"annotations", "finalizers"})


async def test_somebody_elses_status_is_written_over_once(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig) as operator, site.envoy(operator):
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        await asyncio.sleep(1.2)
        writes = operator.writer.writes
        path = f"{kube.path_of(policy)}/status"
        await asyncio.to_thread(kube.request, "PATCH", path, {"status": {"type": "Attached"}})
        await eventually(lambda: operator.writer.writes > writes, "it is written over")
        await asyncio.sleep(0.5)
        assert (await site.get(policy))["status"]["type"] == "Gateway"
        assert operator.writer.writes == writes + 1


async def test_times_of_conditions_survive_a_restart_of_the_operator(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig) as operator, site.envoy(operator):
        policy = await site.shop()
        await site.until(policy, "Programmed", "True")
        await asyncio.sleep(1.2)
        before = await site.get(policy)
    await asyncio.sleep(1.1)  # the times have a resolution of a second
    async with operating(kube.kubeconfig, settle=1.5) as operator, site.envoy(operator) as envoy:
        await envoy.wait_for(lambda: envoy.client.has(TypeUrl.ROUTE, next(iter(envoy.client.held[TypeUrl.ROUTE]), "")))
        await asyncio.sleep(2.5)
        after = await site.get(policy)
        assert after["status"] == before["status"]
        assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
        assert operator.writer.writes == 0


async def test_a_reference_across_namespaces_needs_a_grant(kube: Cluster, site: Site) -> None:
    other = f"{site.namespace}-other"
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "shop", "namespace": other},
        "spec": {
            "from": [{"group": "fairlead.dev", "kind": "LoadBalancerPolicy", "namespace": site.namespace}],
            "to": [{"group": "", "kind": "Service", "name": "web"}],
        },
    }
    with kube.namespace(other):
        async with operating(kube.kubeconfig) as operator, site.envoy(operator) as envoy:
            await site.apply(site.service(namespace=other))
            await site.apply(site.slice(endpoint("10.9.1.1"), namespace=other))
            policy = site.policy(backend={"name": "web", "namespace": other, "port": 80})
            await site.apply(policy)
            entry = await site.until(policy, "ResolvedRefs", "False")
            assert "ReferenceGrant" in entry["message"]
            assert endpoints(envoy.client) == {}
            await site.apply(grant)
            await site.until(policy, "ResolvedRefs", "True")
            await envoy.wait_for(lambda: endpoints(envoy.client) == {"10.9.1.1": "HEALTHY"})
            await site.delete(grant)
            await site.until(policy, "ResolvedRefs", "False")
            await envoy.wait_for(lambda: endpoints(envoy.client) == {})


async def test_a_rotated_certificate_changes_the_secret_only(kube: Cluster, site: Site) -> None:
    def certificate() -> tuple[bytes, bytes]:
        issued = trustme.CA().issue_cert("shop.example.com")
        return issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()

    listener = {
        "name": "https",
        "port": 8443,
        "protocol": "HTTPS",
        "hostnames": ["shop.example.com"],
        "tls": {"certificateRefs": [{"name": "shop-tls"}]},
    }
    async with operating(kube.kubeconfig) as operator, site.envoy(operator) as envoy:
        old, new = certificate(), certificate()
        await site.apply(site.service())
        await site.apply(site.slice(endpoint("10.9.0.1")))
        policy = site.policy(listeners=[listener])
        await site.apply(policy)
        await site.until(policy, "ResolvedRefs", "False", message="shop-tls")
        await site.apply(tls_secret("shop-tls", site.namespace, *old))
        await site.until(policy, "Programmed", "True")

        def served(pair: tuple[bytes, bytes]) -> bool:
            return [pair[0] in body for body in envoy.client.bodies[TypeUrl.SECRET].values()] == [True]

        await envoy.wait_for(lambda: served(old))
        before = dict(envoy.client.received)
        await site.apply(tls_secret("shop-tls", site.namespace, *new))
        await envoy.wait_for(lambda: served(new))
        assert {one for one in TypeUrl if envoy.client.received[one] != before[one]} == {TypeUrl.SECRET}


async def test_a_refused_policy_says_why_and_leaves_the_others_alone(kube: Cluster, site: Site) -> None:
    def refuse(type_url: TypeUrl, _name: str, body: bytes) -> str | None:
        return "this prefix is not to my taste" if type_url is TypeUrl.ROUTE and b"/refused" in body else None

    def routes(prefix: str) -> list[dict[str, object]]:
        match = {"path": {"type": "PathPrefix", "value": prefix}}
        return [{"name": "all", "matches": [match], "backendRefs": [{"name": "web", "port": 80}]}]

    async with operating(kube.kubeconfig) as operator, site.envoy(operator, refuse=refuse):
        good = await site.shop()
        await site.until(good, "Programmed", "True")
        bad = site.policy("bad", port=9090, routes=routes("/refused"))
        await site.apply(bad)
        entry = await site.until(bad, "Programmed", "False", reason="Rejected")
        assert "this prefix is not to my taste" in entry["message"]
        assert "envoy-1" in entry["message"]
        found = (await site.get(good))["status"]
        assert next(one for one in found["conditions"] if one["type"] == "Programmed")["status"] == "True"
        await site.apply(site.policy("bad", port=9090, routes=routes("/fine")))
        await site.until(bad, "Programmed", "True")
        assert (await site.condition(good, "Programmed"))["status"] == "True"


async def test_a_refused_policy_that_is_replaced_by_a_good_one_of_its_name_is_served(kube: Cluster, site: Site) -> None:
    def refuse(type_url: TypeUrl, _name: str, body: bytes) -> str | None:
        return "no" if type_url is TypeUrl.ROUTE and b"refused.example.com" in body else None

    async with operating(kube.kubeconfig) as operator, site.envoy(operator, refuse=refuse):
        await site.shop()

        def policy(host: str) -> dict[str, object]:
            listener = {"name": "http", "port": 9090, "protocol": "HTTP", "hostnames": [host]}
            return site.policy("other", listeners=[listener])

        bad, good = policy("refused.example.com"), policy("fine.example.com")
        await site.apply(bad)
        await site.until(bad, "Programmed", "False", reason="Rejected")
        await site.delete(bad)
        await site.apply(good)
        await site.until(good, "Programmed", "True")


async def test_the_columns_of_kubectl_show_real_values(kube: Cluster, site: Site) -> None:
    async with operating(kube.kubeconfig) as operator, site.envoy(operator):
        policy = await site.shop()
        await site.apply(site.slice(endpoint("10.9.0.1"), endpoint("10.9.0.2", ready=False)))
        await site.until(policy, "Programmed", "True")
        path = kube.path_of(policy)
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"

        def row() -> list[str]:
            table = kube.request("GET", path, accept=accept)
            names = [column["name"] for column in table["columnDefinitions"]]
            cells = dict(zip(names, table["rows"][0]["cells"], strict=True))
            wanted = ("Name", "Type", "Algorithm", "Endpoints", "Proxies", "Accepted", "Programmed", "Degraded")
            return [cells[name] for name in wanted]

        want = ["shop", "Gateway", "LeastRequest", "1/2", "1/1", "True", "True", "False"]
        for _ in range(100):
            if (found := await asyncio.to_thread(row)) == want:
                break
            await asyncio.sleep(0.05)
        assert found == want
