"""The whole pipeline in one process with a real Envoy at its end: what a traffic test starts from.

Raw objects go into the control plane as a source would hand them in, a real Envoy gets the outcome over gRPC, and
backends on loopback count what clients send through it. Everything ends with the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from fairlead_operator.api.meta import Ref
from fairlead_operator.bootstrap import bootstrap
from fairlead_operator.envoy import Envoy
from fairlead_operator.loop import ControlPlane
from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.observer import Proxy
from fairlead_xds.server import XdsServer
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from tests.support import manifests
from tests.support.backends import Backend

GATEWAY = "edge"
#: Below the ephemeral range: a port that was free cannot become the local end of somebody's connection.
_PORTS = range(20000, 32000)
_RANDOM = random.SystemRandom()

READY: Mapping[str, bool] = {"ready": True}
NOT_READY: Mapping[str, bool] = {"ready": False}
#: What Kubernetes says of a pod that was told to end, and still answers.
DRAINING: Mapping[str, bool] = {"ready": False, "serving": True, "terminating": True}


def free_port() -> int:
    """A port that nobody listens on, on any address."""
    while True:
        port = _RANDOM.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("", port))
            return port


class World:
    """A control plane, its proxies and its backends.

    Attributes:
        port: a free port for the listener of the test's policy.
        statuses: of the policies, by name.
    """

    def __init__(self) -> None:
        self.store = Store()
        self.plane = ControlPlane(self.store, lambda: self.server.proxies(), address="127.0.0.1")
        self.server = self._new_server()
        self.port = free_port()
        self.xds_port = 0
        self.envoys: list[Envoy] = []
        self._backends: list[Backend] = []
        self._ports: dict[str, int] = {}
        self._generations: dict[str, int] = {}

    # --- Envoys

    async def start_envoy(self, *, change: Callable[[dict[str, Any]], None] | None = None) -> Envoy:
        """Another proxy of the gateway; *change* edits its bootstrap."""
        name = f"{GATEWAY}-{len(self.envoys) + 1}"
        config = bootstrap(gateway=GATEWAY, node=name, xds_host="127.0.0.1", xds_port=self.xds_port)
        if change is not None:
            change(config)
        envoy = await Envoy.start(config, name=name, concurrency=1)
        self.envoys.append(envoy)
        return envoy

    async def stop_envoy(self, envoy: Envoy) -> None:
        self.envoys.remove(envoy)
        await envoy.stop()
        await self.until(lambda: all(proxy.node.id != envoy.name for proxy in self.server.proxies()))

    async def another_server(self) -> None:
        """The server ends, as a replica does; the next one has its address, and the same snapshots."""
        await self.server.stop(0.1)
        self.server = self._new_server()
        await self.server.start(f"127.0.0.1:{self.xds_port}")

    def _new_server(self) -> XdsServer:
        return XdsServer(self.store, NodeClusterAuthenticator(), observer=self.plane.answers)

    # --- objects

    def apply(self, *objects: dict[str, Any]) -> None:
        for raw in objects:
            self.plane.apply(raw)

    def delete(self, kind: str, name: str) -> None:
        self.plane.delete(Ref(kind, manifests.NAMESPACE, name))

    def delete_node(self, name: str) -> None:
        self.plane.delete(Ref("Node", "", name))

    def policy(self, name: str, spec: Mapping[str, Any], *, age: int = 0) -> None:
        """Create or change a policy; each call is a new generation."""
        generation = self._generations[name] = self._generations.get(name, 0) + 1
        self.apply(manifests.policy(name, spec, generation=generation, age=age))

    async def backend(self, of: str, *, name: str = "") -> Backend:
        """A server for Service *of*, in no slice yet."""
        number = len(self._backends) + 1
        address = f"127.0.{1 + number // 250}.{1 + number % 250}"
        while True:
            with contextlib.suppress(OSError):
                port = self._ports.setdefault(of, free_port())
                backend = await Backend(name or f"{of}-{number}", address, port).start()
                self._backends.append(backend)
                return backend
            del self._ports[of]

    async def service(self, name: str, count: int) -> list[Backend]:
        """A Service with *count* ready backends."""
        backends = [await self.backend(name) for _ in range(count)]
        self.apply(manifests.service(name))
        self.endpoints(name, backends)
        return backends

    def endpoints(self, service: str, states: Sequence[Backend] | Mapping[Backend, Mapping[str, bool]]) -> None:
        """What the Service's slice says, at once: backends that are ready, or backends with their conditions."""
        pairs = states.items() if isinstance(states, Mapping) else [(backend, READY) for backend in states]
        entries = [
            manifests.placed(
                manifests.endpoint(backend.address, **conditions), pod=backend.name, node=f"node-{backend.name}"
            )
            for backend, conditions in pairs
        ]
        self.apply(manifests.endpoint_slice(service, self._ports.setdefault(service, free_port()), entries))

    # --- outcome

    async def until(self, condition: Callable[[], bool], *, seconds: float = 30) -> None:
        """Return when *condition* holds."""
        try:
            async with asyncio.timeout(seconds):
                while not condition():  # noqa: ASYNC110 - what is waited for lives in another process
                    await asyncio.sleep(0.003)
        except TimeoutError:
            words = {envoy.name: envoy.last_words() for envoy in self.envoys}
            raise AssertionError(f"did not come true in {seconds} s; {words}; {self.plane.statuses}") from None

    async def settled(self) -> None:
        """Return when nothing is left to do: every proxy has answered for everything, and the statuses are written."""
        await self.until(lambda: self.acknowledged() and self.plane._status.due() is None)

    async def delivered(self) -> None:
        """Return when every proxy has answered for everything; statuses may be behind."""
        await self.until(self.acknowledged)

    def acknowledged(self) -> bool:
        if self.plane._config.due() is not None or self.plane._endpoints.due() is not None:
            return False
        proxies = self.server.proxies()
        return len(proxies) == len(self.envoys) and all(self._has_all(proxy) for proxy in proxies)

    def _has_all(self, proxy: Proxy) -> bool:
        current, mine = self.store.current(proxy.key), proxy.stream.snapshot
        unsettled = proxy.stream.unsettled()
        if any(state.nonce or state.dirty or state.owed for state in unsettled):
            return False
        refused = {state.type_url: state.parked for state in unsettled}
        for type_url in TypeUrl:
            resources, missing = current.resources(type_url), 0
            for name, resource in resources.items():
                known = mine.get(type_url, name)
                if known is None or known.version != resource.version:
                    return False
                missing += not proxy.has(type_url, name)
            if missing != refused.get(type_url, 0):
                return False
        return True

    def status(self, name: str) -> dict[str, Any]:
        return self.plane.statuses[Ref("LoadBalancerPolicy", manifests.NAMESPACE, name)]

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """One condition of a policy, with the generation that its status is about."""
        status = self.status(name)
        assert status["observedGeneration"] == self._generations[name]
        (found,) = [entry for entry in status["conditions"] if entry["type"] == kind]
        return dict(found)

    def is_true(self, name: str, kind: str = "Programmed") -> bool:
        return bool(self.condition(name, kind)["status"] == "True")

    async def end(self) -> None:
        await asyncio.gather(*(envoy.stop() for envoy in self.envoys))
        await self.server.stop(0.1)
        if self.plane._timer is not None:
            self.plane._timer.cancel()
        await asyncio.gather(*(backend.stop() for backend in self._backends))


@contextlib.asynccontextmanager
async def world(*, envoy: bool = True) -> AsyncIterator[World]:
    """An empty world that serves, with one Envoy on its way."""
    it = World()
    try:
        it.xds_port = await it.server.start(f"127.0.0.1:{free_port()}")
        it.plane.synced()
        if envoy:
            await it.start_envoy()
        yield it
    finally:
        await it.end()
