"""Where things are: of this checkout, of this machine, and of what outlives both runs and checkouts."""

from __future__ import annotations

import pathlib

from tools import build

ROOT = pathlib.Path(__file__).resolve().parents[2]

#: What a running cluster leaves in the checkout; ignored by Git.
STATE = ROOT / ".cluster"
KUBECONFIG = STATE / "kubeconfig"

#: Sockets, process ids and mounts of the engine that we start where the machine has none. One for the machine.
RUN = pathlib.Path("/run/fairlead-engine")


def engine_data() -> pathlib.Path:
    """Images of our own engine: the node image and the base image stay here from run to run."""
    return build.cache_root() / "engine"


def scratch() -> pathlib.Path:
    """Room for root file systems while they are made (a few GB, on the disk of the cache)."""
    folder = build.cache_root() / "scratch"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
