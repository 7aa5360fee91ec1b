"""A network namespace for backends that the API server lets into an EndpointSlice: it refuses loopback addresses.

One veth pair joins it to the root namespace. Needs root (CAP_NET_ADMIN and CAP_SYS_ADMIN) and iproute2.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from tests.support.processes import Child

#: Private, and off the paths of the common pod and service networks; a /24 of it per namespace.
POOL = ipaddress.IPv4Network("10.231.0.0/16")
PREFIX = "fl-"


class NetnsError(Exception):
    """No network namespace can be made here; the message says why."""


class Netns:
    """A namespace: ``host`` is the root namespace's address in it, ``address(n)`` its own from ``n=0`` on."""

    def __init__(self, name: str, network: ipaddress.IPv4Network, addresses: int) -> None:
        self.name, self._network, self._count = name, network, addresses
        self.host = str(network[1])
        self._children: list[Child] = []

    def address(self, index: int = 0) -> str:
        """Its address number *index*: one for each endpoint, so that they may share a port."""
        if not 0 <= index < self._count:
            raise IndexError(f"{self.name} has {self._count} addresses")
        return str(self._network[10 + index])

    def command(self, command: Sequence[str]) -> list[str]:
        """*command* as it runs inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def spawn(self, command: Sequence[str], log: pathlib.Path) -> Child:
        """Start *command* inside; it ends with the namespace at the latest."""
        # `ip netns exec` replaces itself by the command: the process id is the command's own.
        child = Child(self.command(command), log)
        self._children.append(child)
        return child

    def run(self, command: Sequence[str], *, timeout: float = 10) -> str:
        """Standard output of *command*, run inside to its end."""
        return subprocess.run(self.command(command), check=True, text=True, capture_output=True, timeout=timeout).stdout

    def _up(self) -> None:
        outside, inside = f"{self.name}-o", f"{self.name}-i"
        ip("netns", "add", self.name)
        ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.name)
        ip("address", "add", f"{self.host}/24", "dev", outside)
        ip("link", "set", outside, "up")
        for index in range(self._count):
            ip("-n", self.name, "address", "add", f"{self.address(index)}/24", "dev", inside)
        ip("-n", self.name, "link", "set", "lo", "up")
        ip("-n", self.name, "link", "set", inside, "up")

    def _down(self) -> None:
        for child in reversed(self._children):
            child.end(grace=0)
        _remove(self.name)


def _remove(name: str) -> None:
    """The link goes first: a namespace that a process still holds would keep it."""
    for command in (("link", "delete", f"{name}-o"), ("netns", "delete", name)):
        with contextlib.suppress(NetnsError):
            ip(*command)


def ip(*arguments: str) -> str:
    """``ip ARGUMENTS``. Raises NetnsError with what it says."""
    done = subprocess.run(["ip", *arguments], check=False, text=True, capture_output=True, timeout=10)
    if done.returncode:
        raise NetnsError(f"`ip {' '.join(arguments)}`: {done.stderr.strip()}")
    return done.stdout


def problem() -> str:
    """Why no namespace can be made here; empty if one can. For ``pytest.mark.skipif`` and for messages."""
    if not shutil.which("ip"):
        return "network namespaces need the `ip` command (iproute2)"
    if os.geteuid() != 0:
        return "network namespaces need root: run the tests as root"
    probe = f"{PREFIX}{os.getpid()}-probe"
    try:
        ip("netns", "add", probe)
        ip("netns", "delete", probe)
    except NetnsError as error:
        return f"network namespaces cannot be made here (CAP_SYS_ADMIN, CAP_NET_ADMIN): {error}"
    return ""


def _sweep() -> None:
    """Remove what a killed run left: the names carry the process id of who made them."""
    for line in ip("netns", "list").splitlines():
        found = re.match(rf"({PREFIX}(\d+)-\w+)", line)
        if found and not pathlib.Path(f"/proc/{found[2]}").exists():
            _remove(found[1])


def _free_network() -> ipaddress.IPv4Network:
    """A /24 that no route of this machine touches."""
    routes = re.findall(r"^(?:\w+ )?(\d+\.\d+\.\d+\.\d+(?:/\d+)?)", ip("route", "show", "table", "all"), re.MULTILINE)
    taken = [ipaddress.IPv4Network(route, strict=False) for route in routes]
    for network in POOL.subnets(new_prefix=24):
        if not any(network.overlaps(one) for one in taken if one.prefixlen):
            return network
    raise NetnsError(f"every /24 of {POOL} is in use: `ip route` shows by what")


@contextlib.contextmanager
def netns(*, addresses: int = 4) -> Iterator[Netns]:
    """A namespace with *addresses* addresses, removed at the end with all that runs in it."""
    if why := problem():
        raise NetnsError(why)
    _sweep()
    number = next(n for n in range(100) if f"{PREFIX}{os.getpid()}-{n}" not in ip("netns", "list"))
    made = Netns(f"{PREFIX}{os.getpid()}-{number}", _free_network(), addresses)
    try:
        made._up()
        yield made
    finally:
        made._down()
