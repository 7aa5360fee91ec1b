"""``fairlead standalone`` as a process with its real Envoy: what a kill leaves of it, and what it needs no more."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.manifests import Raw, listener, policy, route, site
from tests.support.processes import Child, free_ports
from tests.support.traffic import free_port
from tests.support.worlds import backend

pytestmark = pytest.mark.timeout(60)


class Run:
    """A standalone over a folder of its own; its temporary files are in *temporary*."""

    def __init__(self, folder: Path) -> None:
        self.manifests, self.temporary, self.log = folder / "manifests", folder / "tmp", folder / "log"
        self.port = free_port()
        for path in (self.manifests, self.temporary):
            path.mkdir()
        self.write("edge")
        self._child: Child | None = None
        self._status = 0

    def write(self, gateway: str, *, pattern: str = "/.*") -> None:
        match = {"path": {"type": "RegularExpression", "value": pattern}}
        spec = site(listener(self.port), route("all", "web", matches=[match])) | {"proxies": {"gateway": gateway}}
        self.write_all(policy("site", spec), *backend("web"))

    def write_all(self, *objects: Raw) -> None:
        (self.manifests / "all.yaml").write_text(yaml.safe_dump_all(objects), "utf-8")

    def lines(self, about: str) -> list[str]:
        """The live lines of changes of *about*."""
        return [line for line in self.log.read_text("utf-8").splitlines() if line.startswith(f"  {about}")]

    def start(self) -> None:
        """Return when the listener is there: Envoy runs, and has its configuration."""
        xds, self._status = free_ports(2)
        command = [sys.executable, "-m", "fairlead_operator.cli.main", "standalone", str(self.manifests)]
        command += ["--xds-address", f"127.0.0.1:{xds}", "--status-address", f"127.0.0.1:{self._status}"]
        command = ["env", f"TMPDIR={self.temporary}", *command, "--listen-address", "127.0.0.1"]
        self._child = Child(command, self.log)
        self.until(self.listens)

    def programmed(self) -> bool:
        """What the status page says of the policy."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._status}/status", timeout=5) as answer:
            return '"reason": "Programmed"' in answer.read().decode()

    def kill(self) -> None:
        assert self._child is not None
        self._child.end(grace=0)

    def ended(self) -> bool:
        return self._child is not None and not self._child.running()

    def end(self) -> None:
        if self._child is not None:
            self._child.end()

    @property
    def _config(self) -> str:
        return rf"-c ({re.escape(str(self.temporary))}\S+)"

    def pids(self) -> list[int]:
        """The Envoys of this run."""
        listed = subprocess.run(["ps", "-ww", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
        return [int(line.split()[0]) for line in listed.splitlines() if re.search(self._config, line)]

    def envoys(self) -> list[str]:
        """Names of the gateways whose Envoys run, by the bootstrap in the folders of this run."""
        listed = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
        files = re.findall(self._config, listed)
        return sorted(yaml.safe_load(Path(file).read_text("utf-8"))["node"]["cluster"] for file in files)

    def folders(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir())

    def listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.log.read_text("utf-8")
            time.sleep(0.02)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    it = Run(tmp_path)
    try:
        yield it
    finally:
        it.end()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_kill_leaves_no_envoy_and_the_next_start_no_folder(run: Run) -> None:
    run.start()
    (killed,) = run.folders()
    run.kill()
    run.until(lambda: not run.envoys())
    assert not run.listens()
    assert run.folders() == [killed]

    run.start()

    (now,) = run.folders()
    assert now != killed
    run.end()
    assert run.folders() == []


def test_an_envoy_that_is_killed_ends_the_run_and_is_not_blamed_with_an_old_line_of_its_log(run: Run) -> None:
    run.start()
    (envoy,) = run.pids()

    os.kill(envoy, signal.SIGKILL)

    run.until(run.ended)
    assert "error: Envoy of gateway edge was killed with SIGKILL\n" in run.log.read_text("utf-8")


def test_a_gateway_that_is_renamed_leaves_no_envoy(run: Run) -> None:
    run.start()
    assert run.envoys() == ["edge"]

    run.write("front")

    run.until(lambda: run.envoys() == ["front"])
    run.until(run.listens)
    assert "Envoy of gateway edge has ended: no policy names the gateway any more" in run.log.read_text("utf-8")
    assert len(run.folders()) == 1


def test_the_live_lines_tell_what_was_refused_and_what_was_removed(run: Run) -> None:
    run.start()
    run.until(run.programmed)

    run.write("edge", pattern="/(abc){600}")
    run.until(lambda: len(run.lines("LoadBalancerPolicy shop/site ->")) == 1)
    run.write("edge", pattern="/new")
    run.until(lambda: len(run.lines("LoadBalancerPolicy shop/site ->")) == 2)
    run.write_all(*backend("web"))
    run.until(lambda: bool(run.lines("LoadBalancerPolicy shop/site deleted")))

    refused, mended = run.lines("LoadBalancerPolicy shop/site ->")
    assert "1 RouteConfiguration; refused by edge-1: regex" in refused
    assert "1 RouteConfiguration; acknowledged by edge-1 after" in mended
    (removed,) = run.lines("LoadBalancerPolicy shop/site deleted")
    assert " removed; acknowledged by edge-1 after" in removed
    assert run.lines("a policy held back") == []
