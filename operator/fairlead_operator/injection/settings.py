"""What a sidecar is like: the installation's words, and a pod's own in annotations. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from fairlead_operator.api.meta import GROUP
from fairlead_operator.api.pods import CAPTURE, EXPLICIT, MODE
from fairlead_operator.api.quantity import amount, is_quantity
from fairlead_xds.features.value import DURATION_PATTERN, milliseconds

START_LIMIT: Final = f"{GROUP}/proxy-start-limit"
#: What a sidecar asks for where no installation says otherwise; the chart's values say the same.
REQUESTS: Final[Mapping[str, str]] = {"cpu": "50m", "memory": "40Mi"}
LIMITS: Final[Mapping[str, str]] = {"memory": "128Mi"}
#: Annotations that stand for a resource of the sidecar: name -> (requests or limits, cpu or memory).
RESOURCES: Final = {
    f"{GROUP}/proxy-{what}-{kind}": (f"{kind}s", what) for what in ("cpu", "memory") for kind in ("request", "limit")
}


class InjectionError(Exception):
    """A pod cannot have a sidecar as it asks for; the message names the field and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A sidecar.

    Attributes:
        image: of the proxy.
        xds_host, xds_port: of the control plane; the host is also the name in its certificate.
        audience: of the token that the proxy shows.
        requests, limits: ``cpu`` and ``memory``, as Kubernetes writes quantities.
        start_limit: for so long the application waits for the sidecar's first configuration.
        mode: ``Explicit`` or ``Capture``.
    """

    image: str
    image_pull_policy: str = "IfNotPresent"
    xds_host: str
    xds_port: int = 18000
    audience: str = "fairlead.dev/xds"
    requests: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    start_limit: str = "20s"
    mode: str = EXPLICIT


def of_pod(settings: Settings, annotations: Mapping[str, str]) -> Settings:
    """*settings* with what a pod's *annotations* say instead. Raises InjectionError."""
    resources = {"requests": dict(settings.requests), "limits": dict(settings.limits)}
    for name, (kind, what) in RESOURCES.items():
        if (value := annotations.get(name)) is not None:
            if not is_quantity(value):
                raise InjectionError(f"annotation {name}: {value!r} is not a quantity: write it as 100m or 64Mi")
            resources[kind][what] = value
    for what, least in resources["requests"].items():
        most = resources["limits"].get(what)
        if most is not None and amount(least) > amount(most):
            request, limit = (f"{GROUP}/proxy-{what}-{one}" for one in ("request", "limit"))
            if request in annotations:
                raise InjectionError(f"annotation {request}: {least} is above the limit of {most}: set {limit} too")
            raise InjectionError(f"annotation {limit}: {most} is below the request of {least}: set {request} too")
    limit = annotations.get(START_LIMIT, settings.start_limit)
    if not re.fullmatch(DURATION_PATTERN, limit) or milliseconds(limit) == 0:
        raise InjectionError(f"annotation {START_LIMIT}: {limit!r} is not a duration: write it as 20s or 1m")
    mode = annotations.get(MODE, settings.mode)
    if mode not in {EXPLICIT, CAPTURE}:
        raise InjectionError(f"annotation {MODE}: must be {EXPLICIT} or {CAPTURE}, not {mode!r}")
    return replace(settings, requests=resources["requests"], limits=resources["limits"], start_limit=limit, mode=mode)
