"""A real Envoy as it runs in a pod: its bootstrap, its volumes, its arguments, ``fairlead-proxy`` beside it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import trustme

from fairlead_operator import bootstrap, pod_bootstrap
from tests.support import real_envoy
from tests.support.rotating import Rotating
from tests.support.traffic import free_port

XDS = "fairlead-xds.fairlead-system.svc"
FAIRLEAD_PROXY = Path(__file__).parents[2] / "proxy" / "fairlead_proxy.py"


def credentials(ca: trustme.CA, name: str = XDS) -> grpc.ServerCredentials:
    """A new serving certificate of the control plane."""
    leaf = ca.issue_cert(name)
    chain = b"".join(part.bytes() for part in leaf.cert_chain_pems)
    return grpc.ssl_server_credentials([(leaf.private_key_pem.bytes(), chain)])


@dataclass(slots=True)
class Pod:
    """A running Envoy with its volumes; ``status_port`` is its port 19001."""

    name: str
    volumes: Rotating
    process: asyncio.subprocess.Process
    status_port: int

    @property
    def admin(self) -> str:
        return self.volumes.files.admin

    async def stat(self, name: str) -> int:
        """A counter or gauge by its whole name."""
        text = await real_envoy.admin(self.admin, f"/stats?filter=^{name}$")
        return int(text.partition(": ")[2])

    async def status(self, path: str = "/ready") -> tuple[int, str]:
        """What port 19001 answers; status 0: nothing, yet."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.status_port)
        except OSError:
            return 0, ""
        writer.write(f"GET {path} HTTP/1.1\r\nhost: kubelet\r\nconnection: close\r\n\r\n".encode())
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
        writer.close()
        return int(head.split(" ")[1]), body

    async def answers(self, status: int) -> None:
        """Return when a kubelet's probe gets *status*: 200 ready, 503 draining."""
        async with asyncio.timeout(30):
            while (await self.status())[0] != status:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.02)

    async def terminate(self) -> int:
        """As the kubelet after the preStop hook; the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await self.process.wait()

    async def fairlead_proxy(self, command: str, *arguments: str) -> tuple[int, str]:
        """Run it in the pod: exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", str(FAIRLEAD_PROXY), command, "--admin", self.admin, *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        assert process.returncode is not None
        return process.returncode, output.decode()


def made_for_loopback(config: dict[str, Any], status_port: int) -> dict[str, Any]:
    """Many pods on one machine cannot share port 19001."""
    (status,) = config["static_resources"]["listeners"]
    status["address"]["socket_address"]["port_value"] = status_port
    return config


@contextlib.asynccontextmanager
async def pod(
    folder: Path, *, xds_port: int, volumes: Rotating, gateway: str = "", name: str = "pod-1"
) -> AsyncIterator[Pod]:
    """A gateway's pod if *gateway* names one, else a sidecar; it ends with the block."""
    where = {"xds_host": "127.0.0.1", "server_name": XDS, "status_address": "127.0.0.1"}
    port = free_port()
    if gateway:
        config = pod_bootstrap.gateway(name=gateway, xds_port=xds_port, files=volumes.files, **where)
    else:
        config = pod_bootstrap.sidecar(xds_port=xds_port, files=volumes.files, **where)
    arguments = ["--service-node", name, *pod_bootstrap.arguments(concurrency=1)]
    text = bootstrap.text(made_for_loopback(config, port))
    async with real_envoy.running(text, folder / f"{name}.log", arguments=arguments) as process:
        yield Pod(name, volumes, process, port)
