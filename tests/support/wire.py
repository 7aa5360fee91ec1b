"""Store, streams and fake Envoys joined without a network: what is written on one side is read on the other at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from fairlead_xds.observer import Observer, Proxy
from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import Acked, Event, Nacked, Response
from fairlead_xds.protocol.sotw import SotwStream
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.store import Store
from fairlead_xds.testing.client import Client
from fairlead_xds.testing.delta import DeltaClient


class Link:
    """One proxy: its stream at the server, and the client at the other end."""

    def __init__(self, store: Store, observer: Observer, client: Client) -> None:
        self.store, self.observer, self.client = store, observer, client
        first, *rest = client.start()
        variant: type[Stream] = DeltaStream if isinstance(client, DeltaClient) else SotwStream
        node = variant.node_of(first)
        stream = variant(store.current(client.cluster))
        self.proxy = Proxy(client.cluster, node, "", 0.0, stream)
        observer.connected(self.proxy)
        self._exchange([first, *rest])

    def deliver(self) -> bool:
        """Hand on what was published since. False: nothing was."""
        stream = self.proxy.stream
        before, now = stream.snapshot, self.store.current(self.proxy.key)
        if before is now:
            return False
        self._exchange([], stream.publish(now, self.store.changes(self.proxy.key, before)))
        return True

    def _exchange(self, requests: Iterable[bytes], events: Iterable[Event] = ()) -> None:
        inbox, outbox = deque(requests), deque(events)
        while inbox or outbox:
            if outbox:
                event = outbox.popleft()
                if isinstance(event, Response):
                    inbox.extend(self.client.receive(event.body))
                elif isinstance(event, Acked):
                    self.observer.acked(self.proxy, event)
                elif isinstance(event, Nacked):
                    self.observer.nacked(self.proxy, event)
            else:
                outbox.extend(self.proxy.stream.receive(inbox.popleft()))


class Wire:
    """The server's side: every link, and who is connected."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.links: list[Link] = []

    def proxies(self) -> list[Proxy]:
        return [link.proxy for link in self.links]

    def connect(self, observer: Observer, client: Client) -> Link:
        """A proxy connects and gets what there is."""
        link = Link(self.store, observer, client)
        self.links.append(link)
        return link

    def deliver(self) -> None:
        """Everything that is published reaches everybody."""
        while any(link.deliver() for link in self.links):
            pass
