"""The HTTPS server that the API server asks about new pods.

It is our own and not kopf's: kopf starts anew after watch errors that it does not expect, and a webhook whose failure
refuses pods must not go away with it (docs/adr/0007).
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import web

from fairlead_operator.injection import review
from fairlead_operator.injection.settings import Settings

log = logging.getLogger(__name__)

#: Bytes of a review: a new pod comes alone, and is 1.5 MiB at most (etcd).
LARGEST = 2 * 1024 * 1024
#: Seconds that a pod waits for its namespace's bundle: the leader brings it a moment later in any case.
PATIENCE = 1.0


class Webhook:
    """Answers ``POST /inject``.

    Attributes:
        injected, refused, passed: how many pods got a sidecar, were refused, and were let through as they are.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        selected: review.Selected,
        captured: review.Captured,
        ensure: Callable[[str], Awaitable[bool]],
    ) -> None:
        """*ensure* brings what a sidecar needs into its namespace; a pod does not wait for it in vain."""
        self.injected = self.refused = self.passed = 0
        self._settings, self._selected, self._captured, self._ensure = settings, selected, captured, ensure
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext) -> int:
        """Listen, and return the port. Raises OSError where the address cannot be had."""
        app = web.Application(client_max_size=LARGEST)
        app.router.add_post("/inject", self._inject)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    def metrics(self) -> list[str]:
        """For the page of metrics."""
        counts = {"injected": self.injected, "refused": self.refused, "passed": self.passed}
        return [
            "# HELP fairlead_pods_reviewed_total Pods that the API server asked about, by what became of them.",
            "# TYPE fairlead_pods_reviewed_total counter",
            *(f'fairlead_pods_reviewed_total{{result="{name}"}} {count}' for name, count in counts.items()),
        ]

    async def _inject(self, request: web.Request) -> web.Response:
        try:
            asked = review.question(json.loads(await request.read()))
        except (ValueError, RecursionError, review.ReviewError) as error:
            return web.Response(status=400, text=f"{error}\n")
        answer = review.answer(asked, self._settings, self._selected, self._captured)
        response = answer["response"]
        if "patch" in response:
            self.injected += 1
            if not asked.get("dryRun"):
                await self._prepare(asked["namespace"])
        elif response["allowed"]:
            self.passed += 1
        else:
            self.refused += 1
            log.info("a pod of namespace %s is refused: %s", asked["namespace"], response["status"]["message"])
        return web.json_response(answer)

    async def _prepare(self, namespace: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ensure(namespace)
        except Exception as error:  # noqa: BLE001 - the pod is fine without; the leader brings it a moment later
            log.warning("namespace %s has no CA bundle yet: %s", namespace, error or repr(error))
