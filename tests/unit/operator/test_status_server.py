"""The pages over HTTP, asked for as people do: by mistake too."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from fairlead_operator.cli.main import main
from fairlead_operator.loop import ControlPlane
from fairlead_operator.metrics import Metrics
from fairlead_operator.status_server import StatusServer
from fairlead_xds.store import Store


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[str]:
    """The address of a server."""
    server = StatusServer(ControlPlane(Store(), list), Metrics(), proxies=lambda: 0, unready=lambda: "")
    port = await server.start("127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop()


async def _fetch(method: str, url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.request(method, url) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("path", ["", "/", "/foo", "/endpoints", "/endpoints/", "/endpoints/x", "/endpoints/x/y/z"])
async def test_who_asks_for_an_odd_path_is_told_which_there_are(path: str) -> None:
    async with serving() as address:
        status, text = await _fetch("GET", f"http://{address}{path}")
    assert status == 404
    assert text == ("no such page: there are /healthz, /readyz, /metrics, /status and /endpoints/NAMESPACE/POLICY\n")


async def test_pages_answer_as_before() -> None:
    async with serving() as address:
        assert await _fetch("GET", f"http://{address}/healthz") == (200, "ok\n")
        assert (await _fetch("HEAD", f"http://{address}/status"))[0] == 200
        assert (await _fetch("POST", f"http://{address}/status"))[0] == 405
        assert await _fetch("GET", f"http://{address}/endpoints/x/y") == (404, "there is no policy x/y\n")


@pytest.mark.parametrize(
    ("policy", "told"),
    [("shop/", "'shop/' names no policy: write it as NAMESPACE/POLICY"), ("site", "there is no policy default/site")],
)
async def test_the_command_says_what_is_wrong(policy: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with serving() as address:
        assert await asyncio.to_thread(main, ["endpoints", policy, "--status-address", address]) != 0
    assert told in capsys.readouterr().err
