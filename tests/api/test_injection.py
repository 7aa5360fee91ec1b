"""The webhook as the real API server asks it: who gets a sidecar, and who is never kept waiting."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import yaml

from fairlead_operator.api.config import OperatorConfig
from fairlead_operator.api.pods import SIDECAR
from fairlead_operator.app import Operator
from fairlead_operator.injection.namespaces import WEBHOOK
from fairlead_operator.injection.pod import PROXY, has_sidecar
from fairlead_operator.trust.assembly import options_of
from tests.support import helm
from tests.support.api_proxy import ApiProxy
from tests.support.kube import ApiError, Cluster
from tests.support.operating import Json, Site, eventually, installation, operating, starting

pytestmark = pytest.mark.timeout(120)
_numbers = itertools.count(1)


class Injecting:
    """An installation in a namespace of its own, with the chart's webhook configuration."""

    def __init__(self, kube: Cluster, site: Site, system: str) -> None:
        self.kube, self.site, self.system = kube, site, system
        self.name = f"injector-{system}"

    def config(self) -> OperatorConfig:
        return installation(
            self.system,
            "one",
            xdsService="localhost",
            certificates={"mode": "Self"},
            webhook={"name": self.name},
            webhookAddress="127.0.0.1:0",
            proxy={"image": "fairlead-proxy:test", "resources": {"requests": {"memory": "40Mi"}}},
        )

    @contextlib.asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        config = self.config()
        async with operating(self.kube.kubeconfig, config=config, trust=options_of(config)) as operator:
            injection = operator.injection
            assert injection is not None
            await eventually(lambda: injection.port, "the webhook listens")
            yield operator

    async def install(self, port: int) -> None:
        """The chart's object, at *port* of loopback, once the leader has written what it writes."""
        objects = await asyncio.to_thread(helm.objects, namespace=self.system)
        found = next(one for one in objects if one["kind"] == "MutatingWebhookConfiguration")
        found["metadata"] = {"name": self.name}
        for hook in found["webhooks"]:
            hook["clientConfig"] = {"url": f"https://localhost:{port}/inject"}
        await self.site.apply(found)
        await self.until(lambda live: all(hook["clientConfig"].get("caBundle") for hook in live["webhooks"]))

    async def until(self, condition: Any) -> Json:
        live: Json = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration"}
        live["metadata"] = {"name": self.name}
        for _ in range(600):
            found = await self.site.get(live)
            if condition(found):
                return found
            await asyncio.sleep(0.025)
        raise AssertionError(f"not seen within 15 s: {yaml.safe_dump(found)}")

    async def namespaces(self, *names: str) -> None:
        """Wait until pods of exactly these namespaces are asked about."""

        def asked(live: Json) -> bool:
            hooks = [one for one in live["webhooks"] if one["name"] == WEBHOOK]
            rules = [rule for hook in hooks for rule in hook["namespaceSelector"]["matchExpressions"]]
            return [rule.get("values", []) for rule in rules] == [list(names)]

        await self.until(asked)

    async def pod(self, namespace: str = "", **labels: str) -> Json:
        """Make a pod; as the API server has it. Raises ApiError."""
        metadata = {"name": f"pod-{next(_numbers)}", "namespace": namespace or self.site.namespace, "labels": labels}
        spec = {"containers": [{"name": "web", "image": "web"}]}
        made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        found: Json = await asyncio.to_thread(self.kube.request, "POST", path, made)
        return found

    def remove(self) -> None:
        path = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{self.name}"
        with contextlib.suppress(ApiError):
            self.kube.request("DELETE", path)


@pytest.fixture
def injecting(kube: Cluster, site: Site) -> Iterator[Injecting]:
    with kube.namespace(f"{site.namespace}-system") as system:
        found = Injecting(kube, site, system)
        yield found
        found.remove()


def _policy(site: Site) -> Json:
    spec = site.policy()["spec"] | {"proxies": {"sidecars": {"matchLabels": {"app": "web"}}}}
    return site.policy("side") | {"spec": spec}


