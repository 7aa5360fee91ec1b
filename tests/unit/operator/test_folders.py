"""Temporary folders, and what is left of those whose process was killed."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from fairlead_operator.folders import PREFIX, Folder, sweep

_KILLED = """
import os, signal
from fairlead_operator.folders import Folder
folder = Folder()
(folder.path / "bootstrap.json").touch()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_folder_of_a_killed_process_is_swept(place: Path) -> None:
    subprocess.run([sys.executable, "-c", _KILLED], check=False)
    assert len(list(place.iterdir())) == 1

    sweep()

    assert list(place.iterdir()) == []


def test_a_folder_in_use_stays() -> None:
    folder = Folder()

    sweep()

    assert folder.path.is_dir()
    folder.cleanup()
    assert not folder.path.exists()


def test_a_folder_that_is_being_made_and_what_has_no_such_name_stay(place: Path) -> None:
    """Between a folder and its lock is a moment."""
    made, other = place / f"{PREFIX}x", place / "another"
    made.mkdir()
    other.mkdir()

    sweep()

    assert sorted(place.iterdir()) == sorted([made, other])


def test_a_link_is_not_followed(place: Path) -> None:
    treasure = place / "treasure"
    treasure.mkdir()
    (treasure / ".locked").touch()
    (place / f"{PREFIX}x").symlink_to(treasure)

    sweep()

    assert (treasure / ".locked").exists()
