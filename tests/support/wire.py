"""Store, streams and fake Envoys joined without a network: what is written on one side is read on the other at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from fairlead_xds.auth import ANYONE, Identity
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

    def __init__(
        self, store: Store, observer: Observer, client: Client, *, identity: Identity = ANYONE, key: str | None = None
    ) -> None:
        """*key*: what an authenticator says; by default what the client says itself."""
        self.store, self.observer, self.client = store, observer, client
        first, *rest = client.start()
        variant: type[Stream] = DeltaStream if isinstance(client, DeltaClient) else SotwStream
        node = variant.node_of(first)
        key = client.cluster if key is None else key
        self.proxy = Proxy(key, node, "", 0.0, variant(store.current(key)), identity)
        self._held = [first, *rest]
        observer.connected(self.proxy)
        self.deliver()

    def deliver(self) -> bool:
        """Hand on what was published since. False: nothing was. Without a key nothing is said, as by the server."""
        stream = self.proxy.stream
        if not self.proxy.key:
            return False
        before, now = stream.snapshot, self.store.current(self.proxy.key)
        held, self._held = self._held, []
        if before is now and not held:
            return False
        self._exchange(held, stream.publish(now, self.store.changes(self.proxy.key, before)))
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

    def move(self, proxy: Proxy, key: str) -> None:
        """As ``XdsServer.move``."""
        (link,) = (link for link in self.links if link.proxy is proxy)
        if proxy.key != key:
            before, proxy.key = proxy.key, key
            link.observer.moved(proxy, before)

    def connect(
        self, observer: Observer, client: Client, *, identity: Identity = ANYONE, key: str | None = None
    ) -> Link:
        """A proxy connects and gets what there is."""
        link = Link(self.store, observer, client, identity=identity, key=key)
        self.links.append(link)
        return link

    def disconnect(self, observer: Observer, name: str) -> None:
        """The proxy of that name goes."""
        (link,) = (link for link in self.links if link.proxy.node.id == name)
        self.links.remove(link)
        observer.disconnected(link.proxy)

    def deliver(self) -> None:
        """Everything that is published reaches everybody."""
        while any(link.deliver() for link in self.links):
            pass
