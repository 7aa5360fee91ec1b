"""The file of ``fairlead operator --config``: what it says, and what is said of one that is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fairlead_operator.api.config import expanded, read_config
from fairlead_operator.options import StartError
from fairlead_operator.trust.assembly import options_of

FULL = """\
namespace: fairlead-system
replica: $(POD_NAME)
xdsAddress: "0.0.0.0:18000"
statusAddress: "0.0.0.0:18001"
webhookAddress: "0.0.0.0:9443"
xdsService: fairlead-xds.fairlead-system.svc
certificates: {mode: Self, secretName: fairlead-xds-tls, caSecretName: fairlead-ca}
audience: fairlead.dev/xds
lease: {name: fairlead-leader, duration: 15s, renew: 10s, retry: 2s}
webhook: {name: fairlead-injector}
proxy:
  image: fairlead-proxy:0.1.0
  resources: {requests: {cpu: 20m, memory: 40Mi}, limits: {memory: 128Mi}}
  startLimit: 20s
gateways:
- name: edge
  serviceAccount: fairlead-gateway-edge
  service: fairlead-gateway-edge
  namespaces: {from: Selector}
- {name: internal, namespaces: {from: Same}}
"""


def test_everything_is_read() -> None:
    config = read_config(FULL, "config.yaml")

    assert config.namespace == "fairlead-system"
    assert config.lease.seconds("duration") == 15
    assert config.proxy is not None
    assert config.proxy.resources.requests == {"cpu": "20m", "memory": "40Mi"}
    assert [gateway.name for gateway in config.gateways] == ["edge", "internal"]
    assert [gateway.namespaces.from_ for gateway in config.gateways] == ["Selector", "Same"]


def test_a_namespace_is_enough() -> None:
    config = read_config("namespace: system", "config.yaml")

    assert config.xds_host == "fairlead-xds.system.svc"
    assert config.certificates is None
    assert config.gateways == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "must be an object"),
        ("- a", "must be an object"),
        ("{namespace: a", "is not YAML"),
        ("gateways: []", "namespace: is required"),
        ("namespace: a\nxdsAdress: '0.0.0.0:1'", "xdsAdress: unknown field"),
        ("namespace: a\nxdsAddress: nonsense", "xdsAddress: 'nonsense' is not an address"),
        ("namespace: a\ncertificates: {mode: Magic}", "certificates.mode: must be 'Self' or 'Secret'"),
        ("namespace: a\nlease: {duration: 5s}", "lease.duration: must be longer than renew"),
        ("namespace: a\nlease: {retry: 100ms}", "lease.retry: must be at least 1s"),
        ("namespace: a\ncertificates: {overlap: 5s}", "certificates.overlap: must be at least 2m"),
        ("namespace: a\nproxy: {}", "proxy.image: is required"),
        ("namespace: a\ngateways: [{name: edge}, {name: edge}]", "gateways"),
        ("namespace: a\ngateways: [{name: edge, namespaces: {from: Everywhere}}]", "gateways[0].namespaces.from"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    with pytest.raises(StartError) as caught:
        read_config(text, "config.yaml")

    assert str(caught.value).startswith("config.yaml:")
    assert said in str(caught.value)


def test_the_environment_names_the_replica() -> None:
    assert expanded("$(POD_NAME)", {"POD_NAME": "fairlead-0"}) == "fairlead-0"
    assert expanded("a-$(NONE)", {}) == "a-"


@pytest.mark.timeout(20)
def test_the_command_says_what_is_wrong_with_its_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("namespace: a\ngatways: []")
    command = [sys.executable, "-m", "fairlead_operator.cli.main", "operator", "--config", str(path)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "gatways: unknown field" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_file_says_about_trust() -> None:
    text = """
namespace: lb
certificates: {overlap: 10m}
webhook: {}
gateways:
- {name: edge, serviceAccount: fairlead-gateway-edge}
- {name: other}
"""
    found = options_of(read_config(text, "config.yaml"))
    assert found is not None
    assert set(found.names) == {"fairlead-xds.lb.svc", "fairlead-webhook.lb.svc"}
    assert found.gateways == {"fairlead-gateway-edge": "edge"}
    assert (found.mode, found.webhook, found.lives.overlap.total_seconds()) == ("Self", "fairlead-injector", 600)
    assert options_of(read_config("namespace: lb", "config.yaml")) is None
