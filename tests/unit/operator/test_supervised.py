"""A loop in a thread that ends is started again; one that is stopped is not."""

from __future__ import annotations

import asyncio
import threading

from fairlead_operator.supervised import Supervised


async def test_it_is_started_again_after_an_error_a_return_and_a_cancellation() -> None:
    loop, often = asyncio.get_running_loop(), asyncio.Event()
    ends = iter(["raise", "return", "cancel"])
    threads = set()

    async def main() -> None:
        threads.add(threading.current_thread().name)
        match next(ends, "stay"):
            case "raise":
                raise RuntimeError("unexpected")
            case "return":
                return
            case "cancel":
                raise asyncio.CancelledError
            case _:
                loop.call_soon_threadsafe(often.set)
                await asyncio.Event().wait()

    starts: list[None] = []
    it = Supervised("guest", main, on_start=lambda: starts.append(None), backoff=(0.001, 0.001))
    it.start()
    async with asyncio.timeout(1):
        await often.wait()
    await it.stop()
    assert it.runs == len(starts) == 4
    assert threads == {"guest"}
    assert not any(thread.name == "guest" for thread in threading.enumerate())


async def test_stopping_what_never_started_is_no_error() -> None:
    async def main() -> None:
        raise AssertionError

    await Supervised("guest", main, on_start=lambda: None).stop()