async def test_pods_that_a_policy_selects_or_that_ask_get_one(injecting: Injecting) -> None:
    async with injecting.operator() as operator:
        assert operator.injection is not None
        await injecting.install(operator.injection.port)

        assert has_sidecar(await injecting.pod(**{"fairlead.dev/inject": "true"}))
        assert not has_sidecar(await injecting.pod(app="web"))  # there is no policy yet

        await injecting.site.apply(_policy(injecting.site))
        await injecting.namespaces(injecting.site.namespace)
        made = await injecting.pod(app="web")
        assert has_sidecar(made)
        assert made["metadata"]["labels"][SIDECAR] == "injected"
        assert not has_sidecar(await injecting.pod(app="other"))
        assert not has_sidecar(await injecting.pod(app="web", **{"fairlead.dev/inject": "false"}))

        # What it needs is in its namespace before it is.
        path = f"/api/v1/namespaces/{injecting.site.namespace}/configmaps/fairlead-ca"
        found = await asyncio.to_thread(injecting.kube.request, "GET", path)
        assert "BEGIN CERTIFICATE" in found["data"]["ca.crt"]

        # Applied again as it came back, it has one sidecar still.
        again = {key: made[key] for key in ("apiVersion", "kind", "spec")}
        again["metadata"] = {
            "name": "again",
            "namespace": injecting.site.namespace,
            "labels": made["metadata"]["labels"],
        }
        again["spec"].pop("serviceAccountName", None)
        posted = await asyncio.to_thread(
            injecting.kube.request, "POST", f"/api/v1/namespaces/{injecting.site.namespace}/pods", again
        )
        assert [one["name"] for one in posted["spec"]["initContainers"]].count(PROXY) == 1

        await injecting.site.delete(_policy(injecting.site))
        await injecting.namespaces()


async def test_a_bad_annotation_is_refused_by_name(injecting: Injecting) -> None:
    async with injecting.operator() as operator:
        assert operator.injection is not None
        await injecting.install(operator.injection.port)
        metadata = {
            "name": "bad",
            "namespace": injecting.site.namespace,
            "labels": {"fairlead.dev/inject": "true"},
            "annotations": {"fairlead.dev/proxy-cpu-limit": "lots"},
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        pod["spec"] = {"containers": [{"name": "web", "image": "web"}]}
        with pytest.raises(ApiError, match=r"fairlead\.dev/proxy-cpu-limit: 'lots' is not a quantity"):
            await injecting.site.apply(pod)


async def test_without_the_operator_pods_that_want_a_sidecar_wait_and_other_namespaces_do_not(
    injecting: Injecting, kube: Cluster
) -> None:
    async with injecting.operator() as operator:
        assert operator.injection is not None
        await injecting.install(operator.injection.port)
        await injecting.site.apply(_policy(injecting.site))
        await injecting.namespaces(injecting.site.namespace)

    with pytest.raises(ApiError, match="failed calling webhook"):
        await injecting.pod(app="web")
    with pytest.raises(ApiError, match="failed calling webhook"):
        await injecting.pod(**{"fairlead.dev/inject": "true"})
    assert await injecting.pod(app="web", **{"fairlead.dev/inject": "false"})
    with kube.namespace(f"{injecting.site.namespace}-other") as other:
        assert await injecting.pod(other, app="web")
    account = {"apiVersion": "v1", "kind": "ServiceAccount"}  # without a controller-manager nobody makes it
    await injecting.site.apply(account | {"metadata": {"name": "default", "namespace": "kube-system"}})
    assert await injecting.pod("kube-system", app="web", **{"fairlead.dev/inject": "true"})
    with pytest.raises(ApiError, match="failed calling webhook"):
        await injecting.pod(injecting.system, **{"fairlead.dev/inject": "true"})
    ours = {"fairlead.dev/inject": "true", "app.kubernetes.io/name": "fairlead"}  # could not start without itself
    assert await injecting.pod(injecting.system, **ours)


async def test_a_leader_that_has_not_listed_everything_forgets_no_namespace(
    injecting: Injecting, proxy: ApiProxy
) -> None:
    """It knows the webhook's configuration already, and no policy yet."""
    async with injecting.operator() as operator:
        assert operator.injection is not None
        await injecting.install(operator.injection.port)
        await injecting.site.apply(_policy(injecting.site))
        await injecting.namespaces(injecting.site.namespace)
    proxy.refuse("loadbalancerpolicies")
    config = injecting.config()
    async with starting(proxy.kubeconfig, config=config, trust=options_of(config)) as operator:
        replica, injection = operator.replica, operator.injection
        assert replica is not None
        assert injection is not None
        await eventually(lambda: replica.leadership.is_leader and injection.reflector.synced.is_set(), "it leads")
        await asyncio.sleep(1)
        assert not operator.plane.ready
        await injecting.namespaces(injecting.site.namespace)
        proxy.allow("loadbalancerpolicies")
        await eventually(lambda: operator.plane.ready, "it serves")
        await injecting.site.delete(_policy(injecting.site))
        await injecting.namespaces()
