"""What the nodes run on: containers of an engine. For faults that no API brings about."""

from __future__ import annotations

import os

from e2e.cluster import engine
from e2e.cluster.engine import Engine


class Machines:
    """The nodes' containers."""

    def __init__(self, running: Engine) -> None:
        self._docker = running.docker

    def stop(self, node: str) -> None:
        """At once, as when the power fails."""
        self._docker("kill", node)

    def start(self, node: str) -> None:
        self._docker("start", node)

    def end_process(self, node: str, name: str) -> None:
        """SIGKILL to the processes of *name* on a node; whoever keeps them starts them again."""
        self._docker("exec", node, "pkill", "-KILL", "-x", name)


def machines() -> Machines | None:
    """Of the cluster that the scenarios run in; None: it is another's, whose machines are not ours to stop."""
    found = None if os.environ.get("CLUSTER") == "current" else engine.running()
    return Machines(found) if found else None
