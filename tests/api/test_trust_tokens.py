"""Who gets what over the real TLS port, by tokens that the real API server makes and judges."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from fairlead_operator.app import Operator
from fairlead_operator.trust.reviews import Bounds
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.testing import DeltaClient, FakeEnvoy
from tests.support.api_proxy import ApiProxy
from tests.support.key_pairs import pair
from tests.support.kube import ApiError, Cluster
from tests.support.mute import Mute
from tests.support.operating import Site, endpoint, eventually, tls_secret
from tests.support.trusting import Installation, in_thread, installation_of, trusting

pytestmark = pytest.mark.timeout(120)

REVIEWS = "/tokenreviews"


@pytest.fixture
def home(kube: Cluster, namespace: str) -> Iterator[Installation]:
    yield from installation_of(kube, namespace)


@pytest.fixture
def site(kube: Cluster, home: Installation) -> Iterator[Site]:
    site = Site(kube, home.namespace)
    yield site
    site.clean()


async def served(envoy: FakeEnvoy) -> None:
    await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]), 15)


async def refused(home: Installation, operator: Operator, token: str | None, *, label: str) -> FakeEnvoy:
    """The end of a stream that shows *token*, counted under *label*."""
    before = operator.server.gate.refused[label]
    async with home.envoy(operator, token, None if label == "not_allowed" else Mute()) as envoy:
        await envoy.wait_ended(15)
        assert not envoy.client.arrivals
        assert operator.server.gate.refused[label] == before + 1
        return envoy


async def test_a_proxy_gets_what_its_token_is_for_whatever_its_node_says(
    kube: Cluster, home: Installation, site: Site
) -> None:
    async with trusting(home, kube.kubeconfig) as operator:
        policy = await site.shop()
        pod = await in_thread(home.pod)
        liar = DeltaClient(node_id="admin", cluster="another-gateway")
        async with home.envoy(operator, await in_thread(home.token, pod=pod), liar) as envoy:
            await served(envoy)
            await site.until(policy, "Programmed", "True")
            (proxy,) = operator.server.proxies()
            assert (proxy.key, proxy.node.id) == (home.gateway, pod["metadata"]["name"])
            assert proxy.identity.pod_uid == pod["metadata"]["uid"]
            assert proxy.identity.expires == pytest.approx(time.time() + 3600, abs=60)


async def test_bad_tokens_are_refused_counted_and_not_logged(
    kube: Cluster, home: Installation, site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with trusting(home, kube.kubeconfig, bounds=Bounds(refused=0.0)) as operator:
        await site.shop()
        good = await in_thread(home.token)
        head, claims, signature = good.split(".")
        deleted = await in_thread(home.pod)
        of_deleted = await in_thread(home.token, pod=deleted)
        pods = f"/api/v1/namespaces/{home.namespace}/pods/{deleted['metadata']['name']}"
        await in_thread(_gone, kube, pods)
        bad: list[tuple[str, str, str | None, grpc.StatusCode]] = [
            ("none", "no_token", None, grpc.StatusCode.UNAUTHENTICATED),
            ("none", "malformed", "let-me-in", grpc.StatusCode.UNAUTHENTICATED),
            ("audience", "audience", await in_thread(home.token, audience="vault"), grpc.StatusCode.UNAUTHENTICATED),
            (
                "expired",
                "expired",
                await in_thread(home.signed_token, expires=time.time() - 120),
                grpc.StatusCode.UNAUTHENTICATED,
            ),
            ("forged", "invalid", f"{head}.{claims}.{signature[::-1]}", grpc.StatusCode.UNAUTHENTICATED),
            ("deleted pod", "invalid", of_deleted, grpc.StatusCode.UNAUTHENTICATED),
            ("stranger", "not_allowed", await in_thread(home.token, "operator"), grpc.StatusCode.PERMISSION_DENIED),
            ("stranger", "not_allowed", await in_thread(home.token, "default"), grpc.StatusCode.PERMISSION_DENIED),
        ]
        said: dict[grpc.StatusCode, set[str]] = {}
        for _, label, token, status in bad:
            envoy = await refused(home, operator, token, label=label)
            assert envoy.status is status, (label, envoy.details)
            if label != "no_token":
                said.setdefault(status, set()).add(envoy.details)
        # What is wrong is for our log and our count; the client hears one text.
        assert {status: len(texts) for status, texts in said.items()} == {
            grpc.StatusCode.UNAUTHENTICATED: 1,
            grpc.StatusCode.PERMISSION_DENIED: 1,
        }
        async with home.envoy(operator, good) as envoy:
            await served(envoy)
        page = operator.metrics.text(policies=0, programmed=0, proxies=0)
        for line in (
            'fairlead_xds_refused_total{reason="no_token"} 1',
            'fairlead_xds_refused_total{reason="audience"} 1',
            'fairlead_xds_refused_total{reason="expired"} 1',
            'fairlead_xds_refused_total{reason="invalid"} 2',
            'fairlead_xds_refused_total{reason="not_allowed"} 2',
        ):
            assert line in page
        tokens = [token for _, _, token, _ in bad if token] + [good]
    for label in ("no_token", "not_allowed"):
        assert any("refused" in record.getMessage() for record in caplog.records), label
    for token in tokens:
        for part in token.split("."):
            if len(part) > 60 and part != head:
                assert part not in caplog.text


def _gone(kube: Cluster, path: str) -> None:
    """Delete at once, if it is there still."""
    with contextlib.suppress(ApiError):
        kube.request("DELETE", f"{path}?gracePeriodSeconds=0")
    with pytest.raises(ApiError, match="not found"):
        kube.request("GET", path)


async def test_the_expired_token_of_the_test_is_good_but_for_its_end(
    kube: Cluster, home: Installation, site: Site
) -> None:
    """Else the test above would prove nothing."""
    async with trusting(home, kube.kubeconfig) as operator:
        await site.shop()
        async with home.envoy(operator, await in_thread(home.signed_token, expires=time.time() + 600)) as envoy:
            await served(envoy)


async def test_names_of_others_are_as_names_of_nothing(kube: Cluster, home: Installation, site: Site) -> None:
    """A proxy that is allowed in asks for resources of another gateway, of which it knows the names."""
    other = Site(kube, home.namespace)
    other.gateway = "other-gateway"
    async with trusting(home, kube.kubeconfig, gateways={"edge": home.gateway, "operator": other.gateway}) as operator:
        certificate = tls_secret("shop-tls", home.namespace, *pair("shop.example.com"))
        listener = {
            "name": "https",
            "port": 8443,
            "protocol": "HTTPS",
            "hostnames": ["shop.example.com"],
            "tls": {"mode": "Terminate", "certificateRefs": [{"name": "shop-tls"}]},
        }
        for manifest in (
            certificate,
            other.service(),
            other.slice(endpoint("10.9.0.1")),
            other.policy(listeners=[listener]),
        ):
            await other.apply(manifest)
        async with home.envoy(operator, await in_thread(home.token, "operator")) as theirs:
            await theirs.wait_for(lambda: bool(theirs.client.held[TypeUrl.SECRET]), 15)
            names = {type_url: sorted(theirs.client.held[type_url]) for type_url in TypeUrl}
        assert all(names.values())
        answers = {}
        for asked in (names, {type_url: ["no-such-thing"] for type_url in TypeUrl}):
            spy = Curious(asked)
            async with home.envoy(operator, await in_thread(home.token), spy) as envoy:
                await envoy.wait_for(spy.answered, 15)
            assert spy.got == []
            answers[asked is names] = spy.removed
        # All that it hears is that there is no such thing: of what others have as of what nobody has.
        assert answers[True] == {name for listed in names.values() for name in listed}
        assert answers[False] == {"no-such-thing"}


class Curious(DeltaClient):
    """Asks for names as it likes."""

    def __init__(self, names: dict[TypeUrl, list[str]]) -> None:
        super().__init__()
        self.names = names
        self.got: list[str] = []
        self.removed: set[str] = set()

    def start(self) -> list[bytes]:
        requests = []
        for type_url, names in self.names.items():
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, resource_names_subscribe=names)
            request.node.id = "spy"
            requests.append(request.SerializeToString())
        return requests

    def receive(self, data: bytes) -> list[bytes]:
        response = discovery_pb2.DeltaDiscoveryResponse.FromString(data)
        self.got += [resource.name for resource in response.resources]
        self.removed.update(response.removed_resources)
        answer = discovery_pb2.DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce)
        return [answer.SerializeToString()]

    def answered(self) -> bool:
        return self.removed >= {name for names in self.names.values() for name in names}


async def test_a_node_that_becomes_another_ends_the_stream(kube: Cluster, home: Installation, site: Site) -> None:
    async with trusting(home, kube.kubeconfig) as operator:
        await site.shop()
        async with home.envoy(operator, await in_thread(home.token)) as envoy:
            await served(envoy)
            request = discovery_pb2.DeltaDiscoveryRequest(type_url=TypeUrl.CLUSTER)
            request.node.id = "somebody-else"
            await envoy.send(request.SerializeToString())
            assert await envoy.wait_ended(15) is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_thousand_reconnects_of_ten_tokens_cost_ten_reviews(
    kube: Cluster, home: Installation, site: Site, proxy: ApiProxy
) -> None:
    async with trusting(home, proxy.kubeconfig) as operator:
        await site.shop()
        pods = [await in_thread(home.pod) for _ in range(10)]
        tokens = [await in_thread(home.token, pod=pod) for pod in pods]
        credentials = await in_thread(home.credentials)
        began = time.monotonic()
        connects = 0

        async def reconnect(token: str) -> None:
            nonlocal connects
            envoy = FakeEnvoy(f"localhost:{operator.xds_port}", credentials=credentials, token=token)
            for _ in range(100):
                await envoy.connect()
                await envoy.wait_for(lambda: bool(envoy.client.held[TypeUrl.ROUTE]), 30)
                await eventually(lambda: operator.server.proxies(), "connected")
                await envoy.close()
                envoy.client.held[TypeUrl.ROUTE].clear()
                connects += 1

        await asyncio.gather(*(reconnect(token) for token in tokens))
        print(f"{connects} connects in {time.monotonic() - began:.1f} s: {proxy.count('POST', REVIEWS)} TokenReviews")
        assert connects == 1000
        assert proxy.count("POST", REVIEWS) == 10
        assert operator.server.gate.refused == {}


async def test_while_the_api_server_is_away_known_proxies_come_back_and_new_ones_wait(
    kube: Cluster, home: Installation, site: Site, proxy: ApiProxy
) -> None:
    async with trusting(home, proxy.kubeconfig, bounds=Bounds(fresh=0.0, pause=0.05)) as operator:
        await site.shop()
        known, new = await in_thread(home.token), await in_thread(home.token, pod=await in_thread(home.pod))
        async with home.envoy(operator, known) as envoy:
            await served(envoy)
            proxy.refuse("tokenreviews")
            await envoy.disconnect()
            await envoy.connect()
            await eventually(lambda: len(operator.server.proxies()) == 1, "the known proxy is back")
            stranger = await refused(home, operator, new, label="unavailable")
            assert stranger.status is grpc.StatusCode.UNAVAILABLE
            assert not envoy.ended
            proxy.allow("tokenreviews")
            await asyncio.sleep(0.1)
            async with home.envoy(operator, new) as later:
                await served(later)


async def test_a_stream_ends_when_its_token_does_and_its_proxy_comes_back_with_the_next(
    kube: Cluster, home: Installation, site: Site
) -> None:
    async with trusting(home, kube.kubeconfig, bounds=Bounds(refused=0.0)) as operator:
        await site.shop()
        operator.server.gate.limits = replace(operator.server.gate.limits, spread=0.0, again=1.0)
        # The API server allows clocks to differ by a minute. The question is asked again until it does not.
        short = await in_thread(home.signed_token, expires=time.time() - 50)
        async with home.envoy(operator, short) as envoy:
            await served(envoy)
            assert await envoy.wait_ended(40) is grpc.StatusCode.UNAUTHENTICATED
            arrived = sum(envoy.client.received.values())
            await envoy.disconnect()
            envoy.token = await in_thread(home.token)
            await envoy.connect()
            await eventually(lambda: len(operator.server.proxies()) == 1, "it is back")
            proxy = operator.server.proxies()[0]
            await eventually(lambda: not proxy.stream.lacking(TypeUrl.ROUTE), "it has everything")
            assert sum(envoy.client.received.values()) == arrived


async def test_tls_only_and_no_older_than_1_2(kube: Cluster, home: Installation) -> None:
    async with trusting(home, kube.kubeconfig) as operator:
        async with FakeEnvoy(f"localhost:{operator.xds_port}", token=await in_thread(home.token)) as plain:
            assert await plain.wait_ended(15) is grpc.StatusCode.UNAVAILABLE
        assert await in_thread(_handshake, operator.xds_port, home.bundle(), "TLSv1_2") == "TLSv1.2"
        assert await in_thread(_handshake, operator.xds_port, home.bundle(), "TLSv1_3") == "TLSv1.3"
        with pytest.raises(OSError, match=r"(?i)protocol|version"):
            await in_thread(_handshake, operator.xds_port, home.bundle(), "TLSv1_1")


def _handshake(port: int, bundle: str, version: str) -> str | None:
    import socket
    import ssl
    import warnings

    context = ssl.create_default_context(cadata=bundle)
    context.set_alpn_protocols(["h2"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion[version]
    if version == "TLSv1_1":
        context.set_ciphers("ALL:@SECLEVEL=0")  # that it fails must be the server's doing
    with (
        socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
        context.wrap_socket(raw, server_hostname="localhost") as one,
    ):
        return one.version()
