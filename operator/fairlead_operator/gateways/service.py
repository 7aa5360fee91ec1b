"""Keeps the Services of the gateways open on the ports of their listeners: a duty of the leader.

``ports`` says what should be, the API server whether it can be: where it refuses, the policies on that port are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Mapping
from typing import Any, Final, NamedTuple, Protocol

from fairlead_operator.advice import Closed
from fairlead_operator.api.core import Service
from fairlead_operator.api.meta import Ref
from fairlead_operator.gateways import ports
from fairlead_operator.sources.backoff import Backoffs
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError
from fairlead_operator.sources.once import Once
from fairlead_operator.world import World

log = logging.getLogger(__name__)

#: Who owns the ports, for the API server (server-side apply).
MANAGER: Final = "fairlead-ports"
#: Seconds between two writes: somebody who takes the ports away again is not fought at full speed.
QUIET: Final = 1.0
#: Seconds after which what was refused is tried again: a quota may have been raised, a port given back.
AGAIN: Final = 60.0


class _Refused(NamedTuple):
    """What the API server did not take, of which Service as it was then, and until when it is not tried again."""

    needed: tuple[int, ...]
    service: Service
    why: str
    until: float


class Applier(Protocol):
    """Who writes: the Kubernetes client."""

    def apply(self, path: str, manifest: dict[str, Any], *, manager: str) -> Coroutine[Any, Any, dict[str, Any]]: ...


class Plane(Protocol):
    """The control plane, as far as this duty needs it."""

    world: World

    def listening(self, gateway: str) -> Iterable[int]:
        """The ports of a gateway's listeners."""

    def closed(self, ports: Closed) -> None:
        """These ports are not open, and why; all others are."""


class GatewayServices:
    """The Services of all gateways.

    Attributes:
        writes: how many the API server took.
    """

    def __init__(self, client: Applier, plane: Plane, namespace: str, services: Mapping[str, str]) -> None:
        """*services* maps a gateway to its Service in *namespace*; gateways without one are left out."""
        self.writes = 0
        self._client, self._plane, self._namespace, self._services = client, plane, namespace, services
        self._wake = asyncio.Event()
        self._refused: dict[str, _Refused] = {}
        self._failing: dict[str, ApiError] = {}

    def changed(self) -> None:
        """Listeners or Services may have changed: the control plane has run."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        backoff, once = Backoffs(0.2, 30.0), Once()
        self._refused.clear()
        while True:
            self._wake.clear()
            self._failing.clear()
            wrote: list[bool] = []
            trouble: Exception | None = None
            try:
                wrote = [await self._settle(gateway, name) for gateway, name in self._services.items()]
                self._tell()
                trouble = next(iter(self._failing.values()), None)
            except CONNECTION_ERRORS as error:
                trouble = error
            if trouble is not None:
                if news := once.news(trouble):
                    log.warning("ports of gateways: %s: trying again", news)
                await asyncio.sleep(backoff.after(trouble))
                continue
            backoff.reset()
            once.works()
            if any(wrote):
                await asyncio.sleep(QUIET)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min((one.until for one in self._refused.values()), default=None)):
                    await self._wake.wait()

    async def _settle(self, gateway: str, name: str) -> bool:
        """Write what differs; whether anything was written."""
        service = self._plane.world.services.get(Ref("Service", self._namespace, name))
        if service is None:
            return False
        plan = ports.plan(service, self._plane.listening(gateway))
        if not plan.differs:
            self._refused.pop(gateway, None)
            return False
        refused, now = self._refused.get(gateway), asyncio.get_running_loop().time()
        if refused is not None and (refused.needed, refused.service) == (plan.needed, service) and now < refused.until:
            return False  # it would be refused again; another set of ports, or another Service, may not
        path = f"/api/v1/namespaces/{self._namespace}/services/{name}"
        try:
            await self._client.apply(path, ports.manifest(self._namespace, name, plan.needed), manager=MANAGER)
        except ApiError as error:
            if (
                error.status == 429 or error.status >= 500
            ):  # such as a webhook of the cluster for this one; others go on
                self._failing[gateway] = error
                return False
            if refused is None or (refused.needed, refused.why) != (plan.needed, error.message):
                ports_ = list(plan.needed)
                log.warning("Service %s/%s cannot have the ports %s: %s", self._namespace, name, ports_, error)
            self._refused[gateway] = _Refused(plan.needed, service, error.message, now + AGAIN)
            return False
        log.info("Service %s/%s has the listeners' ports %s now", self._namespace, name, list(plan.needed) or "no more")
        self._refused.pop(gateway, None)
        self.writes += 1
        return True

    def _tell(self) -> None:
        closed: dict[tuple[str, int], str] = {}
        for gateway, name in self._services.items():
            ref = Ref("Service", self._namespace, name)
            service = self._plane.world.services.get(ref)
            listening = self._plane.listening(gateway)
            if service is None:
                why = f"{ref} does not exist: turn service.enabled on for gateway {gateway} in the chart's values"
                closed.update({(gateway, port): why for port in listening})
                continue
            refused = self._refused.get(gateway)
            for port in ports.missing(service, listening):
                if (other := ports.elsewhere(service, port)) is not None:
                    closed[gateway, port] = (
                        f"{ref} leads port {port} to {other.target}: listen there, or change its port"
                    )
                elif refused:
                    closed[gateway, port] = f"{ref} was refused it: {refused.why}"
                elif (failing := self._failing.get(gateway)) is not None:
                    closed[gateway, port] = f"{ref} does not have it yet: {failing.message}"
        self._plane.closed(closed)
