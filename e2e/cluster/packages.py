"""Debian packages of the machine itself, installed where they are missing."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator

from e2e.cluster.shell import ClusterError, run, step

#: A command that shows whether the package is there -> the package.
ENGINE = {
    "dockerd": "docker.io",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ip": "iproute2",
    "debootstrap": "debootstrap",
}
POLICY = pathlib.Path("/usr/sbin/policy-rc.d")


def require(commands: dict[str, str]) -> None:
    """Install the packages whose command is not on PATH. Raises ClusterError where that cannot be."""
    missing = sorted({package for command, package in commands.items() if not _has(command)})
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid():
        raise ClusterError(
            "no container engine answers and one cannot be set up here (that takes root and apt-get): "
            f"start Docker, or install {' '.join(missing)}"
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with step(f"apt-get install {' '.join(missing)}"), _services_stay_off():
        run("apt-get", "update", "-qq", env=quiet)
        run("apt-get", "install", "-qq", "-y", "--no-install-recommends", *missing, env=quiet)


def _has(command: str) -> bool:
    return bool(shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"))


@contextlib.contextmanager
def _services_stay_off() -> Iterator[None]:
    """Where no systemd rules the machine, a package's script would start its daemon, which nobody would end."""
    if pathlib.Path("/run/systemd/system").is_dir() or POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
