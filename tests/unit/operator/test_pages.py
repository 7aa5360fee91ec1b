"""Pages of Envoys over real connections: whoever owns a pod may answer in its sidecar's place, and is not believed much."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aiohttp import web

from fairlead_operator.endpoints import pages as subject
from fairlead_operator.endpoints.admin import Page, Seen
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
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01)  # some never answer
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield Target("edge-1", "edge", f"http://127.0.0.1:{runner.addresses[0][1]}")
    finally:
        await runner.cleanup()


def whole(page: Page) -> Page:
    return page


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
        found = await Pages().clusters(target, whole)
    assert found is not None
    assert len(found["a"]) == 5000
    assert found["a"]["10.0.19.135:80"] == Seen(ejected=True, unfit=True)


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
        assert await Pages().clusters(target, whole) is None
    assert sent < 50_000_000


async def test_nobody_is_sent_elsewhere() -> None:
    """A redirect would let a pod choose whom the operator asks."""

    async def answer(_request: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")

    async with serving(answer) as target:
        assert await Pages().clusters(target, whole) is None


@pytest.mark.parametrize("text", ["no json", "[" * 100_000, json.dumps({"cluster_statuses": 1})])
async def test_odd_pages_say_nothing(text: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text)

    async with serving(answer) as target:
        assert not await Pages().clusters(target, whole)


async def test_who_is_not_there_says_nothing() -> None:
    assert await Pages().clusters(Target("gone", "edge", "http://127.0.0.1:1"), whole) is None
    assert await Pages().unfit(Target("socket", "edge", "http://envoy", "/nowhere/socket")) is None
    assert await Pages().clusters(Target("cannot", "edge"), whole) is None


async def _never(_request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def _begins(request: web.Request) -> web.StreamResponse:
    """A large page, and then nothing."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b" " * (subject.SMALL + 1))
    return await _never(request)


@pytest.mark.parametrize("handler", [_never, _begins])
async def test_who_is_silent_delays_nobody(monkeypatch: pytest.MonkeyPatch, handler: Handler) -> None:
    monkeypatch.setattr(subject, "PATIENCE", 60.0)
    monkeypatch.setattr(subject, "PATIENCE_LARGE", 60.0)

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(_hosts(1))

    async with serving(handler) as silent, serving(answer) as target, asyncio.timeout(20):
        pages = Pages()
        waiting = [asyncio.create_task(pages.clusters(silent, whole)) for _ in range(subject.AT_ONCE - 1)]
        await asyncio.sleep(0)  # they come first
        assert await pages.clusters(target, whole) == {"a": {"10.0.0.0:80": Seen(ejected=True, unfit=True)}}
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_goes_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "PATIENCE_LARGE", 0.01)
    async with serving(_begins) as target, asyncio.timeout(20):
        assert await Pages().clusters(target, whole) is None


async def test_few_large_pages_are_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as would be in memory if all who own a pod answered the largest page."""
    there, lock = [0], threading.Lock()

    def count(more: int) -> None:
        with lock:
            there.append(there[-1] + more)

    get = subject._read

    async def counted(content: aiohttp.StreamReader, parts: list[bytes], most: int) -> bool:
        if most == subject.LARGEST:
            count(1)
        return await get(content, parts, most)

    def read(page: Page) -> int:
        count(-1)
        return len(page["a"])

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(_hosts(2000))

    monkeypatch.setattr(subject, "_read", counted)
    async with serving(answer) as target:
        pages = Pages()
        found = await asyncio.gather(*(pages.clusters(target, read) for _ in range(12)))
    assert found == [2000] * 12
    assert max(there) <= subject.LARGE_AT_ONCE
