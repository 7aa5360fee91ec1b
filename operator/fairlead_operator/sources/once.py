"""What goes wrong again and again is told once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Once:
    """The failures of one task."""

    _told: str = ""

    def news(self, error: Exception) -> str:
        """*error* for people; empty where that was told already since it last worked."""
        words = str(error) or repr(error)
        if words == self._told:
            return ""
        self._told = words
        return words

    def works(self) -> None:
        """It works again: the next failure is news."""
        self._told = ""
