"""Files of the chart that are made from the code: a chart cannot read or run what is outside it."""

from __future__ import annotations

from pathlib import Path

from fairlead_operator import bootstrap, pod_bootstrap

FILES = Path(__file__).parents[2] / "helm" / "fairlead" / "files"


def test_the_bootstrap_of_gateways_is_ours() -> None:
    """With placeholders for what an installation decides; ``make crds`` writes it anew."""
    config = pod_bootstrap.gateway(name="GATEWAY", xds_host="XDS-SERVICE", xds_port=18000)

    assert (FILES / "gateway-bootstrap.json").read_text("utf-8") == bootstrap.text(config)
