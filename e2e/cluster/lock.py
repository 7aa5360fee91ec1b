"""One cluster on a machine, and one run at a time: the engine, its names and its ports are there once."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from e2e.cluster import places
from e2e.cluster.shell import ClusterError
from tools import build


@contextlib.contextmanager
def only_one() -> Iterator[None]:
    """Hold the machine's lock; the system lets go of it when the process ends, however it does."""
    places.STATE.mkdir(exist_ok=True)
    build.cache_root().mkdir(parents=True, exist_ok=True)
    with (build.cache_root() / "cluster.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(
                "another `make cluster`, `make cluster-down` or `make e2e` runs on this machine"
            ) from None
        yield


def claim() -> None:
    """The cluster is this checkout's from here on. Raises ClusterError where another one has it."""
    owner = _owner()
    if owner not in {None, places.ROOT}:
        raise ClusterError(f"the cluster of {owner} runs: `make cluster-down` there first")
    _note().write_text(str(places.ROOT))


def release() -> None:
    _note().unlink(missing_ok=True)


def _owner() -> pathlib.Path | None:
    try:
        owner = pathlib.Path(_note().read_text())
    except FileNotFoundError:
        return None
    # A checkout that was deleted, or whose state was, claims nothing.
    return owner if (owner / ".cluster/kubeconfig").exists() else None


def _note() -> pathlib.Path:
    return build.cache_root() / "cluster-of"
