"""One replica of an installation, put together for ``app``: who leads, what only the leader does, what all of them report.

Every replica watches everything and serves. The leader alone writes, statuses among it: whoever starts to lead knows what
the API server has, computes every status anew, and writes those that differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Final

from fairlead_operator.api.config import OperatorConfig
from fairlead_operator.leader import Leadership
from fairlead_operator.loop import ControlPlane
from fairlead_operator.replicas.peers import Peers
from fairlead_operator.replicas.reporter import Reporter, kind, owners
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError, KubeClient
from fairlead_operator.sources.reflector import Reflector, Timings
from fairlead_operator.status_writer import StatusWriter

log = logging.getLogger(__name__)

#: What everything that the operator makes in its own namespace goes with.
DEPLOYMENT: Final = "fairlead-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this process is.

    Attributes:
        name: of the replica; in a cluster that of its pod.
        uid: of its pod; empty where there is none.
    """

    name: str
    uid: str = ""


class Replica:
    """Made before the control plane, which asks for ``peers``; ``join`` it then.

    Attributes:
        peers: all replicas' proxies.
        leadership: others add their duties.
        reporter: writes this replica's report.
    """

    def __init__(self, client: KubeClient, config: OperatorConfig, identity: Identity, *, settle: float) -> None:
        """*settle*: seconds from the start in which proxies may come back before statuses are written."""
        self._client, self._config, self._settle = client, config, settle
        self._lasting = config.lease.seconds("duration")
        self._owner = owners(identity.name, identity.uid)
        self.peers = Peers(identity.name, lasting=self._lasting)
        self.leadership = Leadership(client, config.namespace, identity.name, config.lease, owner=self._deployment)
        self.reporter: Reporter
        self._reflector: Reflector
        self._candidacy: asyncio.Task[None] | None = None

    def join(self, plane: ControlPlane, writer: StatusWriter, *, timings: Timings) -> None:
        """Write what *plane* says with *writer*, and bring the other replicas' proxies into it."""
        writer.only_while(lambda: self.leadership.is_leader)
        self.reporter = Reporter(
            self._client,
            self._config.namespace,
            self.peers,
            lasting=self._lasting,
            owner=self._owner,
            doubt=plane.doubt,
        )
        self._reflector = Reflector(kind(self._config.namespace), self._client, self.reporter, timings=timings)
        self.leadership.add_duty("statuses", lambda: self._write_statuses(plane, writer))

    def run(self) -> list[Coroutine[Any, Any, None]]:
        """What runs all the time."""
        return [self._stand(), self._reflector.run(), self.reporter.run()]

    async def resign(self) -> None:
        """Lead no more, and let the next one start at once."""
        if self._candidacy is not None:
            self._candidacy.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._candidacy

    async def _stand(self) -> None:
        self._candidacy = asyncio.create_task(self.leadership.run(), name="leadership")
        try:
            await asyncio.wait([self._candidacy])
            if not self._candidacy.cancelled():
                self._candidacy.result()  # it does not end by itself: this raises
        finally:
            await self.resign()

    async def _write_statuses(self, plane: ControlPlane, writer: StatusWriter) -> None:
        await plane.served()
        await asyncio.sleep(max(0.0, plane.served_at + self._settle - asyncio.get_running_loop().time()))
        plane.say_again(writer.begin())
        try:
            await asyncio.Event().wait()
        finally:
            writer.pause()

    async def _deployment(self) -> dict[str, Any] | None:
        """So that what is made goes with the release."""
        path = f"/apis/apps/v1/namespaces/{self._config.namespace}/deployments/{DEPLOYMENT}"
        try:
            metadata = (await self._client.get(path))["metadata"]
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.debug("Deployment %s: %r: the Lease is made without an owner", DEPLOYMENT, error)
            return None
        return {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}
