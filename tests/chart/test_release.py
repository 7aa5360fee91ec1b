"""A release in a real API server: installed, upgraded beside what the operator writes, and removed."""

from __future__ import annotations

import contextlib
import functools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead_operator.gateways import ports
from fairlead_operator.gateways.service import MANAGER as PORTS_MANAGER
from fairlead_operator.injection.namespaces import MANAGER, MODEL, WEBHOOK, entry, selector
from tests.support import helm
from tests.support.kube import ApiError, Cluster

Json = dict[str, Any]

SERVICE: Json = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fairlead-gateway-edge"}}
INJECTOR: Json = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "fairlead-injector"},
}
POLICIES = "loadbalancerpolicies.fairlead.dev"
DEFINITION: Json = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": POLICIES},
}


class Release:
    """``helm`` for one namespace. Nothing runs in it: there are no nodes."""

    def __init__(self, kube: Cluster, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace

    def helm(self, command: str, *more: str) -> str:
        chart = [] if command == "uninstall" else [str(helm.CHART)]
        where = ["--namespace", self.namespace]
        return helm.helm(command, "fairlead", *chart, *where, *more, kubeconfig=self.kube.kubeconfig)

    def install(self, *more: str) -> None:
        self.helm("install", *more)

    def rollback(self) -> None:
        """To the first revision."""
        helm.helm("rollback", "fairlead", "1", "--namespace", self.namespace, kubeconfig=self.kube.kubeconfig)

    def here(self, manifest: Json) -> Json:
        """*manifest* in the namespace of the release."""
        return {**manifest, "metadata": {**manifest["metadata"], "namespace": self.namespace}}

    def ports(self) -> dict[str, int]:
        found = self.kube.get(self.here(SERVICE))["spec"]["ports"]
        return {port["name"]: port["port"] for port in found}

    def follow(self, *listeners: int) -> None:
        """What the operator does, and as whom: its own ports, by server-side apply."""
        self.kube.apply(ports.manifest(self.namespace, SERVICE["metadata"]["name"], listeners), manager=PORTS_MANAGER)


@pytest.fixture(scope="module")
def kube() -> Iterator[Cluster]:
    """A cluster of its own: releases own what is the cluster's, and other tests have that too."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def release(kube: Cluster, namespace: str) -> Iterator[Release]:
    made = Release(kube, namespace)
    _without_definitions(kube)
    yield made
    if helm.helm("list", "--short", "--namespace", namespace, kubeconfig=kube.kubeconfig).strip():
        made.helm("uninstall")


def _without_definitions(kube: Cluster) -> None:
    """The cluster of these tests has our kinds already, and releases leave them: helm does not take over another's."""
    for name in (POLICIES, "backends.fairlead.dev"):
        definition = {**DEFINITION, "metadata": {"name": name}}
        with contextlib.suppress(ApiError):
            kube.delete(definition)
        kube.wait_for(functools.partial(_is_gone, kube, definition), f"{name} is gone")


def _is_gone(kube: Cluster, manifest: Json) -> bool:
    try:
        kube.get(manifest)
    except ApiError as error:
        return error.code == 404
    return False


def _applied(kube: Cluster, manifest: Json) -> bool:
    try:
        kube.apply(manifest)
    except ApiError as error:
        if error.code != 404:
            raise
        return False
    return True


def chart_ports(**given: int) -> list[str]:
    """``service.ports`` of the values as flags."""
    where = "gatewayDefaults.service.ports"
    fields = [
        f"{where}[{i}].{field}={value}"
        for i, (name, port) in enumerate(given.items())
        for field, value in (("name", name), ("port", port))
    ]
    return [part for field in fields for part in ("--set", field)]


@pytest.mark.parametrize("server_side", ["true", "false"])
def test_an_upgrade_keeps_the_ports_of_the_operator(release: Release, server_side: str) -> None:
    """Both ways in which helm applies; nobody forces anybody."""
    release.install(f"--server-side={server_side}")
    release.follow(8080)
    assert release.ports() == {"http": 80, "https": 443, "listener-8080": 8080}
    given = release.kube.get(release.here(SERVICE))["spec"]["ports"]

    release.helm("upgrade", "--set", "operator.replicas=3", *chart_ports(http=80, admin=9000))

    assert release.ports() == {"http": 80, "admin": 9000, "listener-8080": 8080}
    kept = release.kube.get(release.here(SERVICE))["spec"]["ports"]
    assert [port for port in kept if port["name"] == "listener-8080"] == [
        port for port in given if port["name"] == "listener-8080"
    ]

    release.follow()  # the listener is gone
    assert release.ports() == {"http": 80, "admin": 9000}


GATEWAY: Json = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "fairlead-gateway-edge"}}


