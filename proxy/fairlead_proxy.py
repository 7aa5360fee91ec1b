#!/usr/bin/env python3
"""What a proxy's pod does around its Envoy, which runs without a wrapper. Installed as ``fairlead-proxy`` in the image.

``wait``: postStart hook of sidecars: holds the application back until Envoy has its configuration, or a time has passed.
``drain``: preStop hook of gateways: the health check fails first, then requests and connections may end.
``ready``: is it configured, and not draining?
``capture``: init container of sidecars that capture: sends what goes to the given Services to Envoy.

One file, standard library only: the image has no other Python.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import ipaddress
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence

ADMIN = "/var/run/fairlead/admin.sock"
PROC = "/proc"
POLL = 0.1  # seconds


# --- Envoy's admin socket


class AdminError(Exception):
    """Envoy's admin socket does not answer; the message says why."""


class EnvoyEndedError(AdminError):
    """Nobody listens on Envoy's admin socket."""


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=3)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclasses.dataclass(frozen=True)
class Admin:
    """Envoy's admin page on the socket at *path*."""

    path: str

    def ask(self, target: str, *, method: str = "GET") -> tuple[int, str]:
        """Status and body. Raises AdminError."""
        connection = _Connection(self.path)
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            ended = isinstance(error, (ConnectionRefusedError, FileNotFoundError))
            failure = EnvoyEndedError if ended else AdminError
            raise failure(f"Envoy does not answer on {self.path}: {error or type(error).__name__}") from None
        finally:
            connection.close()

    def ready(self) -> bool:
        """Does Envoy have its configuration, and is not draining? Raises AdminError."""
        status, _ = self.ask("/ready")
        return status == http.HTTPStatus.OK

    def statistics(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose names have *pattern* (of RE2). Raises AdminError."""
        _, text = self.ask(f"/stats?filter={pattern}")
        return {name: int(value) for name, value in re.findall(r"^(\S+): (\d+)$", text, flags=re.MULTILINE)}


# --- wait and ready


def wait(admin: Admin, seconds: float, say: Callable[[str], None]) -> int:
    """Return when Envoy is configured or *seconds* have passed: then the application starts without it, and *say* tells."""
    end = time.monotonic() + seconds
    reason = "Envoy has not started"
    while time.monotonic() < end:
        try:
            if admin.ready():
                return 0
            reason = why_not(admin.statistics(r"^(cluster\.fairlead\.|control_plane\.|sds\.)"))
        except AdminError as error:
            reason = str(error)
        time.sleep(min(POLL, max(0.0, end - time.monotonic())))
    say(f"fairlead-proxy: the application starts without a configured proxy after {seconds:g} s: {reason}")
    return 0


def why_not(statistics: dict[str, int]) -> str:
    """What keeps Envoy from its configuration, by its statistics; and what to do."""

    def some(*names: str) -> bool:
        return any(statistics.get(name, 0) for name in names)

    xds = "cluster.fairlead"
    if some("control_plane.connected_state"):
        return "the control plane is connected but has not sent all of it: see its log and the policies' status"
    if not some("sds.ca.update_success"):
        return "there is no CA bundle: the ConfigMap fairlead-ca is missing in this namespace"
    if not some("sds.token.update_success"):
        return "there is no service-account token: its projected volume is missing in this pod"
    if some(f"{xds}.ssl.fail_verify_error", f"{xds}.ssl.fail_verify_san"):
        return "the control plane's certificate is not of our CA or has another name: see the ConfigMap fairlead-ca"
    if not some(f"{xds}.membership_total"):
        return "the name of the control plane does not resolve: does its Service exist, does DNS work?"
    if some(f"{xds}.upstream_cx_total") and some(f"{xds}.ssl.handshake"):
        return "the control plane refuses this proxy or ends the connection: see Envoy's warnings above"
    return "the control plane does not accept connections: is it running, does a NetworkPolicy forbid them?"


def ready(admin: Admin) -> int:
    """0: configured and not draining; 1: not."""
    try:
        if admin.ready():
            return 0
        print("not ready: Envoy has no configuration yet, or it drains", file=sys.stderr)
    except AdminError as error:
        print(f"not ready: {error}", file=sys.stderr)
    return 1


# --- drain


def drain(admin: Admin, seconds: float, at_least: float) -> int:
    """Return when no client is connected any more or *seconds* have passed; always 0: the pod ends in any case.

    Envoy goes on to accept: for some time the rest of the cluster has not heard yet that this pod ends. Hence also
    *at_least*, seconds that it stays even if nobody is connected. Every response tells its client to go elsewhere
    (``Connection: close``, GOAWAY).
    """
    begin = time.monotonic()
    orders = ["/healthcheck/fail", "/drain_listeners?graceful&skip_exit"]
    while True:
        passed = time.monotonic() - begin
        try:
            while orders:
                admin.ask(orders[0], method="POST")
                del orders[0]
            if passed >= at_least and connections(admin) == 0:
                return 0
        except EnvoyEndedError as error:  # nothing is left to wait for
            print(f"fairlead-proxy: drain: {error}", file=sys.stderr)
            return 0
        except AdminError as error:  # it has no time for us, which is no reason to cut its clients off
            print(f"fairlead-proxy: drain: {error}: trying again", file=sys.stderr)
        if passed >= seconds:
            return 0
        time.sleep(POLL)


def connections(admin: Admin) -> int:
    """Of clients, now: those on the status port are the kubelet's and Prometheus's. Raises AdminError."""
    gauges = admin.statistics(r"^listener\..*\.downstream_cx_active$")
    ours = ("listener.admin.", "listener.fairlead_status.")
    return sum(
        number
        for name, number in gauges.items()
        if not name.startswith(ours) and not re.search(r"\.worker_\d+\.", name)
    )


# --- capture

CHAIN = "FAIRLEAD_OUTPUT"
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class CaptureError(Exception):
    """The rules cannot be set; the message says why."""


@dataclasses.dataclass(frozen=True, order=True)
class Target:
    """Address and port of a Service."""

    address: IPAddress
    port: int


def targets(text: str) -> list[Target]:
    """``10.96.1.2:80,[fd00::1]:443`` -> targets. Raises argparse.ArgumentTypeError."""
    found = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        host, _, port = item.rpartition(":")
        try:
            address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{item!r} has no IP address: write 10.96.1.2:80 or [fd00::1]:80"
            ) from None
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise argparse.ArgumentTypeError(f"{item!r} has no port: write 10.96.1.2:80 or [fd00::1]:80")
        found.append(Target(address, int(port)))
    return found


def rules(wanted: Iterable[Target], *, to: int, uid: int, jump: bool) -> str:
    """The input of iptables-restore: one transaction that replaces our chain and touches nothing else.

    *jump*: OUTPUT does not lead to our chain yet.
    """
    lines = ["*nat", f":{CHAIN} - [0:0]"]
    if jump:
        lines.append(f"-A OUTPUT -p tcp -j {CHAIN}")
    lines.append(f"-A {CHAIN} -m owner --uid-owner {uid} -j RETURN")
    for target in sorted(set(wanted)):
        where = f"-p tcp -d {target.address} --dport {target.port}"
        lines.append(f"-A {CHAIN} {where} -j REDIRECT --to-ports {to}")
    return "\n".join([*lines, "COMMIT", ""])


def capture(wanted: Sequence[Target], *, to: int, uid: int) -> int:
    """Set the rules of both families, so that a run with other Services replaces those before. Raises CaptureError."""
    for version in (4, 6):
        mine = [target for target in wanted if target.address.version == version]
        _capture(mine, to=to, uid=uid, family="ip6tables" if version == 6 else "iptables")
    return 0


def _capture(wanted: list[Target], *, to: int, uid: int, family: str) -> None:
    complaints = []
    for kind in ("nft", "legacy"):
        command = f"{family}-{kind}"
        present = _run([command, "-w", "5", "-t", "nat", "-S", CHAIN]) is None
        if not wanted and not present:
            continue  # IPv6 may be switched off; without Services there, nothing is missing
        jump = _run([command, "-w", "5", "-t", "nat", "-C", "OUTPUT", "-p", "tcp", "-j", CHAIN]) is not None
        text = rules(wanted, to=to, uid=uid, jump=jump)
        complaint = _run([f"{command}-restore", "-w", "5", "--noflush"], text)
        if complaint is None:
            return
        complaints.append(complaint)
    if complaints:
        raise CaptureError("; ".join(complaints))


def _run(command: list[str], text: str = "") -> str | None:
    """Run it with *text* as its input; ``None``, or what it complains of."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return None if done.returncode == 0 else f"{command[0]}: {done.stderr.strip() or f'exit code {done.returncode}'}"


# --- the command line


def seconds(text: str) -> float:
    """``30s``, ``2m``, ``500ms`` -> seconds."""
    if not re.fullmatch(r"([0-9]+(ms|h|m|s))+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 30s, 2m or 1m30s")
    unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(int(number) * unit[name] for number, name in re.findall(r"([0-9]+)(ms|h|m|s)", text))


def container_log(proc: str = PROC) -> str:
    """Standard error of Envoy, which is the container's log: what a hook itself writes is shown only when it fails.

    Envoy is process 1, unless the pod's containers share their processes (spec.shareProcessNamespace).
    """
    from pathlib import Path  # noqa: PLC0415 - rarely needed, and the kubelet starts this program often

    for folder in sorted((one for one in Path(proc).iterdir() if one.name.isdecimal()), key=lambda one: int(one.name)):
        with contextlib.suppress(OSError):
            if (folder / "comm").read_text("utf-8").strip() == "envoy" and folder.stat().st_uid == os.getuid():
                return str(folder / "fd" / "2")
    return str(Path(proc, "1", "fd", "2"))


def log(text: str, path: str = "") -> None:
    """To the container's log (or *path*) where it can be reached, else to standard error."""
    with contextlib.suppress(OSError), open(path or container_log(), "a", encoding="utf-8") as stream:  # noqa: PTH123
        print(text, file=stream)
        return
    print(text, file=sys.stderr)


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="fairlead-proxy", description="Around the Envoy of a pod.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser("wait", help="return when Envoy is configured or the time has passed (postStart)")
    one.add_argument("--for", dest="seconds", type=seconds, default=20.0, metavar="20s")
    one.add_argument("--admin", default=ADMIN, help=argparse.SUPPRESS)
    one.add_argument("--log", default="", help=argparse.SUPPRESS)
    one = commands.add_parser("drain", help="fail the health check, return when connections have ended (preStop)")
    one.add_argument("--for", dest="seconds", type=seconds, default=30.0, metavar="30s")
    one.add_argument("--at-least", type=seconds, default=5.0, metavar="5s", help="go on to accept for this long")
    one.add_argument("--admin", default=ADMIN, help=argparse.SUPPRESS)
    one = commands.add_parser("ready", help="exit code 0: configured and not draining")
    one.add_argument("--admin", default=ADMIN, help=argparse.SUPPRESS)
    one = commands.add_parser("capture", help="redirect connections to the given Services to Envoy (init container)")
    one.add_argument("--services", type=targets, required=True, metavar="IP:PORT,…", help="empty: none any more")
    one.add_argument("--to", type=int, default=15001, metavar="PORT", help="of Envoy (default %(default)s)")
    one.add_argument("--except-uid", type=int, required=True, metavar="UID", help="Envoy's own: goes out as it is")
    return top


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    if args.command == "wait":
        return wait(Admin(args.admin), args.seconds, lambda text: log(text, args.log))
    if args.command == "drain":
        return drain(Admin(args.admin), args.seconds, args.at_least)
    if args.command == "ready":
        return ready(Admin(args.admin))
    try:
        return capture(args.services, to=args.to, uid=args.except_uid)
    except CaptureError as error:
        print(f"fairlead-proxy: capture: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
