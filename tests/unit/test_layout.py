"""The layout that keeps ``operator/`` from shadowing the standard library's ``operator``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", ["operator", "xds", "tests", "e2e"])
def test_these_folders_are_no_packages(folder: str) -> None:
    """With an ``__init__.py`` in ``operator/``, nothing in Python starts from the repository's root."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_the_standard_librarys_operator_is_imported_from_the_root() -> None:
    """The root is first on the path of ``python -c``, as of ``python -m`` and ``pytest``."""
    program = "import operator, fairlead_operator, fairlead_xds; print(operator.itemgetter(0)('a'), operator.__file__)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.startswith("a ")
    assert not Path(done.stdout.split()[1]).is_relative_to(ROOT / "operator")
