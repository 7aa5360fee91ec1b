"""The faults that other tests inject do what they say, and what needs a namespace of its own gets one."""

from __future__ import annotations

import json
import pathlib
import ssl
import subprocess
import sys
import urllib.request
from typing import Any

import pytest

from tests.support.kube import ApiError, Cluster
from tests.support.netns import netns


def _config_map(namespace: str, name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}}


def _watch(kube: Cluster, namespace: str, revision: str) -> list[dict[str, Any]]:
    """Events within a second from *revision* on."""
    request = urllib.request.Request(
        f"{kube.url}/api/v1/namespaces/{namespace}/configmaps?watch=1&resourceVersion={revision}&timeoutSeconds=1",
        headers={"Authorization": f"Bearer {kube.token}"},
    )
    context = ssl.create_default_context(cafile=str(kube.ca_file))
    with urllib.request.urlopen(request, context=context, timeout=10) as response:
        return [json.loads(line) for line in response]


def test_expire_makes_a_watch_410(kube: Cluster, namespace: str) -> None:
    before = kube.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")["metadata"]["resourceVersion"]
    kube.apply(_config_map(namespace, "one"))
    assert [event["type"] for event in _watch(kube, namespace, before)] == ["ADDED"]
    kube.expire()
    (event,) = _watch(kube, namespace, before)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")


def test_a_restart_keeps_objects_and_address(kube: Cluster, namespace: str) -> None:
    stored = kube.apply(_config_map(namespace, "kept"))
    url = kube.url
    kube.restart_apiserver()
    assert kube.url == url
    assert kube.get(stored)["metadata"]["uid"] == stored["metadata"]["uid"]


def test_the_controller_manager_ends_namespaces(kube: Cluster) -> None:
    with kube.namespace("to-be-ended") as name:
        kube.apply(_config_map(name, "one"))
    kube.start_controller_manager("namespace-controller")
    try:
        # Those of all tests before this one are still there, and their turn may come first.
        kube.wait_for(lambda: _gone(kube, name), "the namespace is gone", seconds=180)
    finally:
        kube.stop_controller_manager()


def _gone(kube: Cluster, name: str) -> bool:
    try:
        kube.request("GET", f"/api/v1/namespaces/{name}")
    except ApiError as error:
        return error.code == 404
    return False


def _slice(namespace: str, address: str) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "backends", "namespace": namespace},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"port": 8080}],
    }


@pytest.mark.needs_root
def test_a_slice_takes_the_address_of_a_network_namespace(
    kube: Cluster, namespace: str, tmp_path: pathlib.Path
) -> None:
    with pytest.raises(ApiError, match="loopback"):
        kube.apply(_slice(namespace, "127.0.0.1"))
    with netns() as net:
        kube.apply(_slice(namespace, net.address()))
        log = tmp_path / "backend.log"
        child = net.spawn([sys.executable, "-m", "http.server", "8080", "--bind", net.address()], log)
        kube.wait_for(lambda: _answers(f"http://{net.address()}:8080/"), "the backend answers")
    assert not child.running()
    listed = subprocess.run(["ip", "netns", "list"], check=True, capture_output=True, text=True).stdout
    assert net.name not in listed


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as response:
            return bool(response.status == 200)
    except OSError:
        return False
