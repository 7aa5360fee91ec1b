"""Pages of Envoys over real connections: whoever owns a pod may answer in its sidecar's place, and is not believed much."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from fairlead_operator.endpoints import pages as subject
from fairlead_operator.endpoints.admin import Seen
from fairlead_operator.endpoints.pages import Pages
from fairlead_operator.endpoints.targets import Target

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def _empty(_request: web.Request) -> web.StreamResponse:
    return web.json_response({})


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[Target]:
    """A target whose ``/clusters`` is answered by *handler*, and every other path by 200."""
    app = web.Application()
    app.router.add_get("/clusters", handler)
    app.router.add_get("/{path:.*}", _empty)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Target("edge-1", "edge", f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def _hosts(count: int) -> dict[str, object]:
    hosts = [
        {
            "address": {"socket_address": {"address": f"10.{number // 65536}.{number // 256 % 256}.{number % 256}"}},
            "health_status": {"failed_outlier_check": True},
        }
        for number in range(count)
    ]
    for host in hosts:
        host["address"]["socket_address"]["port_value"] = 80  # type: ignore[index]
    return {"cluster_statuses": [{"name": "a", "host_statuses": hosts}]}


async def test_a_page_of_many_pieces_is_read_whole() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(_hosts(5000))

    async with serving(answer) as target:
        found = await Pages().clusters(target)
    assert found is not None
    assert len(found["a"]) == 5000
    assert found["a"]["10.0.19.135:80"] == [Seen(ejected=True)]


async def test_a_page_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "LARGEST", 100_000)
    sent = 0

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" " * 10_000)
                sent += 10_000
                await asyncio.sleep(0)
        return response

    async with serving(answer) as target:
        assert await Pages().clusters(target) is None
    assert sent < 50_000_000


async def test_nobody_is_sent_elsewhere() -> None:
    """A redirect would let a pod choose whom the operator asks."""

    async def answer(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async with serving(answer) as target:
        assert await Pages().clusters(target) is None


@pytest.mark.parametrize("text", ["no json", "[" * 100_000, json.dumps({"cluster_statuses": 1})])
async def test_odd_pages_say_nothing(text: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    async with serving(answer) as target:
        assert not await Pages().clusters(target)


async def test_who_is_not_there_says_nothing() -> None:
    assert await Pages().clusters(Target("gone", "edge", "http://127.0.0.1:1")) is None
    assert await Pages().unfit(Target("socket", "edge", "http://envoy", "/nowhere/socket")) is None
    assert await Pages().clusters(Target("cannot", "edge")) is None
