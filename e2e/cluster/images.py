"""The images that the cluster runs: the project's two, from its Dockerfile, and the sample application's."""

from __future__ import annotations

import os
import pathlib

from e2e.cluster import places, rootfs
from e2e.cluster.engine import Engine
from e2e.cluster.shell import run, step

OPERATOR, PROXY, SAMPLE = "fairlead-operator:0.1.0", "fairlead-proxy:0.1.0", "fairlead-sample:0.1.0"


def make(engine: Engine, *, public: bool) -> tuple[str, ...]:
    """Build all three; with *public* on the Dockerfiles' own base image, else on one made from packages."""
    base = "" if public else rootfs.base_image(engine)
    with step("images of the sample application, the operator and the proxy"):
        _build(engine, SAMPLE, places.ROOT / "e2e/app", base)
        for target, name in (("operator", OPERATOR), ("proxy", PROXY)):
            _build(engine, name, places.ROOT, base, "--target", target)
    return OPERATOR, PROXY, SAMPLE


def _build(engine: Engine, name: str, folder: pathlib.Path, base: str, *flags: str) -> None:
    arguments = ["--build-arg", f"BASE={base}"] if base else []
    client = f"{places.RUN}/bin/docker" if engine.own else "docker"
    words = [*arguments, *_authority(), *flags, "-t", name, str(folder)]
    buildkit = {**engine.environment, "DOCKER_BUILDKIT": "1"}
    run(client, "build", "--quiet", "--network=host", *words, env=buildkit)


def _authority() -> list[str]:
    """Where this machine trusts a certificate authority of its own, the build does too; it is in no layer."""
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    return ["--secret", f"id=ca,src={bundle}"] if bundle and pathlib.Path(bundle).is_file() else []
