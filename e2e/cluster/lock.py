"""One run at a time in a checkout."""

from __future__ import annotations

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from e2e.cluster.shell import ClusterError


@contextlib.contextmanager
def only_one(folder: pathlib.Path) -> Iterator[None]:
    """Hold the lock of *folder*; the system lets go of it when the process ends, however it does."""
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError("another `make cluster`, `cluster-down` or `e2e` runs in this checkout") from None
        yield
