"""Certificates in the real API server: made, rotated, lost, broken, fought over; and not one proxy is refused meanwhile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from fairlead_operator.app import Operator
from fairlead_operator.sources.client import connect
from fairlead_operator.trust import pem, storage
from fairlead_operator.trust.authority import Kept
from fairlead_operator.trust.keeper import Keeper, Places
from fairlead_operator.trust.pem import Unreadable
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import FakeEnvoy
from tests.support import pods
from tests.support.kube import ApiError, Cluster
from tests.support.operating import Site, endpoint, eventually, tls_secret
from tests.support.real_envoy import free_port
from tests.support.rotating import Rotating
from tests.support.traffic_tls import Authority
from tests.support.trusting import NAMES, Installation, in_thread, installation_of, lives, trusting

pytestmark = pytest.mark.timeout(150)

Json = dict[str, Any]
#: Seconds: how old a proxy's bundle may be in these tests, and how old it becomes.
OVERLAP, KUBELET = 3.0, 1.5


@pytest.fixture
def home(kube: Cluster, namespace: str) -> Iterator[Installation]:
    yield from installation_of(kube, namespace)


@pytest.fixture
def site(kube: Cluster, home: Installation) -> Iterator[Site]:
    site = Site(kube, home.namespace)
    yield site
    site.clean()


def authorities(bundle: str) -> set[str]:
    return {one.fingerprint for one in pem.read(bundle)}


def signer(home: Installation) -> Kept:
    return storage.read_kept(home.secret("fairlead-ca"))


async def rotate(home: Installation, value: str = "now") -> None:
    path = f"/api/v1/namespaces/{home.namespace}/secrets/fairlead-ca"
    await in_thread(home.kube.request, "PATCH", path, {"metadata": {"annotations": {storage.ROTATE: value}}})


class Proxies:
    """Proxies that connect again and again, with a bundle that comes to them late, as the kubelet brings it."""

    def __init__(self, home: Installation, operators: list[Operator], token: str) -> None:
        self.home, self.operators, self.token = home, operators, token
        self.connects, self.refusals = 0, list[str]()
        self.bundle = ""

    async def kubelet(self) -> None:
        while True:
            self.bundle = await in_thread(self.home.bundle)
            await asyncio.sleep(KUBELET)

    async def come_and_go(self, number: int) -> None:
        while True:
            port = self.operators[number % len(self.operators)].xds_port
            credentials = grpc.ssl_channel_credentials(self.bundle.encode())
            async with FakeEnvoy(f"localhost:{port}", credentials=credentials, token=self.token) as envoy:
                try:
                    await envoy.wait_for(lambda: envoy.ended or bool(envoy.client.held[TypeUrl.ROUTE]), 10)
                    if envoy.ended:
                        self.refusals.append(f"{envoy.status} {envoy.details}")
                except TimeoutError:
                    self.refusals.append("nothing came")
                self.connects += 1
            await asyncio.sleep(0.02)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        self.bundle = await in_thread(self.home.bundle)
        tasks = [asyncio.create_task(self.kubelet()), *(asyncio.create_task(self.come_and_go(n)) for n in range(4))]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results


async def test_two_rotations_of_everything_under_proxies_that_stay_and_that_come_and_go(
    kube: Cluster, home: Installation, site: Site
) -> None:
    async with (
        trusting(home, kube.kubeconfig, lives=lives(OVERLAP)) as leader,
        trusting(home, kube.kubeconfig, lives=lives(OVERLAP)) as follower,
    ):
        assert follower.trust is not None
        assert leader.trust is not None
        follower.trust.leads = lambda: False
        await site.shop()
        token = await in_thread(home.token)
        proxies = Proxies(home, [leader, follower], token)
        async with contextlib.AsyncExitStack() as stack:
            staying = [await stack.enter_async_context(home.envoy(one, token)) for one in (leader, follower) * 3]
            for envoy in staying:
                await envoy.wait_for(lambda envoy=envoy: bool(envoy.client.held[TypeUrl.ROUTE]), 15)  # type: ignore[misc]
            async with proxies.running():
                for turn in range(2):
                    await _whole_rotation(home, f"turn {turn}")
                    await _other_names(leader, follower, f"turn-{turn}.example.com")
                await asyncio.sleep(KUBELET)
        print(f"2 rotations, {proxies.connects} connects, {len(staying)} that stayed: {len(proxies.refusals)} refusals")
        assert proxies.refusals == []
        assert proxies.connects > 20
        assert all(envoy.status is None for envoy in staying)
        assert leader.server.gate.refused == follower.server.gate.refused == {}


async def _whole_rotation(home: Installation, value: str) -> None:
    old = (await in_thread(signer, home)).signer
    await rotate(home, value)
    await _until(lambda: len(signer(home).bundle) == 2, "the new authority is in the bundle")
    assert (await in_thread(signer, home)).signer == old
    await _until(lambda: signer(home).signer != old, "the new authority signs")
    await _until(lambda: len(signer(home).bundle) == 1, "the old authority is gone")


async def _other_names(leader: Operator, follower: Operator, name: str) -> None:
    """The serving certificate alone becomes another one."""
    assert leader.trust is not None
    assert leader.trust.keeper is not None
    leader.trust.keeper.names = {*NAMES, name}
    leader.trust.soon()
    await eventually(lambda: name in serving_names(follower), "the follower has the new certificate")


def serving_names(operator: Operator) -> frozenset[str]:
    assert operator.trust is not None
    assert operator.trust.serving.serving is not None
    return operator.trust.serving.serving.certificate.names


async def _until(condition: Any, what: str) -> None:
    for _ in range(400):
        if await in_thread(condition):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not seen: {what}")


async def test_a_real_envoy_follows_a_rotation_and_is_never_refused(
    kube: Cluster, home: Installation, site: Site, tmp_path: Path
) -> None:
    """Its control plane restarts during each step, so that it has to connect again."""
    names = (pods.XDS, "localhost")
    listening = site.policy(port=free_port())
    for manifest in (site.service(), site.slice(endpoint("10.9.0.1")), listening):
        await site.apply(manifest)
    token = await in_thread(home.token, pod=await in_thread(home.pod))
    volumes = Rotating(tmp_path / "volumes", ca=b"", token=token.encode())
    steps = (
        (lambda _first: len(signer(home).bundle) == 2, "the new authority is in the bundle"),
        (lambda first: signer(home).signer.fingerprint != first, "the new authority signs"),
        (lambda _first: len(signer(home).bundle) == 1, "the old authority is gone"),
        (lambda _first: True, "it goes on"),
    )
    port, first = 0, ""
    async with contextlib.AsyncExitStack() as stack:
        envoy: pods.Pod | None = None
        for reached, what in steps:
            async with trusting(home, kube.kubeconfig, names=names, lives=lives(OVERLAP), port=port) as operator:
                volumes.ca((await in_thread(home.bundle)).encode())
                if envoy is None:
                    port, first = operator.xds_port, (await in_thread(signer, home)).signer.fingerprint
                    envoy = await stack.enter_async_context(
                        pods.pod(tmp_path, xds_port=port, volumes=volumes, gateway=home.gateway)
                    )
                    await _complete(operator)
                    await rotate(home)
                await _complete(operator)
                await _until(partial(reached, first), what)
                volumes.ca((await in_thread(home.bundle)).encode())
                assert operator.server.gate.refused == {}
        assert envoy is not None
        failed = await envoy.stat("cluster.fairlead.ssl.fail_verify_error")
        handshakes = await envoy.stat("cluster.fairlead.ssl.handshake")
    print(f"a real Envoy: {handshakes} handshakes over a rotation, {failed} not believed")
    assert failed == 0
    assert handshakes >= len(steps)
    assert first not in authorities(await in_thread(home.bundle))


async def _complete(operator: Operator) -> None:
    def complete() -> bool:
        return any(not proxy.stream.lacking(TypeUrl.ROUTE) for proxy in operator.server.proxies())

    await eventually(complete, "Envoy is there and has everything", seconds=60)


async def test_two_that_believe_to_lead_make_one_authority(kube: Cluster, home: Installation) -> None:
    client = await connect(str(kube.kubeconfig))

    async def everywhere(_bundle: str) -> bool:
        return True

    def keeper(number: int, which: int) -> Keeper:
        return Keeper(
            client=client,
            places=Places(namespace=home.namespace, ca=f"ca-{which}", serving=f"tls-{which}"),
            names=NAMES,
            spread=everywhere,
            leads=lambda: True,
            replica=f"replica-{number}",
        )

    try:
        for which in range(4):
            keepers = [keeper(number, which) for number in range(3)]
            tasks = [asyncio.create_task(one.run()) for one in keepers]
            seen = set()
            for _ in range(200):
                with contextlib.suppress(ApiError):
                    kept = storage.read_kept(await in_thread(home.secret, f"ca-{which}"))
                    seen.add(kept.signer.fingerprint)
                    serving = storage.read_serving(await in_thread(home.secret, f"tls-{which}"))
                    if all(one._remembered == kept and kept.spread for one in keepers):
                        break
                for one in keepers:
                    one.soon()
            else:
                raise AssertionError([one._remembered for one in keepers])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert len(seen) == 1
            assert kept.signer.signed(serving.certificate)
            assert len(kept.bundle) == 1
    finally:
        await client.close()


def _signs_anew(home: Installation, before: Any) -> bool:
    """Until the operator has come to it the Secret is still the broken one."""
    try:
        return bool(signer(home).signer != before.signer)
    except Unreadable:
        return False


async def test_a_lost_and_a_broken_authority_cost_no_proxy_anything(
    kube: Cluster, home: Installation, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"/api/v1/namespaces/{home.namespace}/secrets/fairlead-ca"
    broken = {"data": {"tls.key": base64.b64encode(b"oops").decode()}}
    await site.shop()
    token = await in_thread(home.token)
    async with trusting(home, kube.kubeconfig, lives=lives(OVERLAP)) as operator:
        before = await in_thread(signer, home)
        proxies = Proxies(home, [operator], token)
        async with proxies.running():
            await in_thread(kube.request, "DELETE", path)
            await _until(lambda: _same(home, before), "it is there again")
            await in_thread(kube.request, "PATCH", path, broken)
            await _until(lambda: _same(home, before), "it is right again")
    assert "data[tls.key] holds no unencrypted PEM private key" in caplog.text
    await in_thread(kube.request, "PATCH", path, broken)
    async with trusting(home, kube.kubeconfig, lives=lives(OVERLAP)) as operator:  # which has never seen the key
        others = Proxies(home, [operator], token)
        async with others.running():
            await _until(lambda: _signs_anew(home, before), "another authority signs")
            await _until(lambda: len(signer(home).bundle) == 1, "the old one is gone")
            await asyncio.sleep(KUBELET)
    assert proxies.refusals == others.refusals == []
    assert min(proxies.connects, others.connects) > 10
    assert "PRIVATE" not in caplog.text


def _same(home: Installation, before: Kept) -> bool:
    with contextlib.suppress(pem.Unreadable, ApiError):
        return signer(home).key == before.key
    return False


async def test_the_bundle_is_kept_in_namespaces_and_in_the_webhook(kube: Cluster, home: Installation) -> None:
    name = f"injector-{home.namespace}"
    hook = {
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "fairlead-webhook", "namespace": home.namespace, "path": "/inject"}},
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "rules": [{"apiGroups": ["none"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothing"]}],
    }
    webhook = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{"name": "one.fairlead.dev", **hook}, {"name": "two.fairlead.dev", **hook}],
    }

    def said() -> set[str]:
        found = kube.get(webhook)["webhooks"]
        return {base64.b64decode(one["clientConfig"].get("caBundle", "")).decode() for one in found}

    async with trusting(home, kube.kubeconfig, webhook=name, lives=lives(OVERLAP)) as operator:
        assert operator.trust is not None
        bundle = await in_thread(home.bundle)
        await in_thread(kube.apply, webhook)
        await _until(lambda: said() == {bundle}, "the webhook has the bundle")
        # A namespace that is about to have its first sidecar; and one whose ConfigMap somebody has changed.
        with kube.namespace(f"{home.namespace}-app") as app:
            assert await operator.trust.ensure(app)
            assert await in_thread(home.bundle, app) == bundle
            path = f"/api/v1/namespaces/{app}/configmaps/fairlead-ca"
            await in_thread(kube.request, "PATCH", path, {"data": {"ca.crt": "nonsense"}})
            await _until(lambda: home.bundle(app) == bundle, "what was changed is right again")
            await rotate(home)
            await _until(lambda: len(authorities(home.bundle(app))) == 2, "the new authority is there")
            await _until(lambda: said() == {home.bundle(app)}, "and in the webhook")
            await in_thread(kube.request, "DELETE", path)
            await _until(lambda: home.bundle(home.namespace) != bundle, "rotated")
    await in_thread(kube.delete, webhook)


async def test_a_namespace_that_refuses_the_bundle_holds_nobody_else_back(
    kube: Cluster, home: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever may write ConfigMaps in one namespace could otherwise keep old authorities alive for all."""
    with kube.namespace(f"{home.namespace}-app") as app:
        stubborn = {"apiVersion": "v1", "kind": "ConfigMap", "immutable": True, "data": {"ca.crt": "nonsense"}}
        stubborn["metadata"] = {"name": "fairlead-ca", "namespace": app, "labels": dict(storage.LABELS)}
        async with trusting(home, kube.kubeconfig, lives=lives(OVERLAP)) as operator:
            assert operator.trust is not None
            before = await in_thread(signer, home)
            await in_thread(kube.apply, stubborn)
            await rotate(home)
            await _until(lambda: signer(home).signer != before.signer, "another authority signs")
            await _until(lambda: len(signer(home).bundle) == 1, "the old one is gone")
            assert "fairlead_ca_refused_namespaces 1" in operator.trust.metrics()
            assert await in_thread(home.bundle, app) == "nonsense"

            await in_thread(kube.delete, stubborn)
            metrics = operator.trust.metrics
            await eventually(lambda: "fairlead_ca_refused_namespaces 0" in metrics(), "the deletion is seen")
            assert await operator.trust.ensure(app)
            assert await in_thread(home.bundle, app) == await in_thread(home.bundle)
    said = [one.message for one in caplog.records if f"{app}/fairlead-ca" in one.message]
    assert len(said) == 1
    assert "immutable" in said[0]


