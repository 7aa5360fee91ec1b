"""Everything about trust in one replica, put together for ``app``: what runs always, and what runs while it leads."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fairlead_operator.api.config import OperatorConfig
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError, KubeClient
from fairlead_operator.sources.mirror import Kind
from fairlead_operator.sources.reflector import Reflector, Timings
from fairlead_operator.trust import proxies
from fairlead_operator.trust.authority import Lives
from fairlead_operator.trust.distribution import CONFIG_MAP, ConfigMaps, Distribution, Webhook
from fairlead_operator.trust.keeper import LOOK, Keeper, Places, utc_now
from fairlead_operator.trust.proxies import Keys, TokenAuthenticator
from fairlead_operator.trust.reviews import Bounds, Reviews
from fairlead_operator.trust.serving import ServingCertificate
from fairlead_xds.features.value import milliseconds

log = logging.getLogger(__name__)

#: What everything that the operator makes in its own namespace goes with.
DEPLOYMENT: Final = "fairlead-operator"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustOptions:
    """Of one installation.

    Attributes:
        namespace: of the installation.
        mode: ``Self``: the leader makes and rotates certificates. ``Secret``: somebody else writes *secret*.
        secret, ca_secret: names of the Secrets.
        names: that the serving certificate has to be for.
        audience: of the tokens that proxies show.
        gateways: service account in *namespace* -> gateway.
        webhook: the MutatingWebhookConfiguration to be kept; empty: none.
        replica: name of this process.
        lives, bounds, now: only tests change them.
    """

    namespace: str
    mode: Literal["Self", "Secret"] = "Self"
    secret: str = "fairlead-xds-tls"  # noqa: S105 - a name
    ca_secret: str = "fairlead-ca"  # noqa: S105
    names: Collection[str]
    audience: str = "fairlead.dev/xds"
    gateways: Mapping[str, str] = field(default_factory=dict)
    webhook: str = ""
    replica: str = "fairlead"
    lives: Lives = field(default_factory=Lives)
    bounds: Bounds = field(default_factory=Bounds)
    now: Callable[[], datetime.datetime] = utc_now


def options_of(config: OperatorConfig) -> TrustOptions | None:
    """What the file of an installation says; ``None``: it has no certificates."""
    certificates = config.certificates
    if certificates is None:
        return None
    services = (f"fairlead-{one}.{config.namespace}.svc" for one in ("xds", "webhook"))
    return TrustOptions(
        namespace=config.namespace,
        mode=certificates.mode,
        secret=certificates.secret_name,
        ca_secret=certificates.ca_secret_name,
        names={config.xds_host, *services},
        audience=config.audience,
        gateways={one.service_account: one.name for one in config.gateways if one.service_account},
        webhook=config.webhook.name if config.webhook else "",
        replica=config.replica or "fairlead",
        lives=Lives(overlap=datetime.timedelta(milliseconds=milliseconds(certificates.overlap))),
    )


class Trust:
    """One in each replica.

    Attributes:
        serving: what it shows; ``serving.ready`` when there is something.
        authenticator: of the xDS server.
        distribution: brings the bundle to proxies; ``ensure`` is for whoever injects one.
        keeper: ``None`` where somebody else makes the certificates.
        leads: asked before each write. To be set where there are other replicas.
    """

    def __init__(
        self,
        client: KubeClient,
        options: TrustOptions,
        *,
        sidecars: Keys | None = None,
        namespaces: Callable[[], Collection[str]] = tuple,
        timings: Timings | None = None,
    ) -> None:
        """*sidecars*: the keys of proxies that are no gateway's; *namespaces*: where they are."""
        self.options = options
        self.serving = ServingCertificate(f"{options.namespace}/{options.secret}")
        self.reviews = Reviews(client, options.audience, time.time, options.bounds)
        keys = proxies.gateways(options.namespace, options.gateways)
        self.authenticator = TokenAuthenticator(self.reviews, proxies.either(keys, sidecars) if sidecars else keys)
        self._client = client
        self._namespaces, self._known = namespaces, frozenset[str]()
        self.leads: Callable[[], bool] = lambda: True
        self._changed = asyncio.Event()
        maps = ConfigMaps(client, self.soon)
        webhook = Webhook(client, options.webhook, self.soon) if options.webhook else None
        self.distribution = Distribution(maps, webhook, own=options.namespace, wanted=namespaces)
        self.keeper = self._keeper() if options.mode == "Self" else None
        self.serving.on_change.append(self.soon)
        secret = Kind("Secret", "v1", "secrets", _named(options.secret), namespace=options.namespace)
        self.reflectors = [
            Reflector(secret, client, self.serving, timings=timings),
            Reflector(Kind("ConfigMap", "v1", "configmaps", _named(CONFIG_MAP)), client, maps, timings=timings),
        ]
        if options.mode == "Self":
            authorities = Kind("Secret", "v1", "secrets", _named(options.ca_secret), namespace=options.namespace)
            self.reflectors.append(Reflector(authorities, client, _Poke(self.soon), timings=timings))
        if webhook is not None:
            plural = "mutatingwebhookconfigurations"
            kind = Kind("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1", plural, _named(webhook.name))
            self.reflectors.append(Reflector(kind, client, webhook, timings=timings))

    def soon(self) -> None:
        """Something has changed that the leader may have to act on: certificates, or the namespaces with proxies."""
        self._changed.set()
        if self.keeper is not None:
            self.keeper.soon()

    def policies_changed(self) -> None:
        """A namespace may have its first policy of sidecars: bring it the bundle, before pods of it want that."""
        if (now := frozenset(self._namespaces())) != self._known:
            self._known = now
            self.soon()

    def always(self) -> list[Coroutine[Any, Any, None]]:
        """What every replica runs."""
        return [reflector.run() for reflector in self.reflectors]

    async def lead(self) -> None:
        """What the leader runs, until it is cancelled."""
        for reflector in self.reflectors:
            await reflector.synced.wait()
        if self.keeper is not None:
            await self.keeper.run()
        while True:
            self._changed.clear()
            shown = self.serving.shown
            done = shown is None or not self.leads() or await self.distribution.spread(shown.bundle)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK if done else 1.0):
                    await self._changed.wait()

    async def ensure(self, namespace: str) -> bool:
        """A proxy is about to start in *namespace*: what it believes by has to be there."""
        shown = self.serving.shown
        return shown is not None and await self.distribution.ensure(namespace, shown.bundle)

    def metrics(self) -> list[str]:
        """For the page of metrics."""
        asked = self.reviews.asked
        lines = [
            "# HELP fairlead_token_reviews_total Questions to the API server whose token a proxy shows.",
            "# TYPE fairlead_token_reviews_total counter",
            *(
                f'fairlead_token_reviews_total{{result="{one}"}} {asked[one]}'
                for one in ("accepted", "refused", "failed")
            ),
        ]
        lines += self.distribution.metrics()
        if self.serving.serving is not None:
            ends = {"serving": self.serving.serving.certificate.not_after.timestamp()}
            ends["bundle"] = max(one.not_after.timestamp() for one in self.serving.serving.bundle)
            lines += [
                "# HELP fairlead_certificate_expiry_timestamp_seconds When the certificate in use ends.",
                "# TYPE fairlead_certificate_expiry_timestamp_seconds gauge",
                *(
                    f'fairlead_certificate_expiry_timestamp_seconds{{certificate="{n}"}} {t:.0f}'
                    for n, t in ends.items()
                ),
            ]
        return lines

    def _keeper(self) -> Keeper:
        options = self.options
        return Keeper(
            client=self._client,
            places=Places(namespace=options.namespace, ca=options.ca_secret, serving=options.secret),
            names=options.names,
            spread=self.distribution.spread,
            leads=lambda: self.leads(),
            replica=options.replica,
            lives=options.lives,
            now=options.now,
            owner=self._owner,
        )

    async def _owner(self) -> dict[str, Any] | None:
        """So that what is made goes with the release."""
        path = f"/apis/apps/v1/namespaces/{self.options.namespace}/deployments/{DEPLOYMENT}"
        try:
            found = await self._client.get(path)
        except (ApiError, *CONNECTION_ERRORS) as error:
            if not isinstance(error, ApiError) or error.status != 404:
                log.warning(
                    "Deployment %s: %s: certificates are made without an owner", DEPLOYMENT, error or repr(error)
                )
            return None
        metadata = found["metadata"]
        return {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"], "uid": metadata["uid"]}


class _Poke:
    """A sink that only says that something has changed."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed

    def apply(self, raw: dict[str, Any]) -> None:  # noqa: ARG002
        self._changed()

    def delete(self, ref: Any) -> None:  # noqa: ARG002
        self._changed()


def _named(name: str) -> str:
    return f"metadata.name={name}"
