"""The postStart hook of a sidecar: the application waits for a configured Envoy, but not for ever, and is told why."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from fairlead_xds.auth import ANYONE, Identity, NodeClusterAuthenticator, Peer, Refusal
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import Snapshot
from fairlead_xds.store import Store
from tests.support import pods
from tests.support.rotating import Rotating
from tests.support.traffic import free_port

pytestmark = pytest.mark.timeout(60)


class Strict(NodeClusterAuthenticator):
    """Refuses whoever has another token."""

    async def admit(self, peer: Peer) -> Identity | Refusal:
        if peer.metadata.get("authorization") == "Bearer good":
            return ANYONE
        return Refusal("UNAUTHENTICATED", "the token is not valid")


class Place:
    """A control plane that has a configuration for sidecars once ``publish`` was called."""

    def __init__(self) -> None:
        self.ca, self.store, self.port = trustme.CA(), Store(), free_port()
        self.server = XdsServer(self.store, Strict())
        self.store.set_open()

    def publish(self) -> None:
        self.store.publish("sidecar", Snapshot.of([]))

    async def start(self) -> None:
        await self.server.start(f"127.0.0.1:{self.port}", pods.credentials(self.ca))


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    place = Place()
    yield place
    await place.server.stop(grace=0)


async def test_it_returns_when_envoy_has_its_configuration(place: Place, tmp_path: Path) -> None:
    volumes = Rotating(tmp_path, ca=place.ca.cert_pem.bytes(), token=b"good")
    async with pods.pod(tmp_path, xds_port=place.port, volumes=volumes) as pod:
        hook = asyncio.create_task(pod.fairlead_proxy("wait", "--for", "40s", "--log", "/dev/stderr"))
        await asyncio.sleep(0.5)
        assert not hook.done()
        assert await pod.status() == (0, "")

        place.publish()
        await place.start()

        assert await hook == (0, "")
        assert (await pod.status())[0] == 200


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("nobody serves", "does not accept connections"),
        ("no bundle", "there is no CA bundle: the ConfigMap fairlead-ca is missing"),
        ("other CA", "the control plane's certificate is not of our CA"),
        ("bad token", "the control plane refuses this proxy"),
    ],
)
async def test_it_gives_up_in_time_and_says_why(place: Place, tmp_path: Path, fault: str, words: str) -> None:
    ca = trustme.CA() if fault == "other CA" else place.ca
    token = b"bad" if fault == "bad token" else b"good"
    volumes = Rotating(tmp_path, ca=ca.cert_pem.bytes(), token=token)
    if fault == "no bundle":
        (tmp_path / "ca" / "..data" / "ca.crt").unlink()
    place.publish()
    if fault != "nobody serves":
        await place.start()

    async with pods.pod(tmp_path, xds_port=place.port, volumes=volumes) as pod:
        began = time.monotonic()
        code, said = await pod.fairlead_proxy("wait", "--for", "3s", "--log", "/dev/stderr")

        assert code == 0
        assert said.startswith("fairlead-proxy: the application starts without a configured proxy after 3 s: ")
        assert words in said
        assert said.count("\n") == 1
        assert time.monotonic() - began < 10
        assert (await pod.fairlead_proxy("ready"))[0] == 1


async def test_an_envoy_that_is_not_there_is_no_reason_to_fail(tmp_path: Path, place: Place) -> None:
    async with pods.pod(tmp_path, xds_port=place.port, volumes=Rotating(tmp_path)) as pod:
        await pod.terminate()

        code, said = await pod.fairlead_proxy("wait", "--for", "300ms", "--log", "/dev/stderr")

        assert code == 0
        assert "Envoy does not answer" in said
