"""What proxies and the API server believe, brought to them: a ConfigMap in each namespace, and the webhook's caBundle.

The leader writes (``spread``); a replica that injects a proxy makes sure that its namespace has the ConfigMap
(``ensure``). Both know from a watch what is there. A ConfigMap that is there stays, and is kept up to date, also where
no proxy is known: one may be about to start.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable, Collection
from typing import Any, Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError, KubeClient
from fairlead_operator.trust.storage import LABELS

log = logging.getLogger(__name__)

#: Of the ConfigMap in every namespace, and its key: proxies mount it.
CONFIG_MAP: Final = "fairlead-ca"
KEY: Final = "ca.crt"
MANAGER: Final = "fairlead"
_WEBHOOKS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"


class ConfigMaps:
    """The sink of a reflector of all ConfigMaps of that name.

    Attributes:
        have: namespace -> bundle.
    """

    def __init__(self, client: KubeClient, changed: Callable[[], None]) -> None:
        self.have: dict[str, str] = {}
        self._client, self._changed = client, changed
        self._ours: set[str] = set()

    def apply(self, raw: dict[str, Any]) -> None:
        metadata = raw["metadata"]
        namespace, bundle = metadata["namespace"], (raw.get("data") or {}).get(KEY, "")
        ours = LABELS.items() <= (metadata.get("labels") or {}).items()
        (self._ours.add if ours else self._ours.discard)(namespace)
        if self.have.get(namespace) != bundle:
            self.have[namespace] = bundle
            self._changed()

    def delete(self, ref: Ref) -> None:
        self.have.pop(ref.namespace, None)
        self._ours.discard(ref.namespace)
        self._changed()

    def lacking(self, bundle: str, wanted: Collection[str]) -> list[str]:
        """The namespaces that do not have *bundle* and should."""
        return sorted(name for name in {*wanted, *self._ours} if self.have.get(name) != bundle)

    async def write(self, namespace: str, bundle: str) -> bool:
        """Bring *bundle* there; whether there is nothing left to do there."""
        path = f"/api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}"
        content = {"metadata": {"labels": LABELS}, "data": {KEY: bundle}}
        try:
            if namespace in self.have:
                await self._client.merge_patch(path, content)  # whoever else has touched it
            else:
                whole = {"name": CONFIG_MAP, "namespace": namespace, "labels": LABELS}
                manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": whole, "data": content["data"]}
                await self._client.apply(path, manifest, manager=MANAGER)
        except ApiError as error:
            if error.status == 404 and namespace in self.have:  # deleted meanwhile
                return False
            if error.status == 404 or (error.status == 403 and "terminat" in error.message):
                return True  # the namespace is gone, or about to be
            log.warning("ConfigMap %s/%s: %s", namespace, CONFIG_MAP, error)
            return False
        except CONNECTION_ERRORS as error:
            log.warning("ConfigMap %s/%s: %s", namespace, CONFIG_MAP, error or repr(error))
            return False
        self.have[namespace] = bundle
        self._ours.add(namespace)
        return True


class Webhook:
    """The sink of a reflector of one MutatingWebhookConfiguration."""

    def __init__(self, client: KubeClient, name: str, changed: Callable[[], None]) -> None:
        self.name = name
        self._client, self._changed = client, changed
        self._have: list[tuple[str, str]] = []

    def apply(self, raw: dict[str, Any]) -> None:
        have = [(hook["name"], hook["clientConfig"].get("caBundle", "")) for hook in raw.get("webhooks") or ()]
        if have != self._have:
            self._have = have
            self._changed()

    def delete(self, ref: Ref) -> None:  # noqa: ARG002 - there is one only
        self._have = []

    async def write(self, bundle: str) -> bool:
        """Bring *bundle* there; whether there is nothing left to do there."""
        wanted = base64.b64encode(bundle.encode()).decode()
        patch: list[dict[str, Any]] = []
        for index, (name, value) in enumerate(self._have):
            if value != wanted:
                # Places in the list may have changed meanwhile: then nothing is written.
                patch.append({"op": "test", "path": f"/webhooks/{index}/name", "value": name})
                patch.append({"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted})
        if not patch:
            return True
        try:
            self.apply(await self._client.json_patch(f"{_WEBHOOKS}/{self.name}", patch))
        except (ApiError, *CONNECTION_ERRORS) as error:
            log.warning("MutatingWebhookConfiguration %s: %s", self.name, error or repr(error))
            return False
        return True


class Distribution:
    """Everything that has to know the bundle."""

    def __init__(self, maps: ConfigMaps, webhook: Webhook | None, wanted: Callable[[], Collection[str]]) -> None:
        """*wanted*: the namespaces that have proxies, the installation's among them."""
        self._maps, self._webhook, self._wanted = maps, webhook, wanted

    async def spread(self, bundle: str) -> bool:
        """Bring *bundle* everywhere; whether it is everywhere now. For the leader."""
        done = True
        for namespace in self._maps.lacking(bundle, self._wanted()):
            done &= await self._maps.write(namespace, bundle)
        if self._webhook is not None:
            done &= await self._webhook.write(bundle)
        return done

    async def ensure(self, namespace: str, bundle: str) -> bool:
        """Bring *bundle* to a namespace that has none: a pod there is about to need it. For every replica."""
        return namespace in self._maps.have or await self._maps.write(namespace, bundle)
