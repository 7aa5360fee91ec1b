"""The table of ``docs/health.md``: what tests of health walk."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from fairlead_xds.features.endpoints import Endpoints

_PAGE = Path(__file__).parents[2] / "docs" / "health.md"


class Row(NamedTuple):
    """One row, as it is written."""

    node: str
    endpoint: str
    pod: str
    others: str
    setting: str
    health: str

    def __str__(self) -> str:
        return f"{self.node}-{self.endpoint}-{self.pod}-{self.others}-{self.setting}"

    @property
    def named(self) -> dict[str, str]:
        """The settings that it is about, by path."""
        if self.setting == "–":
            return {}
        found = [re.fullmatch(r"`(\S+): (\w+)`(?: \(default\))?", one) for one in self.setting.split(", ")]
        return {one[1]: one[2] for one in found if one is not None}


def _rows() -> list[Row]:
    text = _PAGE.read_text("utf-8").partition("## One table")[2].partition("\n*Ready")[0]
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [Row(*(cell.strip() for cell in line)) for line in lines[2:]]


ROWS = _rows()
assert len(ROWS) > 10


def spec(settings: dict[str, str]) -> dict[str, Any]:
    """``spec.endpoints`` with *settings* by path."""
    raw: dict[str, Any] = {}
    for path, value in settings.items():
        first, _, rest = path.partition(".")
        raw[first] = {rest: value} if rest else value
    return raw


def policy(settings: dict[str, str]) -> Endpoints:
    """The same, read."""
    return Endpoints.model_validate(spec(settings))