async def test_a_webhook_of_one_namespace_that_does_not_answer_holds_nobody_else_back(
    kube: Cluster, home: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    metadata = {"name": f"away-{home.namespace}"}
    away = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    with kube.namespace(f"{home.namespace}-app") as app:
        hook: Json = {
            "name": "away.example.com",
            "clientConfig": {"url": f"https://localhost:{free_port()}/"},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "rules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["configmaps"]},
            ],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": app}},
        }
        async with trusting(home, kube.kubeconfig, lives=lives(OVERLAP)) as operator:
            assert operator.trust is not None
            assert await operator.trust.ensure(app)
            before = await in_thread(signer, home)
            old = await in_thread(home.bundle, app)
            await in_thread(kube.apply, {**away, "metadata": metadata, "webhooks": [hook]})
            try:
                await rotate(home)
                await _until(lambda: signer(home).signer != before.signer, "another authority signs")
                assert "fairlead_ca_refused_namespaces 1" in operator.trust.metrics()
                assert await in_thread(home.bundle, app) == old
            finally:
                await in_thread(kube.delete, {**away, "metadata": metadata})
            await _until(lambda: home.bundle(app) == home.bundle(), "it has the bundle when the webhook is gone")
    said = [one.message for one in caplog.records if f"{app}/fairlead-ca" in one.message]
    assert "let the webhook answer" in said[0]


