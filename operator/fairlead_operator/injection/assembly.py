"""Everything about injection in one replica, put together for ``app``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import Any, Protocol

from fairlead_operator.api.config import OperatorConfig
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.pods import Pod
from fairlead_operator.capture import captured_services
from fairlead_operator.injection.namespaces import InjectedNamespaces
from fairlead_operator.injection.settings import Settings
from fairlead_operator.injection.webhook import Webhook
from fairlead_operator.options import StartError, split
from fairlead_operator.sidecars import NEVER
from fairlead_operator.sources.client import KubeClient
from fairlead_operator.sources.mirror import Kind
from fairlead_operator.sources.reflector import Reflector, Timings
from fairlead_operator.trust.serving import ServingCertificate
from fairlead_operator.world import World

log = logging.getLogger(__name__)


class Trusting(Protocol):
    """What injection needs of ``trust``."""

    serving: ServingCertificate

    def ensure(self, namespace: str) -> Awaitable[bool]: ...


def settings_of(config: OperatorConfig) -> Settings | None:
    """What the file of an installation says of sidecars; ``None``: nothing is injected."""
    proxy = config.proxy
    if proxy is None or config.webhook is None:
        return None
    _, port = split(config.xds_address)
    return Settings(
        image=proxy.image,
        image_pull_policy=proxy.image_pull_policy,
        xds_host=config.xds_host,
        xds_port=port,
        audience=config.audience,
        requests=dict(proxy.resources.requests.items()),
        limits=dict(proxy.resources.limits.items()),
        start_limit=proxy.start_limit,
    )


class Injection:
    """One in each replica: all answer the API server, the leader keeps the namespaces.

    Attributes:
        port: where the webhook listens; 0 until there is a certificate.
        reflector: of the webhook's configuration.
    """

    def __init__(
        self,
        client: KubeClient,
        config: OperatorConfig,
        settings: Settings,
        *,
        world: World,
        trust: Trusting,
        timings: Timings | None = None,
    ) -> None:
        assert config.webhook is not None  # ``settings_of`` has looked
        self.port = 0
        self._config, self._world, self._trust = config, world, trust
        self.webhook = Webhook(settings, selected=self._selected, captured=self._captured, ensure=self._ensure)
        self.namespaces = InjectedNamespaces(client, config.webhook.name, world.pods.namespaces, NEVER)
        kind = Kind(
            "MutatingWebhookConfiguration",
            "admissionregistration.k8s.io/v1",
            "mutatingwebhookconfigurations",
            f"metadata.name={config.webhook.name}",
        )
        self.reflector = Reflector(kind, client, self.namespaces, timings=timings)

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What every replica runs."""
        return [self.reflector.run(), self._serve()]

    async def stop(self) -> None:
        await self.webhook.stop()

    async def _serve(self) -> None:
        await self._trust.serving.ready.wait()
        host, port = split(self._config.webhook_address)
        try:
            self.port = await self.webhook.start(host, port, self._trust.serving.ssl_context())
        except OSError:
            raise StartError(
                f"the webhook cannot listen on {self._config.webhook_address}: choose another webhookAddress in the"
                " configuration file"
            ) from None

    async def _ensure(self, namespace: str) -> bool:
        # No namespace that the API server never asks about: nobody proves to be the API server.
        return namespace not in NEVER and await self._trust.ensure(namespace)

    def _selected(self, namespace: str, labels: Mapping[str, str]) -> bool:
        return bool(self._world.pods.selected_by(Pod(Ref("Pod", namespace, "new"), "", labels)))

    def _captured(self, namespace: str) -> Sequence[str]:
        return captured_services(self._world, namespace)
