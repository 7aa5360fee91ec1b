"""What the Envoys of pods start with: accepted by Envoy, and the same that the image and its pods hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fairlead_operator import pod_bootstrap
from fairlead_operator.cli.main import main
from tests.support.rotating import Rotating
from tests.support.static_bootstrap import complaint

IMAGE = Path(__file__).parents[3] / "proxy" / "sds"
XDS = "fairlead-xds.fairlead-system.svc"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("form", ["gateway", "sidecar"])
def test_envoy_accepts_it(form: str, tmp_path: Path) -> None:
    files = Rotating(tmp_path).files
    if form == "gateway":
        config = pod_bootstrap.gateway(name="edge", xds_host=XDS, xds_port=18000, files=files)
    else:
        config = pod_bootstrap.sidecar(xds_host=XDS, xds_port=18000, status_address="::", files=files)
    config["node"]["id"] = "pod-1"

    assert not complaint(config, tmp_path)


def test_the_image_holds_the_files_that_the_pods_name() -> None:
    written = {path.name: path.read_text() for path in IMAGE.iterdir()}

    assert written == pod_bootstrap.sds_files(pod_bootstrap.Files())


@pytest.mark.parametrize("who", [["--gateway", "edge", "--pod"], ["--sidecar"]])
def test_the_control_plane_is_verified_by_name_and_shown_a_token(
    who: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bootstrap", *who, "--xds-address", f"{XDS}:18000"]) == 0
    text = capsys.readouterr().out
    config = json.loads(text)

    (xds,) = [cluster for cluster in config["static_resources"]["clusters"] if cluster["name"] == "fairlead"]
    tls = xds["transport_socket"]["typed_config"]
    validation = tls["common_tls_context"]["combined_validation_context"]
    assert tls["sni"] == XDS
    (san,) = validation["default_validation_context"]["match_typed_subject_alt_names"]
    assert san["matcher"] == {"exact": XDS}
    assert "credential_injector" in text
    assert "id" not in config["node"]
    assert config["admin"]["address"] == {"pipe": {"path": "/var/run/fairlead/admin.sock", "mode": 0o600}}
