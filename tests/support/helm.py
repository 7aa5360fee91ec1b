"""The real helm, and what it makes of our chart."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tools import build

CHART = Path(__file__).resolve().parents[2] / "helm" / "fairlead"
#: What `helm template` renders for, so that goldens do not follow helm's own idea of the newest.
KUBE_VERSION = build.K8S_VERSION
NAMESPACE = "fairlead-system"


class HelmError(Exception):
    """helm said no; the message is what it said."""


@functools.cache
def binary() -> Path:
    return build.folder_of("helm") / "helm"


@functools.cache
def _home() -> tempfile.TemporaryDirectory[str]:
    """helm's own caches and settings: not the user's."""
    return tempfile.TemporaryDirectory(prefix="fairlead-helm-")


def helm(*arguments: str, kubeconfig: Path | None = None) -> str:
    """Run helm; its standard output. Raises HelmError."""
    home = _home().name
    ours = {"PATH": os.environ["PATH"], "HOME": home, "XDG_CACHE_HOME": home, "XDG_CONFIG_HOME": home}
    ours |= {"XDG_DATA_HOME": home, "KUBECONFIG": str(kubeconfig or "/dev/null")}
    done = subprocess.run([binary(), *arguments], env=ours, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise HelmError(done.stderr.strip() or done.stdout.strip())
    return done.stdout


def written(values: dict[str, Any], folder: Path) -> Path:
    """*values* as a file for ``-f``. JSON is YAML."""
    path = folder / "values.json"
    path.write_text(json.dumps(values), "utf-8")
    return path


def text(*values: Path, namespace: str = NAMESPACE, crds: bool = False) -> str:
    """What ``helm template`` writes; by default without the definitions of our kinds, which are files of ``crds/``."""
    files = [part for path in values for part in ("-f", str(path))]
    fixed = ["--namespace", namespace, "--kube-version", KUBE_VERSION, "--set", f"crds.enabled={str(crds).lower()}"]
    return helm("template", "fairlead", str(CHART), *fixed, *files)


def objects(*values: Path, namespace: str = NAMESPACE, crds: bool = False) -> list[dict[str, Any]]:
    """The objects of ``text``."""
    return [one for one in yaml.safe_load_all(text(*values, namespace=namespace, crds=crds)) if one]


def pod(workload: dict[str, Any], namespace: str) -> dict[str, Any]:
    """A pod as the controller of *workload* would make it."""
    template = workload if workload["kind"] == "Pod" else workload["spec"]["template"]
    metadata = {"name": workload["metadata"]["name"], "namespace": namespace, "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
