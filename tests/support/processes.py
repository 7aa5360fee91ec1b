"""Child processes for tests that never outlive them, also on Ctrl-C and when the parent is killed."""

from __future__ import annotations

import atexit
import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence


class Child:
    """A process with its output in *log*. ``end`` is safe to call twice and runs at exit in any case."""

    def __init__(self, command: Sequence[str], log: pathlib.Path) -> None:
        self.name, self.log = pathlib.Path(command[0]).name, log
        with log.open("ab") as output:
            # A session of its own: Ctrl-C in the terminal reaches the tests only, which then end it in order.
            self._process = subprocess.Popen(
                [*_tied_to_parent(), *command], stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        atexit.register(self.end)

    @property
    def pid(self) -> int:
        return self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def end(self, *, grace: float = 3) -> None:
        """SIGTERM, then after *grace* seconds SIGKILL; ``grace=0`` is a crash."""
        atexit.unregister(self.end)
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM if grace else signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=grace or 10)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])


def _tied_to_parent() -> list[str]:
    """Linux ends the child with its parent, however that one dies; elsewhere only ``atexit`` does."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Ports that nobody listens on, all held at once so that they differ."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind((host, 0))
        return [one.getsockname()[1] for one in sockets]
