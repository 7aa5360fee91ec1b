"""A child process that is spoken to in JSON, a line each way: the control plane and the fake proxies have one each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_LONGEST = 2**20


class Child:
    """``python -m bench.<name>``; ends with the block that it is used in."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, name: str, *arguments: object) -> Any:
        """A child that runs the module *name* of this package."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", f"bench.{name}", *map(str, arguments)),
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_LONGEST,
        )
        try:
            yield cls(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # the child ends at the end of its input
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 20)
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def ask(self, do: str, **arguments: Any) -> Any:
        """What the child answers to one command."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended over {do}: see its error above")
        return json.loads(line)


async def serve(commands: dict[str, Callable[..., Awaitable[Any]]]) -> None:
    """The child's half: answer commands until the input ends."""
    reader = asyncio.StreamReader(limit=_LONGEST)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = json.loads(line)
        answer = await commands[command.pop("do")](**command)
        print(json.dumps(answer), flush=True)


def peak() -> float:
    """The most that was resident so far, MB (proc(5): VmHWM of status, in kB of 1024 bytes)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def resident() -> float:
    """Resident memory of this process, MB of 10**6 bytes (proc(5): field 2 of statm, in pages)."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
