"""What resolution finds about a policy, to become its conditions: values only, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Problem(NamedTuple):
    """Something wrong: the field, what is wrong with it, and what to do."""

    reason: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found, by the condition that it belongs to (DESIGN §2)."""

    accepted: tuple[Problem, ...] = ()
    resolved: tuple[Problem, ...] = ()
    degraded: tuple[Problem, ...] = ()
