"""``python -m e2e.cluster up | down | test | telling``: what ``make cluster``, ``cluster-down``, ``e2e`` and CI call.

NODE_IMAGE=packages   make engine set-up and node image from packages, also where a registry is
NODE_IMAGE=NAME       take this node image
CLUSTER=current       use the current context of kubectl: install into it, leave the cluster itself alone
HOST_PORT=8080        where the gateway answers on this machine (0: nowhere, as the tests have it: another may have the port)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

from e2e.cluster import current, engine, images, install, kind, places, rootfs
from e2e.cluster.lock import claim, only_one, release
from e2e.cluster.shell import ClusterError, say, step


def up() -> None:
    """Everything, from nothing; what a killed run left goes first."""
    started = time.monotonic()
    if current.asked():
        current.up()
        return
    claim()
    running = engine.start()
    rootfs.sweep()
    if kind.exists(running):
        say("a cluster of an earlier run is there; it goes first")
        kind.delete(running)
    image = kind.choose_image(running)
    names = images.make(running, public=not image)
    kind.create(running, image)
    kind.load(running, names)
    install.install(places.KUBECONFIG)
    install.sample(places.KUBECONFIG)
    if install.host_port() != "0":
        with step("first answer through the gateway"):
            install.first_answer()
    used = ", ".join(f"{name} {size}" for name, size in sorted(kind.memory(running).items()))
    say(f"up after {time.monotonic() - started:.0f} s; memory: {used}")


def down() -> None:
    """End everything that ``up`` started. Does nothing where nothing is."""
    if current.asked():
        current.down()
        return
    claim()
    running = engine.running()
    if running is None and engine.left_behind():
        # Its containers outlived it: only an engine can end them in order.
        running = engine.start()
    if running and kind.exists(running):
        kind.delete(running)
    engine.stop()
    places.KUBECONFIG.unlink(missing_ok=True)
    release()


def test(arguments: list[str]) -> int:
    """Cluster up, pytest over ``e2e/``, cluster down: down also after a failure or Ctrl-C. Returns pytest's exit code."""
    try:
        up()
        return _pytest(arguments)
    finally:
        with _uninterrupted():
            down()


def telling() -> int:
    """The few scenarios that say most, where this machine can run the cluster; where not, one line says why."""
    if reason := engine.impossible():
        say(f"no end-to-end tests here: {reason}")
        return 0
    return test(["e2e", "-m", "telling"])


def _pytest(arguments: list[str]) -> int:
    environment = dict(os.environ) if current.asked() else {**os.environ, "KUBECONFIG": str(places.KUBECONFIG)}
    command = [sys.executable, "-m", "pytest", *(arguments or ["e2e"])]
    with subprocess.Popen(command, env=environment, cwd=places.ROOT) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal has told pytest too, unless only this process was told. It ends its fixtures first.
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=30)
            raise


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A second Ctrl-C does not leave half of it behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: say("cleaning up; please wait"))
    yield


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("up", "down", "test", "telling"))
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, after `--`")
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if asked.command in {"test", "telling"}:
        os.environ.setdefault("HOST_PORT", "0")
    try:
        with only_one():
            if asked.command == "test":
                return test(asked.pytest)
            if asked.command == "telling":
                return telling()
            if asked.command == "down":
                down()
            else:
                up()
                install.what_to_try()
    except ClusterError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say(
            "interrupted" if asked.command in {"test", "telling"} else "interrupted; `make cluster-down` ends what runs"
        )
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
