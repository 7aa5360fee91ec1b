"""What an engine leaves on a machine, and how it goes away again: processes, mounts, links, rules, chains.

``engine.stop`` calls it after the engine's end, and ``engine.start`` before a start, since a killed run leaves more.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import re
import signal
import time

from e2e.cluster.shell import run

FORWARD = pathlib.Path("/proc/sys/net/ipv4/ip_forward")
BRIDGE = re.compile(r"\b(docker0|br-[0-9a-f]{12})\b")
TABLES = ("nat", "filter")


def alive(pid: int) -> bool:
    """Does it run? (A zombie does not: whoever started it has not looked yet.)"""
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return pid > 0 and state != "Z"


def end(pid: int, *, grace: float) -> None:
    """SIGTERM, and SIGKILL if it takes longer than *grace* seconds."""
    for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, 10.0)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while alive(pid):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return


def end_processes(folder: pathlib.Path) -> None:
    """End every process whose command line names *folder* (dockerd, containerd, shims), each with all below it."""
    own, parents, named = os.getpid(), {}, []
    for entry in pathlib.Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == own:
            continue
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if any(word.partition("=")[2].startswith(str(folder)) or word.startswith(f"{folder}/") for word in words):
                named.append(int(entry.name))
    for pid in named:
        for child in _below(pid, parents):
            end(child, grace=0)
        end(pid, grace=5)


def _below(pid: int, parents: dict[int, int]) -> list[int]:
    children = [child for child, parent in parents.items() if parent == pid]
    return [*(one for child in children for one in _below(child, parents)), *children]


def unmount(folder: pathlib.Path) -> None:
    """Unmount whatever is mounted below *folder*, the deepest first."""
    points = [line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()]
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True):
        run("umount", "--lazy", point, check=False)


def remember_network(folder: pathlib.Path) -> None:
    """Note, before an engine starts, what it is about to change: forwarding and the policy of FORWARD."""
    folder.mkdir(parents=True, exist_ok=True)
    if (note := folder / "network.json").exists():
        return  # of the run that was killed: the present state is its leftover
    policies = {tool: _policy(tool) for tool in ("iptables", "ip6tables")}
    bridges = _bridges()
    note.write_text(json.dumps({"forward": FORWARD.read_text().strip(), "policies": policies, "bridges": bridges}))


def restore_network(folder: pathlib.Path) -> None:
    """Take away the bridges, rules and chains that the engine made, and set back what it set."""
    note = folder / "network.json"
    if not note.exists():
        return
    before = json.loads(note.read_text())
    for bridge in _bridges():
        if bridge not in before["bridges"]:
            run("ip", "link", "delete", bridge, check=False)
    if "docker0" in before["bridges"]:
        return  # another engine's rules are among them
    for tool, policy in before["policies"].items():
        for table in TABLES:
            _remove_rules(tool, table)
        if policy:
            run(tool, "-w", "-P", "FORWARD", policy, check=False)
    FORWARD.write_text(before["forward"])


def _remove_rules(tool: str, table: str) -> None:
    lines = run(f"{tool}-save", "-t", table, check=False).splitlines()
    chains = [line.split()[0][1:] for line in lines if line.startswith(":DOCKER")]
    for line in lines:
        ours = "DOCKER" in line or BRIDGE.search(line) or "172.31.24" in line or "172.31.25" in line
        if line.startswith("-A ") and ours:
            run(tool, "-w", "-t", table, "-D", *words(line.removeprefix("-A ")), check=False)
    for verb in ("-F", "-X"):
        for chain in chains:
            run(tool, "-w", "-t", table, verb, chain, check=False)


def words(rule: str) -> list[str]:
    """Words of a line of ``iptables-save``, quotes taken off."""
    return [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|(\S+)', rule)]


def _policy(tool: str) -> str:
    found = re.search(r"^-P FORWARD (\w+)", run(tool, "-w", "-S", "FORWARD", check=False), re.MULTILINE)
    return found[1] if found else ""


def _bridges() -> list[str]:
    return sorted(link.name for link in pathlib.Path("/sys/class/net").iterdir() if BRIDGE.fullmatch(link.name))
