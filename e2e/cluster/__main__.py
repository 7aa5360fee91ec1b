"""``python -m e2e.cluster up | down``: what ``make cluster``, ``make cluster-down`` and ``make e2e`` call.

NODE_IMAGE=packages   make engine set-up and node image from packages, also where a registry is
NODE_IMAGE=NAME       take this node image
CLUSTER=current       use the current context of kubectl: install into it, leave the cluster itself alone
HOST_PORT=8080        where the gateway answers on this machine (0: nowhere)
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from e2e.cluster import engine, images, kind, places, rootfs
from e2e.cluster.lock import only_one
from e2e.cluster.shell import ClusterError, say


def up() -> None:
    """Everything, from nothing; what a killed run left goes first."""
    if os.environ.get("CLUSTER") == "current":
        raise ClusterError("CLUSTER=current")
    running = engine.start()
    if running.own:
        rootfs.sweep()
    if kind.exists(running):
        say("a cluster of an earlier run is there; it goes first")
        kind.delete(running)
    image = kind.choose_image(running)
    names = images.make(running, public=not image)
    kind.create(running, image)
    kind.load(running, names)


def down() -> None:
    """End everything that ``up`` started. Does nothing where nothing is."""
    running = engine.running()
    if running is None and engine.left_behind():
        # Its containers outlived it: only an engine can end them in order.
        running = engine.start()
    if running and kind.exists(running):
        kind.delete(running)
    engine.stop()
    places.KUBECONFIG.unlink(missing_ok=True)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m e2e.cluster", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("command", choices=("up", "down"))
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with only_one(places.STATE):
            {"up": up, "down": down}[asked.command]()
    except ClusterError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("interrupted; `make cluster-down` ends what runs")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
