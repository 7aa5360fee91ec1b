"""The cluster itself: a control plane and two workers in two zones, made and ended by kind."""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import yaml

from e2e.cluster import node_image, places
from e2e.cluster.engine import Engine
from e2e.cluster.shell import ClusterError, run, say, step
from tools import build

NAME = "fairlead"
ZONES = ("zone-a", "zone-b")
#: The gateway's port on the node, and on this machine (HOST_PORT).
NODE_PORT, HOST_PORT = 30080, "8080"


def kind(engine: Engine, *words: str | pathlib.Path, check: bool = True) -> str:
    return run(build.folder_of("kind") / "kind", *words, env=engine.environment, check=check)


def kubectl(*words: str | pathlib.Path, kubeconfig: pathlib.Path = places.KUBECONFIG, check: bool = True) -> str:
    return run(build.folder_of("kubectl") / "kubectl", "--kubeconfig", kubeconfig, *words, check=check)


def exists(engine: Engine) -> bool:
    return NAME in kind(engine, "get", "clusters", "--quiet", check=False).split()


def choose_image(engine: Engine) -> str:
    """Node image to use; "" means kind's public one. ``NODE_IMAGE`` is ``packages`` or the name of any."""
    asked = os.environ.get("NODE_IMAGE", "")
    if asked and asked != "packages":
        return asked
    if not asked and not engine.own:
        public = public_image()
        if engine.has_image(public) or _pulls(engine, public):
            return ""
        say(f"{public} cannot be pulled; the node image is made from packages")
    return node_image.make(engine)


def public_image() -> str:
    source = (node_image.kind_module() / "pkg/apis/config/defaults/image.go").read_text()
    return source.partition('const Image = "')[2].partition('"')[0]


def _pulls(engine: Engine, name: str) -> bool:
    try:
        engine.docker("pull", "--quiet", name, timeout=300)
    except ClusterError:
        return False
    return True


def configuration() -> dict[str, Any]:
    """kind's own: names of the zones as labels, one port of the control plane on this machine's loopback."""
    host_port = int(os.environ.get("HOST_PORT", HOST_PORT))
    mapping = {"containerPort": NODE_PORT, "hostPort": host_port, "listenAddress": "127.0.0.1"}
    zone = "topology.kubernetes.io/zone"
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "name": NAME,
        "networking": {"podSubnet": "10.240.0.0/16", "serviceSubnet": "10.96.0.0/16"},
        "nodes": [
            {"role": "control-plane", "extraPortMappings": [mapping] if host_port else []},
            *({"role": "worker", "labels": {zone: name}} for name in ZONES),
        ],
    }


def create(engine: Engine, image: str) -> None:
    """Make the cluster and write ``.cluster/kubeconfig``."""
    places.STATE.mkdir(exist_ok=True)
    config = places.STATE / "kind.yaml"
    config.write_text(yaml.safe_dump(configuration()))
    with step("kind cluster, a control plane and two workers"):
        flags = ["--image", image] if image else []
        kind(
            *(engine, "create", "cluster", "--config", config, "--kubeconfig", places.KUBECONFIG),
            *("--wait", "180s", *flags),
        )
        kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
        kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s")


def delete(engine: Engine) -> None:
    """End the cluster, also one that a killed run left half made, and kind's network with it."""
    with step("end of the cluster"):
        kind(engine, "delete", "cluster", "--name", NAME, "--kubeconfig", places.KUBECONFIG)
        if engine.own:
            engine.docker("network", "rm", "kind", check=False)


def load(engine: Engine, images: Sequence[str]) -> None:
    """Put images of the engine into the workers: the control plane runs no pods of ours."""
    workers = ",".join(name for name in nodes(engine) if "control-plane" not in name)
    with step(f"load {', '.join(images)}"):
        kind(engine, "load", "docker-image", "--name", NAME, "--nodes", workers, *images)


def nodes(engine: Engine) -> list[str]:
    return kind(engine, "get", "nodes", "--name", NAME).split()


def memory(engine: Engine) -> dict[str, str]:
    """Memory of each node, for the record."""
    lines = engine.docker("stats", "--no-stream", "--format", "{{json .}}").splitlines()
    return {entry["Name"]: entry["MemUsage"].partition(" / ")[0] for entry in map(json.loads, lines)}
