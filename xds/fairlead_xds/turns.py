"""Large responses are written by turns, so that a change for many proxies does not fill the memory.

Used by the connections of one server. A route table of a thousand hosts is 300 kB; told to five hundred clients at once,
gRPC and we would hold that five hundred times each. Small responses, nearly all there are, wait for nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

LARGE: Final = 32 * 1024
"""Responses of more bytes take turns."""

AT_ONCE: Final = 16
PATIENCE: Final = 0.25
"""Seconds after which a client that does not read no longer keeps the others waiting."""


class Turns:
    """At most ``AT_ONCE`` at a time, first come, first served."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it until the block ends or ``PATIENCE`` does."""
        await self._free.acquire()
        held = True

        def give_back() -> None:
            nonlocal held
            if held:
                held = False
                self._free.release()

        timer = asyncio.get_running_loop().call_later(PATIENCE, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()
