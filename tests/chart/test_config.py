"""The operator's configuration file: what the chart writes, the operator reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlead_operator.api.config import OperatorConfig, read_config
from tests.support import helm

Json = dict[str, Any]

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.name for path in CASES.iterdir() if path.is_dir())


def config(rendered: list[Json]) -> OperatorConfig:
    (found,) = [one for one in rendered if one["metadata"]["name"] == "fairlead-config"]
    return read_config(found["data"]["config.yaml"], "config.yaml")


def named(rendered: list[Json], kind: str) -> set[str]:
    return {one["metadata"]["name"] for one in rendered if one["kind"] == kind}


@pytest.mark.parametrize("name", NAMES)
def test_it_names_what_is_installed(name: str) -> None:
    """Every name in it is one of an object beside it; unknown fields would be errors."""
    rendered = helm.objects(CASES / name / "values.yaml", namespace="elsewhere")
    found = config(rendered)

    assert found.namespace == "elsewhere"
    assert found.xds_host.removesuffix(".elsewhere.svc") in named(rendered, "Service")
    accounts = {gateway.service_account for gateway in found.gateways}
    assert accounts == named(rendered, "ServiceAccount") - {"fairlead-operator"}
    services = {gateway.service for gateway in found.gateways if gateway.service}
    assert services == {one for one in named(rendered, "Service") if one.startswith("fairlead-gateway-")}
    assert ({found.webhook.name} if found.webhook else set()) == named(rendered, "MutatingWebhookConfiguration")
    assert (found.proxy is None) == (found.webhook is None)


@pytest.mark.parametrize("name", NAMES)
def test_ports_are_those_of_the_pod(name: str) -> None:
    rendered = helm.objects(CASES / name / "values.yaml")
    found = config(rendered)
    (deployment,) = [
        one for one in rendered if one["metadata"]["name"] == "fairlead-operator" and one["kind"] == "Deployment"
    ]
    ports = {
        one["name"]: one["containerPort"] for one in deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    }
    told = {"xds": found.xds_address, "status": found.status_address, "webhook": found.webhook_address}

    assert {key: f"0.0.0.0:{port}" for key, port in ports.items()} == {key: told[key] for key in ports}


def test_cert_managers_certificate_is_for_the_names_that_are_used() -> None:
    """The xDS port's, which proxies verify, and the webhook's, which the API server does."""
    rendered = helm.objects(CASES / "cert-manager" / "values.yaml")
    found = config(rendered)
    (certificate,) = [
        one for one in rendered if one["metadata"]["name"] == "fairlead-xds" and one["kind"] == "Certificate"
    ]

    assert found.certificates is not None
    assert (found.certificates.mode, found.certificates.secret_name) == ("Secret", certificate["spec"]["secretName"])
    assert certificate["spec"]["dnsNames"] == [found.xds_host, "fairlead-webhook.fairlead-system.svc"]
