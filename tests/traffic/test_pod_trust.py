"""The connection of a pod's Envoy to its control plane: verified, with a token, and both follow their files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from fairlead_xds.auth import ANYONE, Identity, Peer
from fairlead_xds.protocol.node import Node
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.store import Store
from tests.support import pods, real_envoy
from tests.support.rotating import Rotating
from tests.support.xds_resources import listener, route

pytestmark = pytest.mark.timeout(120)


class Doorman:
    """Lets everyone in and remembers what they showed."""

    def __init__(self) -> None:
        self.seen: list[str | bytes | None] = []

    async def admit(self, peer: Peer) -> Identity:
        self.seen.append(peer.metadata.get("authorization"))
        return ANYONE

    async def key_of(self, identity: Identity, node: Node) -> str:
        return "edge"


class ControlPlane:
    """Our xDS server over TLS; ``restart`` gives it a new certificate on the same port."""

    def __init__(self) -> None:
        self.store, self.doorman, self.port = Store(), Doorman(), 0
        self._server: XdsServer | None = None
        self._counted = 0

    async def restart(self, ca: trustme.CA, name: str = pods.XDS) -> None:
        await self.stop()
        self._server = XdsServer(self.store, self.doorman)
        self.port = await self._server.start(f"127.0.0.1:{self.port}", pods.credentials(ca, name))

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(grace=0)
            self._server = None

    async def next_visit(self) -> None:
        """Return when somebody came since the last call and has its configuration."""
        await real_envoy.eventually(lambda: len(self.doorman.seen) > self._counted, seconds=40)
        self._counted = len(self.doorman.seen)
        # Envoy waits the longer the more often it gets nothing for its coming.
        await real_envoy.eventually(self._served, seconds=20)

    def _served(self) -> bool:
        assert self._server is not None
        wanted = [(t, name) for t in TypeUrl for name in self.store.current("edge").resources(t)]
        return any(all(proxy.has(*each) for each in wanted) for proxy in self._server.proxies())

    async def is_shown(self, header: str, ca: trustme.CA) -> None:
        """Return when a proxy that connects again shows *header*; the moment when it learns of it is its own."""
        async with asyncio.timeout(60):
            while self.doorman.seen[-1] != header:
                await self.restart(ca)
                await self.next_visit()


@pytest.fixture
async def plane() -> AsyncIterator[ControlPlane]:
    plane = ControlPlane()
    plane.store.set_open()
    resources = [listener("http", route="main", port=real_envoy.free_port()), route("main", "nowhere")]
    plane.store.publish("edge", Snapshot.of(resources))
    yield plane
    await plane.stop()


async def refused(pod: pods.Pod, why: str) -> None:
    """Return when Envoy refused the control plane's certificate once more."""
    name = f"cluster.fairlead.ssl.{why}"
    before = await pod.stat(name)
    async with asyncio.timeout(30):
        while await pod.stat(name) == before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def test_ca_and_token_are_read_anew_while_envoy_runs(plane: ControlPlane, tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    volumes = Rotating(tmp_path, ca=old.cert_pem.bytes(), token=b"first")
    await plane.restart(old)

    async with pods.pod(tmp_path, xds_port=plane.port, volumes=volumes) as pod:
        await plane.next_visit()
        assert plane.doorman.seen == ["Bearer first"]

        for token in ("second", "third"):
            volumes.token(token.encode())
            await plane.is_shown(f"Bearer {token}", old)

        # A bundle of both, then a certificate of the new one, then the new one alone: no step may lose the proxy.
        volumes.ca(old.cert_pem.bytes() + new.cert_pem.bytes())
        await plane.restart(new)
        await plane.next_visit()
        volumes.ca(new.cert_pem.bytes())
        await plane.restart(new)
        await plane.next_visit()

        # A new CA that the proxy learns of too late: it comes back by itself.
        last = trustme.CA()
        await plane.restart(last)
        await refused(pod, "fail_verify_error")
        volumes.ca(last.cert_pem.bytes())
        await plane.next_visit()


async def test_a_control_plane_of_another_ca_or_name_gets_no_token(plane: ControlPlane, tmp_path: Path) -> None:
    ours = trustme.CA()
    volumes = Rotating(tmp_path, ca=ours.cert_pem.bytes())
    await plane.restart(trustme.CA())

    async with pods.pod(tmp_path, xds_port=plane.port, volumes=volumes) as pod:
        await real_envoy.admin_up(pod.admin)
        await refused(pod, "fail_verify_error")
        await plane.restart(ours, "elsewhere.example.com")
        await refused(pod, "fail_verify_san")
        assert plane.doorman.seen == []

        await plane.restart(ours)
        await plane.next_visit()


async def test_a_bundle_that_comes_after_the_start_is_found(plane: ControlPlane, tmp_path: Path) -> None:
    ours = trustme.CA()
    volumes = Rotating(tmp_path, ca=b"")
    (tmp_path / "ca" / "..data" / "ca.crt").unlink()
    await plane.restart(ours)

    async with pods.pod(tmp_path, xds_port=plane.port, volumes=volumes) as pod:
        await real_envoy.admin_up(pod.admin)
        assert await pod.stat("sds.ca.update_success") == 0

        volumes.ca(ours.cert_pem.bytes())
        await plane.next_visit()
