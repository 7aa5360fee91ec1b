"""One client of the server: the tasks that move bytes between gRPC and its stream."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

import grpc.aio

from fairlead_xds.observer import Observer, Proxy, Stuck
from fairlead_xds.protocol.events import Acked, Event, Ignored, Nacked, Response
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.turns import LARGE, Turns

log = logging.getLogger(__name__)

_PILE: Final = 16
"""Responses that may wait to be written before no more requests are read. An honest client causes at most one a type;
one that answers what it has not read would otherwise make the server remember any number."""

_RESUME: Final = 5.0
"""Seconds in which a reconnecting client has asked for all types that it wants."""


class Connection:
    """Runs one stream until either side ends it. Made by the server when the client is known."""

    def __init__(
        self,
        context: Any,
        proxy: Proxy,
        first: bytes,
        *,
        store: Store,
        observer: Observer,
        clock: Callable[[], float],
        turns: Turns,
    ) -> None:
        self.proxy = proxy
        self._context = context
        self._stream = proxy.stream
        self._store = store
        self._observer = observer
        self._clock = clock
        self._turns = turns
        self._first = first
        self._outbox: deque[Response] = deque()
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._awaited: dict[TypeUrl, tuple[str, float]] = {}  # type -> nonce, when it was written
        self._keyed = asyncio.Event()
        self._unsubscribe: Callable[[], None] = lambda: None
        self._resume: asyncio.TimerHandle | None = None
        self._reading_since = 0.0  # when it began to be read
        self._ignored = False
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Serve the client, beginning with its first message, until it goes or ``end`` is called.

        Raises:
            ProtocolError: the client broke the protocol.
        """
        self._subscribe()
        self._observer.connected(self.proxy)
        self._tasks = [asyncio.ensure_future(self._read()), asyncio.ensure_future(self._write())]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._unsubscribe()
            if self._resume is not None:
                self._resume.cancel()
            self.end()
            try:  # gRPC may cancel here too, when the client has gone in this very moment
                results = await asyncio.gather(*self._tasks, return_exceptions=True)
            finally:
                self._observer.disconnected(self.proxy)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, grpc.aio.BaseError):
                raise result

    def move(self, key: str) -> None:
        """Serve the snapshot of *key* from now on. The client hears what differs, in the order of every change."""
        before, self.proxy.key = self.proxy.key, key
        self._unsubscribe()
        self._subscribe()
        self._observer.moved(self.proxy, before)
        self._wake.set()

    def _subscribe(self) -> None:
        self._unsubscribe = self._store.subscribe(self.proxy.key, self._wake.set)
        if self.proxy.key:
            self._keyed.set()

    def end(self) -> None:
        """Stop serving; ``run`` returns."""
        for task in self._tasks:
            task.cancel()

    def overdue(self, now: float, bound: float) -> Iterable[Stuck]:
        """Responses written more than *bound* seconds ago and not answered yet."""
        waiting = {state.type_url: state for state in self._stream.unsettled() if state.nonce}
        for type_url, (nonce, since) in self._awaited.items():
            state = waiting.get(type_url)
            if now - since > bound and state is not None and state.nonce == nonce:
                yield Stuck(self.proxy, type_url, nonce, state.in_flight, now - since)

    def release(self, now: float, bound: float) -> None:
        """Report what has been waited for longer than *bound* seconds, and let the stream go on without it."""
        for stuck in list(self.overdue(now, bound)):
            log.warning(
                "proxy %s of %s has not answered its %s response for %.0f s; %d names in it, first %s",
                self.proxy.node.id,
                self.proxy.key,
                stuck.type_url.short,
                stuck.seconds,
                len(stuck.names),
                ", ".join(stuck.names[:3]),
            )
            del self._awaited[stuck.type_url]
            self._observer.stuck(self.proxy, stuck)
            self._handle(self._stream.give_up(stuck.type_url))
        if self._stream.warming and now - self._reading_since > bound:
            log.warning(
                "proxy %s of %s came back and has not asked for clusters for %.0f s: it gets its listeners and routes now",
                self.proxy.node.id,
                self.proxy.key,
                now - self._reading_since,
            )
            self._handle(self._stream.stop_waiting_for_clusters())

    async def _read(self) -> None:
        await self._keyed.wait()
        self._catch_up()
        self._reading_since = self._clock()
        resumed = self._stream.resumed
        self._resume = asyncio.get_running_loop().call_later(_RESUME, lambda: self._handle(resumed()))
        data: Any = self._first
        self._first = b""
        while data is not grpc.aio.EOF:
            self._handle(self._stream.receive(data))
            del data  # a client that comes back says all that it has, 40 kB with a thousand services
            if not self._room.is_set():
                await self._room.wait()
            data = await self._context.read()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._catch_up()
            self._wake.clear()  # what was heard of until here is in the outbox
            while self._outbox:
                response = self._outbox.popleft()
                if len(self._outbox) < _PILE:
                    self._room.set()
                if response.size > LARGE:
                    async with self._turns.turn():
                        await self._context.write(response.body)
                else:
                    await self._context.write(response.body)
                # The answer may have come before write() returned; ``overdue`` asks the stream, so that is harmless.
                self._awaited[response.type_url] = (response.nonce, self._clock())

    def _catch_up(self) -> None:
        if not self.proxy.key:  # it is between two keys: it keeps what it has
            return
        current = self._store.current(self.proxy.key)
        before = self._stream.snapshot
        if current is not before:
            self._handle(self._stream.publish(current, self._store.changes(self.proxy.key, before)))

    def _handle(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Response):
                self._outbox.append(event)
                self._wake.set()
                if len(self._outbox) >= _PILE:
                    self._room.clear()
            elif isinstance(event, Acked):
                self._landed(event.type_url, event.nonce)
                self._observer.acked(self.proxy, event)
            elif isinstance(event, Nacked):
                self._landed(event.type_url, event.nonce)
                self._refused(event)
            else:
                self._ignore(event)

    def _landed(self, type_url: TypeUrl, nonce: str) -> None:
        if self._awaited.get(type_url, ("",))[0] == nonce:
            del self._awaited[type_url]

    def _refused(self, event: Nacked) -> None:
        log.warning(
            "proxy %s of %s refused %s %s: %s",
            self.proxy.node.id,
            self.proxy.key,
            event.type_url.short,
            ", ".join(list(event.versions)[:3]) if event.certain else f"(one of {len(event.versions)})",
            " ".join(event.message.split()),
        )
        self._observer.nacked(self.proxy, event)

    def _ignore(self, event: Ignored) -> None:
        if not self._ignored:  # once a stream: a client can ask for any number of types
            self._ignored = True
            log.warning("proxy %s asks for a type that is not served: %.200s", self.proxy.node.id, event.type_url)
