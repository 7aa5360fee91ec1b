"""``CLUSTER=current``: Fairlead into the cluster of kubectl's current context, which is somebody else's.

Its images must be in the cluster's reach: a kind cluster gets them loaded, any other pulls them from where ``IMAGES``
says they are (``IMAGES=registry.example.com/me``; ``docker push`` is done here).
"""

from __future__ import annotations

import os
import pathlib

from e2e.cluster import engine, images, install, kind
from e2e.cluster.shell import ClusterError, run, say
from tools import build


def asked() -> bool:
    value = os.environ.get("CLUSTER", "")
    if value not in {"", "current"}:
        raise ClusterError(f"CLUSTER={value}: only `current` is known; unset it to get a cluster made")
    return bool(value)


def kubeconfig() -> pathlib.Path:
    given = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
    return pathlib.Path(given) if given else pathlib.Path.home() / ".kube/config"


def up() -> None:
    context = _kubectl("config", "current-context").strip()
    say(f"the cluster is that of the current context, {context}")
    running = engine.running()
    if running is None:
        raise ClusterError("the images are built with Docker, and no container engine answers")
    names = images.make(running, public=not running.own)
    if context.startswith("kind-"):
        cluster = context.removeprefix("kind-")
        run(
            build.folder_of("kind") / "kind", "load", "docker-image", "--name", cluster, *names, env=running.environment
        )
    elif prefix := os.environ.get("IMAGES"):
        for name in names:
            running.docker("tag", name, f"{prefix}/{name}")
            running.docker("push", "--quiet", f"{prefix}/{name}")
    else:
        raise ClusterError("where shall the cluster pull the images from? Set IMAGES=registry.example.com/folder")
    install.install(kubeconfig())
    install.sample(kubeconfig())


def down() -> None:
    """Take away what ``up`` brought; the kinds too, since they came with it."""
    kind.kubectl("delete", "namespace", "sample", "--ignore-not-found", kubeconfig=kubeconfig())
    install.helm("uninstall", install.RELEASE, "--namespace", install.NAMESPACE, "--wait", kubeconfig=kubeconfig())
    kind.kubectl("delete", "namespace", install.NAMESPACE, "--ignore-not-found", kubeconfig=kubeconfig())


def _kubectl(*words: str) -> str:
    return kind.kubectl(*words, kubeconfig=kubeconfig())
