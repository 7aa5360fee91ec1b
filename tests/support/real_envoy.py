"""A real Envoy as a child process, configured by ADS only."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

ENVOY = Path(sys.executable).with_name("envoy")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def bootstrap(*, xds_port: int, admin_port: int, node_id: str, cluster: str, api_type: str) -> str:
    """The configuration of an Envoy that gets all else over ADS; *api_type* is DELTA_GRPC or GRPC."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    server = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": xds_port}}}
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    return json.dumps(
        {
            "node": {"id": node_id, "cluster": cluster, "metadata": {"pod": "p1"}},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
            "dynamic_resources": {
                "cds_config": ads,
                "lds_config": ads,
                "ads_config": {
                    "api_type": api_type,
                    "transport_api_version": "V3",
                    "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
                },
            },
            "static_resources": {
                "clusters": [
                    {
                        "name": "xds",
                        "type": "STATIC",
                        "typed_extension_protocol_options": {
                            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2
                        },
                        "load_assignment": {
                            "cluster_name": "xds",
                            "endpoints": [{"lb_endpoints": [{"endpoint": server}]}],
                        },
                    }
                ]
            },
        }
    )


@contextlib.asynccontextmanager
async def running(
    config: str,
    log: Path,
    *,
    arguments: Sequence[str] = ("--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """An Envoy that is ended when the block is left; it writes its log to *log*."""
    process = await asyncio.create_subprocess_exec(
        str(ENVOY),
        *(*arguments, "--log-path", str(log), "--config-yaml", config),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(5)
        self.sock.connect(self._path)


async def admin(where: int | str, path: str, *, method: str = "GET") -> str:
    """What Envoy's administration interface, a port of loopback or a socket's path, says at *path*."""

    def fetch() -> str:
        connection = (
            _Unix(where) if isinstance(where, str) else http.client.HTTPConnection("127.0.0.1", where, timeout=5)
        )
        with contextlib.closing(connection):
            connection.request(method, path)
            return connection.getresponse().read().decode()

    return await asyncio.to_thread(fetch)


async def admin_up(where: int | str) -> None:
    """Return when Envoy's administration interface answers."""
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(OSError):
                await admin(where, "/server_info")
                return
            await asyncio.sleep(0.05)


async def eventually(condition: Callable[[], bool], *, seconds: float) -> None:
    """Return when *condition* holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for lives in another process
            await asyncio.sleep(0.02)
