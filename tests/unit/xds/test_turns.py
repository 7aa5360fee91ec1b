"""Large responses by turns: who waits, and for how long."""

from __future__ import annotations

import asyncio

import pytest

from fairlead_xds import turns
from fairlead_xds.turns import Turns


async def _step() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


class Writer:
    """Has a turn until it is told to end it."""

    def __init__(self, shared: Turns) -> None:
        self.writing = False
        self.done = asyncio.Event()
        self.task = asyncio.create_task(self._run(shared))

    async def _run(self, shared: Turns) -> None:
        async with shared.turn():
            self.writing = True
            await self.done.wait()


async def test_no_more_than_so_many_write_at_once_and_the_first_comes_first() -> None:
    shared = Turns()
    writers = [Writer(shared) for _ in range(turns.AT_ONCE + 2)]
    await _step()
    assert [writer.writing for writer in writers] == [True] * turns.AT_ONCE + [False, False]
    writers[3].done.set()
    await _step()
    assert [writer.writing for writer in writers[-2:]] == [True, False]
    for writer in writers:
        writer.done.set()
    await asyncio.gather(*(writer.task for writer in writers))


async def test_a_client_that_does_not_read_keeps_nobody_waiting_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE", 0.0)
    shared = Turns()
    silent = [Writer(shared) for _ in range(turns.AT_ONCE)]
    await _step()
    for _ in range(3):  # and it gives its turn back once, not twice
        late = Writer(shared)
        await asyncio.wait_for(asyncio.shield(_until(late)), 1)
        late.done.set()
        await late.task
    for writer in silent:
        writer.done.set()
    await asyncio.gather(*(writer.task for writer in silent))
    assert shared._free._value == turns.AT_ONCE


async def test_a_writer_that_is_cancelled_gives_its_turn_back() -> None:
    shared = Turns()
    writer = Writer(shared)
    await _step()
    writer.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writer.task
    assert shared._free._value == turns.AT_ONCE


async def _until(writer: Writer) -> None:
    while not writer.writing:  # noqa: ASYNC110 - turns of the event loop are counted, not time
        await asyncio.sleep(0)