@pytest.mark.parametrize("server_side", ["true", "false"])
def test_the_autoscaler_begins_and_goes_on_with_the_pods_that_there_are(release: Release, server_side: str) -> None:
    """Else helm takes away the number that it wrote before, and the API server's default is one."""
    applies, scaled = f"--server-side={server_side}", "gatewayDefaults.autoscaling.enabled=true"
    release.install(applies, "--set", "gatewayDefaults.replicas=4")

    release.helm("upgrade", applies, "--set", scaled)
    assert release.kube.get(release.here(GATEWAY))["spec"]["replicas"] == 4

    path = f"/apis/apps/v1/namespaces/{release.namespace}/deployments/fairlead-gateway-edge/scale"
    scale = release.kube.request("GET", path)
    release.kube.request("PUT", path, {**scale, "spec": {"replicas": 7}})  # as the autoscaler does
    release.helm("upgrade", applies, "--set", scaled, "--set", "gatewayDefaults.drain.seconds=7")
    assert release.kube.get(release.here(GATEWAY))["spec"]["replicas"] == 7


def test_a_port_may_become_the_charts_own(release: Release) -> None:
    """Two owners of one port are a conflict that is told; who means it says so. Then the operator has nothing to do."""
    release.install()
    release.follow(8080)

    with pytest.raises(helm.HelmError, match='conflict with "fairlead-ports"'):
        release.helm("upgrade", *chart_ports(http=80, admin=8080))
    release.helm("upgrade", "--force-conflicts", *chart_ports(http=80, admin=8080))
    release.follow()

    assert release.ports() == {"http": 80, "admin": 8080}


@pytest.mark.parametrize("server_side", ["true", "false"])
def test_upgrade_and_rollback_leave_the_webhook_of_the_operator(release: Release, server_side: str) -> None:
    """``caBundle`` is in no manifest, nor is the second webhook: helm has no say in them, and sees no conflict."""
    release.install(f"--server-side={server_side}")
    (asked,) = release.kube.get(INJECTOR)["webhooks"]  # at first no pod waits for it that did not ask
    assert asked["name"] == MODEL
    release.kube.apply({**INJECTOR, "webhooks": [entry(asked, ["shop"])]}, manager=MANAGER)
    bundle = "LS0tLS1CRUdJTg=="
    patch = [{"op": "add", "path": f"/webhooks/{i}/clientConfig/caBundle", "value": bundle} for i in range(2)]
    path = release.kube.path_of(INJECTOR)
    release.kube.request("PATCH", path, patch, content_type="application/json-patch+json")
    release.kube.apply({**INJECTOR, "webhooks": [entry(asked, ["blog", "shop"])]}, manager=MANAGER)

    def written() -> tuple[Json, Json]:
        hooks = {hook["name"]: hook for hook in release.kube.get(INJECTOR)["webhooks"]}
        assert {hook["clientConfig"]["caBundle"] for hook in hooks.values()} == {bundle}
        return hooks[MODEL], hooks[WEBHOOK]

    release.helm("upgrade", "--set", "webhook.timeoutSeconds=7")
    asked, ours = written()
    assert asked["timeoutSeconds"] == 7
    assert ours["namespaceSelector"] == selector({"shop", "blog"})

    release.kube.apply({**INJECTOR, "webhooks": [entry(asked, ["later"])]}, manager=MANAGER)
    release.rollback()
    asked, ours = written()
    assert asked["timeoutSeconds"] == 5
    assert ours["namespaceSelector"] == selector({"later"})


def test_an_upgrade_brings_new_fields_of_our_kinds(release: Release, tmp_path: Path) -> None:
    """What helm does not do for the folder ``crds/`` of a chart."""
    release.install()
    stored = release.kube.get(DEFINITION)
    description = "schema", "openAPIV3Schema", "description"

    chart = tmp_path / "fairlead"
    helm.helm("package", str(helm.CHART), "--destination", str(tmp_path))
    (archive,) = tmp_path.glob("fairlead-*.tgz")
    _unpack(archive, tmp_path)
    file = chart / "files" / "crds" / "fairlead.dev_loadbalancerpolicies.yaml"
    newer = yaml.safe_load(file.read_text("utf-8"))
    newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "Newer."
    file.write_text(yaml.safe_dump(newer, sort_keys=False), "utf-8")
    helm.helm("upgrade", "fairlead", str(chart), "--namespace", release.namespace, kubeconfig=release.kube.kubeconfig)

    now = release.kube.get(DEFINITION)
    assert _deep(stored["spec"]["versions"][0], *description) != "Newer."
    assert _deep(now["spec"]["versions"][0], *description) == "Newer."


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")


def _deep(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value[key]
    return value


def test_removal_leaves_the_kinds_and_the_policies_and_nothing_else(release: Release) -> None:
    """And what it removes is gone at once: nothing has a finalizer that only the operator would take away."""
    kube, namespace = release.kube, release.namespace
    release.install()
    rendered = helm.objects(namespace=namespace, crds=True)
    policy = {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "LoadBalancerPolicy",
        "metadata": {"name": "shop", "namespace": namespace},
        "spec": {"targetRefs": [{"kind": "Service", "name": "web"}], "loadBalancer": {"type": "Random"}},
    }
    kube.wait_for(functools.partial(_applied, kube, policy), "the kinds are served")

    release.helm("uninstall")

    left = [one["metadata"]["name"] for one in rendered if not _is_gone(kube, one)]
    assert sorted(left) == ["backends.fairlead.dev", POLICIES]
    assert kube.get(policy)["metadata"].get("finalizers") is None
    kube.delete(policy)

    release.helm("install")  # again, over what was left, without being told to take it over
