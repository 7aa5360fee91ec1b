"""Temporary folders that the next run clears away, should theirs be killed."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from pathlib import Path

PREFIX = "fairlead-run-"
#: Written once a folder is locked; one without it is being made.
_MARK = ".locked"


class Folder:
    """A folder of this process. A lock says that it is in use; the kernel takes that back however the process ends."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX))
        handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(handle, fcntl.LOCK_EX)
        (self.path / _MARK).touch()
        self._end = weakref.finalize(self, _remove, self.path, handle)

    def cleanup(self) -> None:
        """Remove it; again does nothing. At the end of the process this happens by itself."""
        self._end()


def _remove(path: Path, handle: int) -> None:
    shutil.rmtree(path, ignore_errors=True)
    os.close(handle)


def sweep() -> None:
    """Remove the folders that nobody has locked any more. Not by process number: containers may share the place."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # in use, or somebody else's
            handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if (path / _MARK).exists():
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(handle)
