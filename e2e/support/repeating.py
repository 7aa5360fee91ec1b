"""Something that goes on beside a scenario: again and again, until its block is left."""

from __future__ import annotations

import threading
from typing import Self


class Repeating:
    """A context manager; ``again`` is what a subclass does every *seconds*, in a thread of its own."""

    def __init__(self, seconds: float) -> None:
        self._every = seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self.again()

    def again(self) -> None:
        raise NotImplementedError
