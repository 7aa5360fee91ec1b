"""``/healthz``, ``/readyz``, ``/metrics``, ``/status`` and ``/endpoints`` over HTTP: what probes, Prometheus and people ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from fairlead_operator.api.meta import API_VERSION, Ref
from fairlead_operator.api.objects import InvalidPolicy, LoadBalancerPolicy
from fairlead_operator.endpoints.scout import Scout
from fairlead_operator.loop import ControlPlane
from fairlead_operator.metrics import Metrics

_NOTHING = "no such page: there are /healthz, /readyz, /metrics, /status and /endpoints/NAMESPACE/POLICY\n"


def policies(plane: ControlPlane) -> dict[str, Any]:
    """Every policy with its status, as ``kubectl get lbp -o json`` lists them."""
    items = [
        {
            "apiVersion": API_VERSION,
            "kind": ref.kind,
            "metadata": {"namespace": ref.namespace, "name": ref.name, "generation": policy.generation},
            "spec": _spec(policy),
            "status": plane.statuses.get(ref, {}),
        }
        for ref, policy in sorted(plane.world.policies.items())
    ]
    return {"apiVersion": "v1", "kind": "List", "items": items}


def _spec(policy: LoadBalancerPolicy | InvalidPolicy) -> dict[str, Any]:
    if isinstance(policy, InvalidPolicy):
        return {}
    return policy.spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _programmed(plane: ControlPlane) -> int:
    return sum(
        any(entry["type"] == "Programmed" and entry["status"] == "True" for entry in status["conditions"])
        for status in plane.statuses.values()
    )


class StatusServer:
    """The HTTP server of one control plane. *unready* says why nobody should be sent here; empty when all is well."""

    def __init__(
        self,
        plane: ControlPlane,
        metrics: Metrics,
        *,
        proxies: Callable[[], int],
        unready: Callable[[], str],
        errors: Callable[[], list[str]] = list,
        status_writes: Callable[[], int] | None = None,
        scout: Scout | None = None,
    ) -> None:
        """*scout* asks the proxies; without one nobody does."""
        self._plane, self._metrics = plane, metrics
        self._proxies, self._unready, self._errors, self._writes = proxies, unready, errors, status_writes
        self._scout = scout or Scout(plane, lambda _keys: [])
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port. Raises OSError where the address cannot be had."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/status", self._status)
        app.router.add_get("/endpoints/{namespace}/{name}", self._endpoints)
        app.router.add_get("/{path:.*}", self._nothing)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        why = self._unready()
        return web.Response(status=503, text=f"not ready: {why}\n") if why else web.Response(text="ok\n")

    async def _get_metrics(self, _request: web.Request) -> web.Response:
        writes = self._writes() if self._writes else None
        text = self._metrics.text(
            policies=len(self._plane.world.policies),
            programmed=_programmed(self._plane),
            proxies=self._proxies(),
            status_writes=writes,
        )
        return web.Response(text=text, content_type="text/plain", charset="utf-8")

    async def _status(self, _request: web.Request) -> web.Response:
        listed = policies(self._plane)
        if errors := [*self._errors(), *self._plane.errors.values()]:
            listed["errors"] = errors
        return web.json_response(listed)

    async def _nothing(self, _request: web.Request) -> web.Response:
        return web.Response(status=404, text=_NOTHING)

    async def _endpoints(self, request: web.Request) -> web.Response:
        ref = Ref("LoadBalancerPolicy", request.match_info["namespace"], request.match_info["name"])
        try:
            return web.json_response(await self._scout.survey(ref))
        except KeyError:
            return web.Response(status=404, text=f"there is no policy {ref.namespace}/{ref.name}\n")