async def test_a_secret_of_somebody_else_is_used_and_never_written(
    kube: Cluster, home: Installation, site: Site
) -> None:
    """As cert-manager keeps it."""
    authority = Authority()
    await site.shop()

    def secret(*more: str) -> Json:
        made = authority.issue(*NAMES, *more)
        raw = tls_secret("xds-by-others", home.namespace, made.certificate, made.key)
        raw["data"]["ca.crt"] = base64.b64encode(authority._ca.cert_pem.bytes()).decode()
        return raw

    stored = await site.apply(secret())
    async with trusting(home, kube.kubeconfig, mode="Secret", secret="xds-by-others") as operator:
        token = await in_thread(home.token)
        async with home.envoy(operator, token) as envoy:
            await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]), 15)
            assert (await site.get(stored))["metadata"]["resourceVersion"] == stored["metadata"]["resourceVersion"]
            await site.apply(secret("renewed.example.com"))
            assert operator.trust is not None
            await eventually(
                lambda: "renewed.example.com" in serving_names(operator),
                "the new certificate is used",
            )
            assert not envoy.ended
            async with home.envoy(operator, token) as second:
                await second.wait_for(lambda: bool(second.client.held[TypeUrl.ROUTE]), 15)
        with pytest.raises(ApiError):
            await in_thread(home.secret, "fairlead-ca")


async def test_the_api_page_of_times(kube: Cluster, home: Installation) -> None:
    async with trusting(home, kube.kubeconfig) as operator:
        page = operator.metrics.text(policies=0, programmed=0, proxies=0)
        (line,) = [one for one in page.splitlines() if 'timestamp_seconds{certificate="serving"}' in one]
        ends = datetime.datetime.fromtimestamp(float(line.rpartition(" ")[2]), datetime.UTC)
        assert 89 <= (ends - datetime.datetime.now(datetime.UTC)).days <= 90
