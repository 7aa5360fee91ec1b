"""The pods of gateways: what they start with, who they are, and how they end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fairlead_operator import pod_bootstrap
from fairlead_operator.cli.main import main
from tests.support import helm

Json = dict[str, Any]


def rendered(tmp_path: Path, **gateway: Any) -> dict[str, Json]:
    """Objects of one gateway by kind."""
    values = {"gateways": [{"name": "shop-edge", **gateway}]}
    found = helm.objects(helm.written(values, tmp_path), namespace="elsewhere")
    return {one["kind"]: one for one in found if one["metadata"]["name"] == "fairlead-gateway-shop-edge"}


def pod_of(objects: dict[str, Json]) -> Json:
    workload = objects.get("Deployment") or objects["DaemonSet"]
    result: Json = workload["spec"]["template"]["spec"]
    return result


def test_the_bootstrap_is_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``fairlead bootstrap`` is the source; the chart only puts in where and who."""
    address = "fairlead-xds.elsewhere.svc:18000"
    assert main(["bootstrap", "--pod", "--gateway", "shop-edge", "--xds-address", address]) == 0

    text = rendered(tmp_path)["ConfigMap"]["data"]["envoy.json"]
    assert text == capsys.readouterr().out
    assert "GATEWAY" not in text
    assert "XDS-SERVICE" not in text


def test_envoys_arguments_are_those_of_the_operator(tmp_path: Path) -> None:
    """The same flags as for sidecars; and the file that is mounted."""
    pod = pod_of(rendered(tmp_path, concurrency=3))
    (envoy,) = pod["containers"]
    config, node = envoy["args"][:2], envoy["args"][2:4]

    assert sorted(envoy["args"][4:]) == sorted(pod_bootstrap.arguments(concurrency=3))
    assert node == ["--service-node", "$(POD_NAME)"]
    assert config[0] == "--config-path"
    (mount,) = [one["mountPath"] for one in envoy["volumeMounts"] if one["name"] == "bootstrap"]
    assert config[1] == f"{mount}/envoy.json"


def test_the_bootstrap_finds_its_files_in_the_pod(tmp_path: Path) -> None:
    """Token, authority and the folder of the admin socket are where ``pod_bootstrap`` looks for them."""
    pod = pod_of(rendered(tmp_path))
    mounts = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    files = pod_bootstrap.Files()

    assert (mounts["token"], mounts["ca"], mounts["run"]) == (files.token, files.ca, str(Path(files.admin).parent))
    assert not [one for one in pod["containers"][0]["volumeMounts"] if "subPath" in one]  # it would never be updated
    assert not [mount for mount in mounts.values() if files.sds.startswith(mount)]  # those are in the image


def test_a_gateway_is_known_by_its_token(tmp_path: Path) -> None:
    """Its own service account, a token for our audience alone, and none for the API server."""
    objects = rendered(tmp_path)
    pod = pod_of(objects)
    (token,) = [one["projected"]["sources"] for one in pod["volumes"] if one["name"] == "token"]

    assert pod["serviceAccountName"] == objects["ServiceAccount"]["metadata"]["name"]
    assert pod["automountServiceAccountToken"] is False
    assert objects["ServiceAccount"]["automountServiceAccountToken"] is False
    assert token == [
        {"serviceAccountToken": {"path": "token", "audience": "fairlead.dev/xds", "expirationSeconds": 3600}}
    ]


@pytest.mark.parametrize("seconds", [0, 30, 600])
def test_the_drain_ends_before_the_pod_is_killed(tmp_path: Path, seconds: int) -> None:
    pod = pod_of(rendered(tmp_path, drain={"seconds": seconds}))
    command = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]

    assert command == ["/usr/local/bin/fairlead-proxy", "drain", "--for", f"{seconds}s"]
    assert pod["terminationGracePeriodSeconds"] >= seconds + 10


def test_ready_is_configured_and_not_draining(tmp_path: Path) -> None:
    """And nothing restarts an Envoy that drains or waits for its control plane."""
    envoy = pod_of(rendered(tmp_path))["containers"][0]

    assert envoy["readinessProbe"]["httpGet"] == {"path": "/ready", "port": pod_bootstrap.STATUS_PORT}
    assert not {"livenessProbe", "startupProbe"} & envoy.keys()


def test_an_autoscaler_has_the_replicas_for_itself(tmp_path: Path) -> None:
    """A number in the manifest would undo its work at every upgrade."""
    objects = rendered(tmp_path, autoscaling={"enabled": True})

    assert "replicas" not in objects["Deployment"]["spec"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]["name"] == "fairlead-gateway-shop-edge"


@pytest.mark.parametrize(
    ("gateway", "update"),
    [
        ({}, {"maxUnavailable": 0, "maxSurge": 1}),
        ({"kind": "DaemonSet"}, {"maxUnavailable": 0, "maxSurge": 1}),
        # Two pods cannot have one port of a node.
        ({"kind": "DaemonSet", "hostNetwork": True}, {"maxUnavailable": 1, "maxSurge": 0}),
        ({"hostNetwork": True}, {"maxUnavailable": 1, "maxSurge": 0}),
    ],
)
def test_a_rollout_keeps_the_capacity(tmp_path: Path, gateway: Json, update: Json) -> None:
    objects = rendered(tmp_path, **gateway)
    spec = (objects.get("Deployment") or objects["DaemonSet"])["spec"]

    assert (spec.get("strategy") or spec["updateStrategy"])["rollingUpdate"] == update


def test_ports_below_1024_need_no_privilege(tmp_path: Path) -> None:
    """By a sysctl of the pod's own network; on the node's network that is not ours to set."""
    sysctl = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}

    assert pod_of(rendered(tmp_path))["securityContext"]["sysctls"] == [sysctl]
    assert "sysctls" not in pod_of(rendered(tmp_path, hostNetwork=True))["securityContext"]
