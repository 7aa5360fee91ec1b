"""Capture for real, in a network namespace: only the given Services go to the proxy, all else stays as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support import netns
from tests.support.pods import FAIRLEAD_PROXY

PROXY_UID = 61337
WHY_NOT = netns.problem() or ("" if shutil.which("iptables-nft") else "capture needs iptables: install it")
pytestmark = [pytest.mark.needs_root, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT), pytest.mark.timeout(60)]

#: Connects as a given user and says who answered; the names of the servers are what they send.
CLIENT = """
import os, socket, sys
"".encode("idna")  # an import that this user may not be able to make
os.setuid(int(sys.argv[1]))
with socket.create_connection((sys.argv[2], int(sys.argv[3])), timeout=5) as connection:
    print(connection.recv(100).decode(), end="")
"""
SERVER = """
import socket, sys, threading
def serve(name, family, host, port):
    listening = socket.create_server((host, port), family=family)
    while True:
        connection, _ = listening.accept()
        connection.sendall(name.encode())
        connection.close()
for name, family, host, port in (
    ("proxy", socket.AF_INET, "127.0.0.1", 15001), ("proxy6", socket.AF_INET6, "::1", 15001),
    ("service", socket.AF_INET, "10.96.1.2", 80), ("service", socket.AF_INET, "10.96.1.2", 81),
    ("other", socket.AF_INET, "10.96.3.4", 80), ("service6", socket.AF_INET6, "fd00:96::1", 80),
):
    threading.Thread(target=serve, args=(name, family, host, port)).start()
print("up", flush=True)
"""


class Pod:
    """A network namespace in which the Services' addresses are its own: what is not captured reaches them."""

    def __init__(self, inside: netns.Netns) -> None:
        self._inside = inside

    def capture(self, services: str) -> None:
        command = [sys.executable, "-I", str(FAIRLEAD_PROXY), "capture", "--services", services]
        self._inside.run([*command, "--to", "15001", "--except-uid", str(PROXY_UID)], timeout=30)

    def asks(self, address: str, port: int, *, uid: int = 65534) -> str:
        return self._inside.run([sys.executable, "-c", CLIENT, str(uid), address, str(port)])

    def rules(self, family: str = "iptables") -> list[str]:
        """The nat table, without the counters."""
        return [line for line in self._inside.run([f"{family}-nft-save", "-t", "nat"]).splitlines() if line[0] in "-:"]

    def iptables(self, *arguments: str) -> None:
        self._inside.run(["iptables-nft", *arguments])


@pytest.fixture
def pod() -> Iterator[Pod]:
    with netns.netns() as inside:
        for command in (
            "ip address add 10.96.1.2/32 dev lo",
            "ip address add 10.96.3.4/32 dev lo",
            "ip address add fd00:96::1/128 dev lo nodad",
        ):
            inside.run(command.split())
        server = subprocess.Popen(inside.command([sys.executable, "-c", SERVER]), stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "up\n"
            yield Pod(inside)
        finally:
            server.kill()
            server.communicate()


def test_only_what_goes_to_the_given_services_goes_to_the_proxy(pod: Pod) -> None:
    assert pod.asks("10.96.1.2", 80) == "service"

    pod.capture("10.96.1.2:80,[fd00:96::1]:80")

    assert pod.asks("10.96.1.2", 80) == "proxy"
    assert pod.asks("fd00:96::1", 80) == "proxy6"
    assert pod.asks("10.96.1.2", 81) == "service"
    assert pod.asks("10.96.3.4", 80) == "other"
    # Envoy's own connections go out, or they would come back to it for ever.
    assert pod.asks("10.96.1.2", 80, uid=PROXY_UID) == "service"


def test_another_run_replaces_the_services_and_nothing_else(pod: Pod) -> None:
    pod.iptables("-t", "nat", "-A", "OUTPUT", "-d", "10.9.9.9", "-j", "RETURN")
    before = pod.rules()

    pod.capture("10.96.1.2:80")
    once = pod.rules()
    pod.capture("10.96.1.2:80")
    assert pod.rules() == once
    assert [line for line in once if "FAIRLEAD" not in line] == before

    pod.capture("10.96.3.4:80")
    assert pod.asks("10.96.1.2", 80) == "service"
    assert pod.asks("10.96.3.4", 80) == "proxy"

    pod.capture("")
    assert pod.asks("10.96.3.4", 80) == "other"
    assert pod.rules("ip6tables") == [] or not any("FAIRLEAD" in line for line in pod.rules("ip6tables"))


def test_one_capability_is_enough(pod: Pod) -> None:
    """What injection gives the init container: root with NET_ADMIN alone."""
    command = [sys.executable, "-I", str(FAIRLEAD_PROXY), "capture", "--services", "10.96.1.2:80", "--except-uid", "1"]
    only = ["setpriv", "--bounding-set", "-all,+net_admin", "--inh-caps", "-all,+net_admin", "--no-new-privs", "--"]

    pod._inside.run([*only, *command], timeout=30)

    assert pod.asks("10.96.1.2", 80) == "proxy"


def test_without_the_capability_it_says_what_failed(pod: Pod) -> None:
    command = [sys.executable, "-I", str(FAIRLEAD_PROXY), "capture", "--services", "10.96.1.2:80", "--except-uid", "1"]
    drop = ["setpriv", "--reuid", "65534", "--clear-groups", "--bounding-set", "-all", "--"]

    done = subprocess.run(
        pod._inside.command([*drop, *command]), capture_output=True, text=True, timeout=30, env=os.environ, check=False
    )

    assert done.returncode == 1
    assert done.stderr.startswith("fairlead-proxy: capture: ")
    assert "iptables" in done.stderr
    assert "Traceback" not in done.stderr
