"""A proxy in front of the tests' API server that counts requests and makes faults: broken, silent and lying watches."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import yaml
from aiohttp import web

from tests.support.kube import Cluster

_HOP_BY_HOP = {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}


class ApiProxy:
    """Plain HTTP on loopback. Resources are named by their plural.

    Attributes:
        requests: ``(method, path)`` of every request, watches included.
        answers: ``(method, path with query, status)`` of every one that the API server answered.
        kubeconfig: leads clients here.
    """

    def __init__(self, kube: Cluster, kubeconfig: Path) -> None:
        self.requests: list[tuple[str, str]] = []
        self.answers: list[tuple[str, str, int]] = []
        self.kubeconfig = kubeconfig
        self._kube = kube
        self._refused: set[str] = set()
        self._silent: set[str] = set()
        self._watches: dict[str, list[tuple[web.Request, web.StreamResponse]]] = defaultdict(list)
        self._session: aiohttp.ClientSession

    # What tests do

    def count(self, method: str, ending: str) -> int:
        return sum(one == method and path.endswith(ending) for one, path in self.requests)

    def watches(self, plural: str) -> int:
        """How many are open now."""
        return len(self._watches[plural])

    def refuse(self, plural: str) -> None:
        """Break the watches, and every request, without an answer until ``allow``."""
        self._refused.add(plural)
        self.cut(plural)

    def allow(self, plural: str) -> None:
        self._refused.discard(plural)
        self._silent.discard(plural)

    def silence(self, plural: str) -> None:
        """Open watches stay open and say nothing more; new ones are fine."""
        self._silent.add(plural)

    def cut(self, plural: str) -> None:
        """Break the open watches in the middle."""
        for request, _ in list(self._watches[plural]):
            if request.transport is not None:
                request.transport.abort()

    async def say(self, plural: str, line: str) -> None:
        """Put *line* into the open watches."""
        for _, response in list(self._watches[plural]):
            await response.write(line.encode() + b"\n")

    # How it works

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        plural = next((part for part in request.path.split("/") if part in self._refused), "")
        if plural and request.transport is not None:
            request.transport.abort()
            raise web.HTTPServiceUnavailable  # nobody hears it; the API server must not hear of the request either
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_BY_HOP}
        try:
            answer = await self._session.request(
                request.method, self._kube.url + request.path_qs, headers=headers, data=await request.read() or None
            )
        except aiohttp.ClientError:
            raise web.HTTPServiceUnavailable from None
        self.answers.append((request.method, request.path_qs, answer.status))
        async with answer:
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in _HOP_BY_HOP}
            response = web.StreamResponse(status=answer.status, headers=kept)
            await response.prepare(request)
            await self._pass_on(request, response, answer)
        return response

    async def _pass_on(
        self, request: web.Request, response: web.StreamResponse, answer: aiohttp.ClientResponse
    ) -> None:
        plural = request.path.rstrip("/").rpartition("/")[2]
        open_watches = self._watches[plural] if "watch" in request.query else []
        mine = (request, response)
        open_watches.append(mine)
        deaf = False
        try:
            async for chunk, _ in answer.content.iter_chunks():
                deaf = deaf or (plural in self._silent and "watch" in request.query)
                if not deaf:
                    await response.write(chunk)
        except (aiohttp.ClientError, ConnectionError):
            if request.transport is not None:
                request.transport.abort()
        finally:
            open_watches.remove(mine)


@contextlib.asynccontextmanager
async def api_proxy(kube: Cluster, folder: Path, *, token: str = "") -> AsyncIterator[ApiProxy]:
    """A proxy that runs until the block is left; *token*: of whom it leads there, by default the administrator's."""
    proxy = ApiProxy(kube, folder / "kubeconfig")
    app = web.Application(client_max_size=2**24)
    app.router.add_route("*", "/{path:.*}", proxy.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    tls = ssl.create_default_context(cafile=str(kube.ca_file))
    proxy._session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=tls, limit=0), timeout=aiohttp.ClientTimeout(total=None)
    )
    async with proxy._session:
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            config = kube.kubeconfig_for(token or kube.token)
            port = runner.addresses[0][1]
            config["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{port}"}
            proxy.kubeconfig.write_text(yaml.safe_dump(config))
            yield proxy
        finally:
            await runner.cleanup()
            await asyncio.sleep(0)
