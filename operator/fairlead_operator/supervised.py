"""A coroutine in a thread and an event loop of its own, started again whenever it ends: kopf's home.

kopf ends on errors that it does not expect, and then cancels everything in its loop; nothing else may live there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from fairlead_operator.sources.backoff import Backoff

log = logging.getLogger(__name__)

#: Runs until it is cancelled.
Main = Callable[[], Coroutine[Any, Any, None]]


class Supervised:
    """Runs *main* until ``stop``; between two runs it waits, longer each time that a run was short.

    Attributes:
        runs: how often it was started.
    """

    def __init__(
        self,
        name: str,
        main: Main,
        *,
        on_start: Callable[[], None],
        backoff: tuple[float, float] = (0.2, 30.0),
        healthy_after: float = 30.0,
    ) -> None:
        """*on_start* is called in the thread before each run. After *healthy_after* seconds delays start small again."""
        self.runs = 0
        self._name, self._main, self._on_start = name, main, on_start
        self._backoff, self._healthy_after = Backoff(*backoff), healthy_after
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._current: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        # A daemon: should it not end in time, the process does all the same.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    async def stop(self, patience: float = 5.0) -> None:
        """End it, and wait for that up to *patience* seconds."""
        self._ending.set()
        with self._lock:
            if self._current is not None:
                loop, task = self._current
                loop.call_soon_threadsafe(task.cancel)
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, patience)
        if self._thread.is_alive():
            log.warning("%s did not end within %.0f s", self._name, patience)

    def _run(self) -> None:
        while not self._ending.is_set():
            self.runs += 1
            try:
                self._on_start()
                asyncio.run(self._once())
                reason = "it ended"
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - to outlive its errors is the purpose
                reason = f"{type(error).__name__}: {error}"
            if not self._ending.is_set():
                delay = self._backoff.next()
                log.warning("%s: %s: starting it again in %.1f s", self._name, reason, delay)
                self._ending.wait(delay)

    async def _once(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        began = loop.time()
        with self._lock:
            self._current = (loop, task)
        try:
            if not self._ending.is_set():
                await self._main()
        finally:
            with self._lock:
                self._current = None
            if loop.time() - began > self._healthy_after:
                self._backoff.reset()
