"""Which namespaces' pods the API server asks about: those that have a policy for sidecars. A duty of the leader.

The chart's webhook configuration has two webhooks. One is for pods that ask by label; of the other the namespaces are
kept here, so that a control plane that is down never keeps a pod of another namespace from starting.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, Protocol

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.backoff import Backoff
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError

log = logging.getLogger(__name__)

#: The webhook whose namespaces are kept.
WEBHOOK: Final = "namespace.inject.fairlead.dev"
KEY: Final = "kubernetes.io/metadata.name"
PATH: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
#: Seconds between two looks when nothing was heard.
LOOK: Final = 60.0


class Patcher(Protocol):
    """Who writes: the Kubernetes client."""

    def json_patch(self, path: str, patch: list[dict[str, Any]]) -> Coroutine[Any, Any, dict[str, Any]]: ...


def selector(namespaces: Collection[str]) -> dict[str, Any]:
    """A ``namespaceSelector`` for exactly these; every namespace has this label, so none is what has it not."""
    if not namespaces:
        return {"matchExpressions": [{"key": KEY, "operator": "DoesNotExist"}]}
    return {"matchExpressions": [{"key": KEY, "operator": "In", "values": sorted(namespaces)}]}


class InjectedNamespaces:
    """The sink of a reflector of one MutatingWebhookConfiguration, and the duty to keep its namespaces.

    Attributes:
        writes: how many the API server took.
    """

    def __init__(
        self, client: Patcher, name: str, wanted: Callable[[], Collection[str]], never: Collection[str] = ()
    ) -> None:
        """*wanted*: the namespaces that have a policy for sidecars; *never*: those that are left alone all the same."""
        self.writes = 0
        self._client, self._name, self._wanted, self._never = client, name, wanted, frozenset(never)
        self._have: tuple[int, dict[str, Any]] | None = None
        self._wake = asyncio.Event()

    def apply(self, raw: dict[str, Any]) -> None:
        """The configuration as it is now."""
        found = [(index, hook) for index, hook in enumerate(raw.get("webhooks") or []) if hook.get("name") == WEBHOOK]
        self._have = (found[0][0], found[0][1].get("namespaceSelector") or {}) if found else None
        self._wake.set()

    def delete(self, ref: Ref) -> None:  # noqa: ARG002 - there is one only
        self._have = None

    def changed(self) -> None:
        """Policies may have come or gone."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        backoff = Backoff(0.2, 30.0)
        while True:
            self._wake.clear()
            try:
                await self._settle()
            except (ApiError, *CONNECTION_ERRORS) as error:
                log.warning("MutatingWebhookConfiguration %s: %s: trying again", self._name, error or repr(error))
                await asyncio.sleep(backoff.next())
                continue
            backoff.reset()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()

    async def _settle(self) -> None:
        if self._have is None:
            return
        index, before = self._have
        wanted = selector(set(self._wanted()) - self._never)
        if before == wanted:
            return
        # Places in the list may have changed meanwhile: then nothing is written, and the watch says what is there.
        where = f"/webhooks/{index}"
        patch: list[dict[str, Any]] = [
            {"op": "test", "path": f"{where}/name", "value": WEBHOOK},
            {"op": "add", "path": f"{where}/namespaceSelector", "value": wanted},
        ]
        raw = await self._client.json_patch(f"{PATH}/{self._name}", patch)
        self.writes += 1
        self.apply(raw)
