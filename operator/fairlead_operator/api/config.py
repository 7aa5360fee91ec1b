"""The file of ``fairlead operator --config FILE``: what an installation is, as the chart writes it. Pure.

``cli.operator`` reads it; the parts of the operator take from it what concerns them. It is judged as the custom
resources are: unknown fields are errors, a null is absent, no ``"80"`` for 80.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from fairlead_operator.api import quantity
from fairlead_operator.api.errors import errors
from fairlead_operator.api.objects import without_null
from fairlead_operator.options import StartError, split
from fairlead_xds.features.value import NAMED, Name, PositiveDuration, Rule, Value, milliseconds


def _address(text: str) -> str:
    try:
        split(text)
    except StartError as error:
        raise PydanticCustomError("address", "{why}", {"why": str(error)}) from None
    return text


Address = Annotated[str, AfterValidator(_address)]
#: Names of objects and of Services in DNS (RFC 1123).
ObjectName = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253)
]
Quantity = Annotated[str, StringConstraints(pattern=quantity.PATTERN)]


class Certificates(Value):
    """Where the certificates of the xDS port come from.

    Attributes:
        mode: ``Self``: the operator is its own authority. ``Secret``: somebody else, as cert-manager, writes *secret_name*.
        secret_name: Secret (kubernetes.io/tls, and ca.crt) with the serving certificate.
        ca_secret_name: Secret of the authority; with ``Self`` only.
        overlap: how old the bundle of a proxy may be: a new authority signs, and an old one is dropped, so much later.
    """

    rules = (
        Rule(
            "",
            "must be another Secret than caSecretName: one is the operator's own, the other the authority's",
            lambda v: v.secret_name != v.ca_secret_name or v.mode != "Self",
            "secretName",
        ),
        Rule(
            "",
            "must be at least 2m: kubelets bring ConfigMaps to pods that late",
            lambda v: milliseconds(v.overlap) >= 120_000,
            "overlap",
        ),
    )

    mode: Literal["Self", "Secret"] = "Self"
    secret_name: ObjectName = "fairlead-xds-tls"  # noqa: S105 - a name
    ca_secret_name: ObjectName = "fairlead-ca"  # noqa: S105 - a name
    overlap: PositiveDuration = "1h"


class Lease(Value):
    """Who leads, and how soon somebody else may: *duration* after the last sign of life.

    Attributes:
        renew: for so long a leader tries to renew before it gives up; shorter than *duration*.
        retry: between two tries.
    """

    rules = (
        Rule("", "must be at least 1s", lambda v: v.seconds("retry") >= 1, "retry"),
        Rule(
            "",
            "must be longer than 1.2 times retry: a leader needs a second try",
            lambda v: v.seconds("renew") > 1.2 * v.seconds("retry"),
            "renew",
        ),
        Rule(
            "",
            "must be longer than renew: a leader has to stop before another one starts",
            lambda v: v.seconds("duration") > v.seconds("renew"),
            "duration",
        ),
    )

    name: ObjectName = "fairlead-leader"
    duration: PositiveDuration = "15s"
    renew: PositiveDuration = "10s"
    retry: PositiveDuration = "2s"

    def seconds(self, field: str) -> float:
        """One of the durations."""
        return milliseconds(getattr(self, field)) / 1000


class Webhook(Value):
    """The MutatingWebhookConfiguration that the leader keeps up to date."""

    name: ObjectName = "fairlead-injector"


def _within_limits(resources: Resources) -> bool:
    most = resources.limits
    return all(
        what not in most or quantity.amount(least) <= quantity.amount(most[what])
        for what, least in resources.requests.items()
    )


class Resources(Value):
    """Resources of a container, as Kubernetes writes them."""

    rules = (Rule("", "must not be above limits: the API server would refuse every pod", _within_limits, "requests"),)

    requests: dict[Literal["cpu", "memory"], Quantity] = Field(default_factory=dict)
    limits: dict[Literal["cpu", "memory"], Quantity] = Field(default_factory=dict)


class ProxyImage(Value):
    """What is injected as a sidecar.

    Attributes:
        start_limit: for so long an application waits for its sidecar's first configuration.
    """

    image: Annotated[str, StringConstraints(min_length=1)]
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    resources: Resources = Resources()
    start_limit: PositiveDuration = "20s"


class NamespaceAccess(Value):
    """Which namespaces' policies a gateway takes: see ``access``."""

    from_: Literal["Selector", "All", "Same"] = Field("Selector", alias="from")


class Gateway(Value):
    """A gateway that the chart has installed.

    Attributes:
        service_account: of its pods, in the namespace of the installation; absent: no token proves a proxy to be of it.
        service: the Service whose ports follow the listeners; absent: none.
    """

    name: Name
    service_account: ObjectName | None = None
    service: Name | None = None
    namespaces: NamespaceAccess = NamespaceAccess()


class OperatorConfig(Value):
    """The whole file.

    Attributes:
        namespace: of the installation.
        replica: name of this process; ``$(POD_NAME)`` takes it from the environment.
        status_address: ``/healthz``, ``/readyz``, ``/metrics``, ``/status`` over plain HTTP.
        xds_service: DNS name by which proxies reach the xDS port; default: ``fairlead-xds.NAMESPACE.svc``.
        certificates: absent: xDS is served unencrypted, as without a file.
        audience: of the tokens that proxies show.
        webhook, proxy: absent: nothing is injected.
    """

    namespace: Name
    replica: str = "$(POD_NAME)"
    xds_address: Address = "0.0.0.0:18000"
    status_address: Address = "0.0.0.0:18001"
    webhook_address: Address = "0.0.0.0:9443"
    xds_service: ObjectName | None = None
    certificates: Certificates | None = None
    audience: Annotated[str, StringConstraints(min_length=1)] = "fairlead.dev/xds"
    lease: Lease = Lease()
    webhook: Webhook | None = None
    proxy: ProxyImage | None = None
    gateways: Annotated[tuple[Gateway, ...], NAMED] = ()

    @property
    def xds_host(self) -> str:
        """``xds_service`` or its default."""
        return self.xds_service or f"fairlead-xds.{self.namespace}.svc"

    def gateway(self, name: str) -> Gateway | None:
        return next((gateway for gateway in self.gateways if gateway.name == name), None)


def read_config(text: str, name: str) -> OperatorConfig:
    """The configuration in *text*, which is that of the file *name*. Raises StartError: the fields at fault."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}:" if mark else ""
        raise StartError(f"{name}:{where} is not YAML: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(raw, dict):
        raise StartError(f"{name}: must be an object with fields such as namespace: fairlead-system")
    try:
        encoded = json.dumps(without_null(raw), default=str)
    except (TypeError, ValueError, RecursionError):
        raise StartError(f"{name}: must be what JSON can hold") from None
    try:
        return OperatorConfig.model_validate_json(encoded, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        found = "; ".join(f"{path}: {message}" for path, message in errors(error, root=""))
        raise StartError(f"{name}: {found}") from None


def expanded(text: str, environment: Mapping[str, str]) -> str:
    """*text* with ``$(NAME)`` replaced from *environment*; empty for what is not in it."""
    return re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", lambda found: environment.get(found[1], ""), text)
