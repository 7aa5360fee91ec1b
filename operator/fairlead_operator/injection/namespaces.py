"""Which namespaces' pods the API server asks about: those that have a policy for sidecars. A duty of the leader.

The chart's webhook configuration has one webhook, for pods that ask by label. A second one is put beside it here, for
pods of these namespaces, so that a control plane that is down never keeps a pod of another namespace from starting. All of
it is ours (server-side apply): an upgrade and a rollback of the chart have no say in it, and no conflict.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Collection, Coroutine
from typing import Any, Final, Protocol

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.pods import INJECT
from fairlead_operator.sources.backoff import Backoffs
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError
from fairlead_operator.sources.once import Once

log = logging.getLogger(__name__)

#: The webhook that is ours, and the one of the chart that it is like.
WEBHOOK: Final = "namespace.inject.fairlead.dev"
MODEL: Final = "label.inject.fairlead.dev"
#: Who owns it, for the API server.
MANAGER: Final = "fairlead-injection"
KEY: Final = "kubernetes.io/metadata.name"
PATH: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
#: Pods that asked, or asked not to, are the other webhook's, or nobody's.
_UNDECIDED: Final = {"matchExpressions": [{"key": INJECT, "operator": "NotIn", "values": ["true", "false"]}]}
#: Seconds between two looks when nothing was heard.
LOOK: Final = 60.0

Json = dict[str, Any]


class Applier(Protocol):
    """Who writes: the Kubernetes client."""

    def apply(self, path: str, manifest: Json, *, manager: str) -> Coroutine[Any, Any, Json]: ...


def selector(namespaces: Collection[str]) -> dict[str, Any]:
    """A ``namespaceSelector`` for exactly these; every namespace has this label, so none is what has it not."""
    if not namespaces:
        return {"matchExpressions": [{"key": KEY, "operator": "DoesNotExist"}]}
    return {"matchExpressions": [{"key": KEY, "operator": "In", "values": sorted(namespaces)}]}


def entry(model: Json, namespaces: Collection[str]) -> Json:
    """Our webhook: what *model* says, for the pods of *namespaces*. The CA bundle is written by ``trust.distribution``."""
    client = {name: value for name, value in model["clientConfig"].items() if name != "caBundle"}
    return {
        **model,
        "name": WEBHOOK,
        "clientConfig": client,
        "objectSelector": _UNDECIDED,
        "namespaceSelector": selector(namespaces),
    }


class InjectedNamespaces:
    """The sink of a reflector of one MutatingWebhookConfiguration, and the duty to keep its namespaces.

    Attributes:
        writes: how many the API server took.
    """

    def __init__(
        self, client: Applier, name: str, wanted: Callable[[], Collection[str]], never: Collection[str] = ()
    ) -> None:
        """*wanted*: the namespaces that have a policy for sidecars; *never*: those that are left alone all the same."""
        self.writes = 0
        self._client, self._name, self._wanted, self._never = client, name, wanted, frozenset(never)
        self._hooks: dict[str, Json] = {}
        self._wake = asyncio.Event()

    def apply(self, raw: Json) -> None:
        """The configuration as it is now."""
        self._hooks = {str(hook.get("name")): hook for hook in raw.get("webhooks") or []}
        self._wake.set()

    def delete(self, ref: Ref) -> None:  # noqa: ARG002 - there is one only
        self._hooks = {}

    def changed(self) -> None:
        """Policies may have come or gone."""
        self._wake.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        backoff, once = Backoffs(0.2, 30.0), Once()
        while True:
            self._wake.clear()
            try:
                await self._settle()
            except (ApiError, *CONNECTION_ERRORS) as error:
                if news := once.news(error):
                    log.warning("MutatingWebhookConfiguration %s: %s: trying again", self._name, news)
                await asyncio.sleep(backoff.after(error))
                continue
            backoff.reset()
            once.works()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()

    async def _settle(self) -> None:
        model = self._hooks.get(MODEL)
        if model is None:
            return
        live = self._hooks.get(WEBHOOK)
        # Until it has a bundle, the API server could not ask it, and would refuse every pod that it has to ask about.
        trusted = live is not None and live["clientConfig"].get("caBundle")
        ours = entry(model, set(self._wanted()) - self._never if trusted else ())
        if live is not None and _without_bundle(live) == ours:
            return
        manifest = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": self._name},
            "webhooks": [ours],
        }
        raw = await self._client.apply(f"{PATH}/{self._name}", manifest, manager=MANAGER)
        self.writes += 1
        self.apply(raw)


def _without_bundle(hook: Json) -> Json:
    return {**hook, "clientConfig": {k: v for k, v in hook["clientConfig"].items() if k != "caBundle"}}
