"""What proxies and the API server believe, brought to them: a ConfigMap in each namespace, and the webhook's caBundle.

The leader writes (``spread``); a replica that injects a proxy makes sure that its namespace has the ConfigMap
(``ensure``). Both know from a watch what is there. A ConfigMap that is there stays, and is kept up to date, also where
no proxy is known: one may be about to start.

Where the API server refuses a write for a reason of that namespace (an immutable ConfigMap, a quota, a webhook), its
proxies alone are without the new bundle: nobody can hold back the certificates of all others that way.
"""

from __future__ import annotations

import base64
import enum
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


class Outcome(enum.Enum):
    """What came of a write: there is nothing left to do, it is to be tried again soon, or that namespace refuses it."""

    DONE = enum.auto()
    LATER = enum.auto()
    REFUSED = enum.auto()


class ConfigMaps:
    """The sink of a reflector of all ConfigMaps of that name.

    Attributes:
        have: namespace -> bundle.
        refused: namespace -> why the API server takes no write there.
    """

    def __init__(self, client: KubeClient, changed: Callable[[], None]) -> None:
        self.have: dict[str, str] = {}
        self.refused: dict[str, str] = {}
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
        self.refused.pop(ref.namespace, None)
        self._ours.discard(ref.namespace)
        self._changed()

    def lacking(self, bundle: str, wanted: Collection[str]) -> list[str]:
        """The namespaces that do not have *bundle* and should."""
        return sorted(name for name in {*wanted, *self._ours} if self.have.get(name) != bundle)

    async def write(self, namespace: str, bundle: str) -> Outcome:
        """Bring *bundle* there."""
        try:
            await self._write(namespace, bundle)
        except ApiError as error:
            return self._failed(namespace, error)
        except CONNECTION_ERRORS as error:
            log.warning("ConfigMap %s/%s: %s", namespace, CONFIG_MAP, error or repr(error))
            return Outcome.LATER
        self.refused.pop(namespace, None)
        self.have[namespace] = bundle
        self._ours.add(namespace)
        return Outcome.DONE

    async def _write(self, namespace: str, bundle: str) -> None:
        path = f"/api/v1/namespaces/{namespace}/configmaps/{CONFIG_MAP}"
        content = {"metadata": {"labels": LABELS}, "data": {KEY: bundle}}
        if namespace in self.have:
            await self._client.merge_patch(path, content)  # whoever else has touched it
            return
        whole = {"name": CONFIG_MAP, "namespace": namespace, "labels": LABELS}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": whole, "data": content["data"]}
        await self._client.apply(path, manifest, manager=MANAGER)

    def _failed(self, namespace: str, error: ApiError) -> Outcome:
        if error.status == 404 and namespace in self.have:  # deleted meanwhile
            return Outcome.LATER
        if error.status == 404 or (error.status == 403 and "terminat" in error.message):
            return Outcome.DONE  # the namespace is gone, or about to be
        what = f"ConfigMap {namespace}/{CONFIG_MAP}: {error}"
        if (error.status in (409, 429) or error.status >= 500 or _ours_to_mend(error)) and not _of_a_webhook(error):
            log.warning(what)
            return Outcome.LATER
        if self.refused.get(namespace) != error.message:
            self.refused[namespace] = error.message
            mend = "let the webhook answer" if _of_a_webhook(error) else "delete it, and it is made anew"
            log.error("%s: proxies there do not learn of new certificates; %s", what, mend)
        return Outcome.REFUSED


def _ours_to_mend(error: ApiError) -> bool:
    """No right to write ConfigMaps: that is how the operator is installed, and no doing of the namespace."""
    return error.status == 403 and " cannot " in error.message and " resource " in error.message


def _of_a_webhook(error: ApiError) -> bool:
    """An admission webhook does not answer. It may be for that namespace alone; one for all is for our own, too."""
    return error.status == 500 and "failed calling webhook" in error.message


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

    def __init__(
        self, maps: ConfigMaps, webhook: Webhook | None, *, own: str, wanted: Callable[[], Collection[str]] = tuple
    ) -> None:
        """*own*: the installation's namespace; *wanted*: all others that have proxies."""
        self._maps, self._webhook, self._own, self._wanted = maps, webhook, own, wanted

    async def spread(self, bundle: str) -> bool:
        """Bring *bundle* everywhere; whether it is everywhere now, but for namespaces that refuse it. For the leader."""
        done = True
        for namespace in self._maps.lacking(bundle, {self._own, *self._wanted()}):
            outcome = await self._maps.write(namespace, bundle)
            done &= outcome is Outcome.DONE or (outcome is Outcome.REFUSED and namespace != self._own)
        if self._webhook is not None:
            done &= await self._webhook.write(bundle)
        return done

    async def ensure(self, namespace: str, bundle: str) -> bool:
        """Bring *bundle* to a namespace that has none: a pod there is about to need it. For every replica."""
        return namespace in self._maps.have or await self._maps.write(namespace, bundle) is Outcome.DONE

    def metrics(self) -> list[str]:
        """For the page of metrics."""
        return [
            "# HELP fairlead_ca_refused_namespaces Namespaces whose ConfigMap fairlead-ca cannot be written.",
            "# TYPE fairlead_ca_refused_namespaces gauge",
            f"fairlead_ca_refused_namespaces {len(self._maps.refused)}",
        ]
