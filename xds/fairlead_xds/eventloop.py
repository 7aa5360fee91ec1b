"""The event loop that a process with an xDS server runs in: asyncio's own, and gRPC that wakes fewer threads, less often.

For each thing that it completes, gRPC writes a byte into a socket (``grpc._cython``, its completion queue). The reader of that
socket takes one byte and then all that is completed, so with hundreds of streams the loop comes round again and again for
bytes of what was taken long ago. Here the bytes that have piled up are taken together, and the thread that writes them does
not interrupt the one that reads them. A grpcio that works otherwise is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_HANDLER: Final = "_handle_events"
"""gRPC's reader of the socket; it takes exactly one byte."""

_POLLER: Final = "_poll_wrapper"
"""What gRPC's thread that completes things runs; threading puts it into the thread's name."""

_PILE: Final = 4096

_EXPERIMENTS: Final = "GRPC_EXPERIMENTS"
_ONE_POLLER: Final = "-event_engine_listener"
"""Connections are read by the thread that completes what was read, as gRPC did before its event engine, whose own threads
pass each answer of a client on: three switches of threads for a push, instead of one for two pushes."""


class EventLoop(asyncio.SelectorEventLoop):
    """Takes the bytes of gRPC together.

    Attributes:
        gathers: gRPC's socket was recognized.
        calmed: its thread was recognized, and runs as SCHED_BATCH.
    """

    gathers = False
    calmed = False

    def add_reader(self, fd: Any, callback: Callable[[*_Ts], Any], *args: *_Ts) -> None:
        """As asyncio's, but for gRPC's socket."""
        if isinstance(fd, socket.socket) and _is_grpc(callback):
            self.gathers = True
            self.calmed = _calm()
            super().add_reader(fd, _gather, fd, callback, *args)  # type: ignore[arg-type]
        else:
            super().add_reader(fd, callback, *args)


def prepare() -> None:
    """Call it before gRPC is imported, here or in a child process. A user's own ``GRPC_EXPERIMENTS`` are left as they are."""
    os.environ.setdefault(_EXPERIMENTS, _ONE_POLLER)


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """``asyncio.run`` with this loop."""
    with asyncio.Runner(loop_factory=EventLoop) as runner:
        return runner.run(main)


def _is_grpc(callback: Callable[..., Any]) -> bool:
    return isinstance(callback, functools.partial) and getattr(callback.func, "__name__", "") == _HANDLER


def _calm() -> bool:
    """The thread of gRPC runs when there is a core for it, and takes none from what runs (sched(7), SCHED_BATCH).

    Otherwise each write of a push wakes it, and where cores are few it interrupts the loop between one push and the next.
    """
    if sys.platform != "linux":
        return False
    calmed = False
    for thread in threading.enumerate():
        if _POLLER in thread.name and thread.native_id is not None:
            with contextlib.suppress(OSError):  # not allowed to: as before
                if os.sched_getscheduler(thread.native_id) == os.SCHED_OTHER:
                    os.sched_setscheduler(thread.native_id, os.SCHED_BATCH, os.sched_param(0))
                calmed = os.sched_getscheduler(thread.native_id) == os.SCHED_BATCH
    return calmed


def _gather(woken: socket.socket, callback: Callable[..., Any], *args: Any) -> None:
    """Leave one byte. Before the callback: what is completed after that writes a byte that must stay."""
    piled = len(woken.recv(_PILE, socket.MSG_PEEK))
    if piled > 1:
        woken.recv(piled - 1)
    callback(*args)
