"""Commands and steps: how everything in ``e2e/cluster`` runs something and tells what it does and how long it took."""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any


class ClusterError(Exception):
    """The cluster cannot be had; the message says why and what to do."""


def say(text: str) -> None:
    print(f"cluster: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins and, once it is done, how long it took."""
    say(f"{what} ...")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.0f} s")


def run(
    *command: str | pathlib.Path,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    timeout: float | None = None,
    cwd: pathlib.Path | None = None,
    **popen: Any,
) -> str:
    """What *command* printed on standard output. Its errors are shown only when it fails, in the exception."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            capture_output="stdout" not in popen,
            stderr=subprocess.PIPE if "stdout" in popen else None,
            text=True,
            check=False,
            timeout=timeout,
            cwd=cwd,
            **popen,
        )
    except FileNotFoundError:
        raise ClusterError(f"no command {words[0]!r} on this machine") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"`{' '.join(words[:6])}` did not end within {timeout:.0f} s") from None
    if check and done.returncode:
        tail = "\n".join(((done.stdout or "") + (done.stderr or "")).strip().splitlines()[-20:])
        raise ClusterError(f"`{' '.join(words[:8])}` failed (exit {done.returncode}):\n{tail}")
    return done.stdout or ""


def pipe(producer: Sequence[str], consumer: Sequence[str], *, env: Mapping[str, str] | None = None) -> None:
    """``producer | consumer``, where both must succeed."""
    environment = {**os.environ, **(env or {})}
    with subprocess.Popen(producer, stdout=subprocess.PIPE, env=environment) as first:
        source: IO[bytes] | None = first.stdout
        run(*consumer, env=env, stdin=source)
        if source:
            source.close()
    if first.returncode:
        raise ClusterError(f"`{' '.join(producer[:6])}` failed (exit {first.returncode})")
