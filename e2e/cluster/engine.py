"""The container engine: the machine's own where one answers, else a dockerd that we start and end.

``up`` and ``down`` of ``__main__`` call it. One engine serves the machine: its images are the cache of node and base image.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

from e2e.cluster import leftovers, packages, places
from e2e.cluster.shell import ClusterError, run, say, step

SOCKET = f"unix://{places.RUN}/docker.sock"
PIDFILE = places.RUN / "docker.pid"
BIP, POOL = "172.31.250.1/24", "base=172.31.240.0/21,size=24"
#: Bits of capabilities in /proc/self/status.
SYS_ADMIN, SYS_RESOURCE = 1 << 21, 1 << 24


class Engine:
    """How to reach it: ``environment`` is what docker and kind are run with."""

    def __init__(self, *, own: bool) -> None:
        self.own = own
        self.environment: dict[str, str] = {}
        if own:
            # Debian's client beside Debian's dockerd: a newer one on PATH may want plug-ins that are not there.
            path = f"{places.RUN}/bin:{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
            self.environment = {"DOCKER_HOST": SOCKET, "PATH": path}

    def docker(self, *words: str | pathlib.Path, check: bool = True, timeout: float | None = None) -> str:
        client = places.RUN / "bin/docker" if self.own else "docker"
        return run(client, *words, env=self.environment, check=check, timeout=timeout)

    def has_image(self, name: str) -> bool:
        return bool(self.docker("images", "-q", name).strip())


def running() -> Engine | None:
    """The engine that answers now, ours first; None: there is none."""
    if PIDFILE.exists() and leftovers.alive(_pid()):
        engine = Engine(own=True)
        if _answers(engine):
            return engine
    machine = Engine(own=False)
    return machine if shutil.which("docker") and _answers(machine) else None


def impossible() -> str:
    """Why no engine can be had on this machine; empty: one answers, or can be started."""
    if running():
        return ""
    if sys.platform != "linux" or os.geteuid():
        return "no container engine answers, and only root on Linux can start one"
    if not _capabilities("CapEff") & SYS_ADMIN:
        return "no container engine answers, and this machine lets nobody mount (CAP_SYS_ADMIN)"
    if not shutil.which("apt-get") and not shutil.which("dockerd"):
        return "no container engine answers, and there is no apt-get to install one"
    return ""


def start() -> Engine:
    """The engine that answers, started if there is none."""
    if found := running():
        return found
    packages.require(packages.ENGINE)
    with step("container engine"):
        leftovers.end_processes(places.RUN)
        leftovers.remember_network(places.RUN)
        _start()
    return Engine(own=True)


def _start() -> None:
    data, bin_folder = places.engine_data(), places.RUN / "bin"
    for folder in (data, bin_folder):
        folder.mkdir(parents=True, exist_ok=True)
    client = bin_folder / "docker"
    client.unlink(missing_ok=True)
    client.symlink_to("/usr/bin/docker" if pathlib.Path("/usr/bin/docker").exists() else _which("docker"))
    command = [
        _which("dockerd"),
        f"--host={SOCKET}",
        f"--data-root={data}",
        f"--exec-root={places.RUN}/exec",
        f"--pidfile={PIDFILE}",
        f"--bip={BIP}",
        f"--default-address-pool={POOL}",
        "--log-level=warn",
        *_runtime(bin_folder),
    ]
    PIDFILE.unlink(missing_ok=True)
    with (data / "dockerd.log").open("wb") as log:
        # A session of its own: it outlives this run and no Ctrl-C reaches it; `stop` ends it by its process id.
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    deadline = time.monotonic() + 60
    while not _answers(Engine(own=True)):
        if process.poll() is not None or time.monotonic() > deadline:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            tail = "\n".join((data / "dockerd.log").read_text(errors="replace").splitlines()[-15:])
            raise ClusterError(f"dockerd does not start on this machine:\n{tail}")
        time.sleep(0.2)


def _runtime(bin_folder: pathlib.Path) -> list[str]:
    if _capabilities("CapBnd") & SYS_RESOURCE:
        return []
    wrapper = bin_folder / "runc-without-sys-resource"
    shutil.copyfile(pathlib.Path(__file__).with_name("runc_wrapper.py"), wrapper)
    wrapper.chmod(0o755)
    return [f"--add-runtime=bounded={wrapper}", "--default-runtime=bounded"]


def _capabilities(which: str) -> int:
    """A set of this process, by its name in /proc/self/status."""
    status = pathlib.Path("/proc/self/status").read_text()
    return next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith(which))


def left_behind() -> bool:
    """Did our engine die and leave its folder (and thus perhaps containers) behind?"""
    return places.RUN.exists()


def stop() -> None:
    """End our own engine and take away what it made of the machine; another's is left alone."""
    if PIDFILE.exists() and leftovers.alive(_pid()):
        with step("end of the container engine"):
            leftovers.end(_pid(), grace=30)
    if places.RUN.exists():
        leftovers.end_processes(places.RUN)
        leftovers.unmount(places.RUN)
        leftovers.restore_network(places.RUN)
        shutil.rmtree(places.RUN)
        say("nothing of it runs any more; images stay in the cache")


def _pid() -> int:
    text = PIDFILE.read_text().strip() if PIDFILE.exists() else ""
    return int(text) if text.isdigit() else 0


def _answers(engine: Engine) -> bool:
    with contextlib.suppress(ClusterError):
        return bool(engine.docker("version", "--format", "{{.Server.Version}}", check=False, timeout=10).strip())
    return False


def _which(command: str) -> str:
    found = shutil.which(command, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if not found:
        raise ClusterError(f"no command {command!r} on this machine")
    return found
