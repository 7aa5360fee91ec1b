"""A client of a stream for tests that say byte for byte what is asked and look at what comes back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from envoy.service.discovery.v3 import discovery_pb2

from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import Acked, Event, Ignored, Nacked, Response
from fairlead_xds.protocol.sotw import SotwStream
from fairlead_xds.protocol.stream import WILDCARD_TYPES, Stream
from fairlead_xds.snapshot import Snapshot, TypeUrl


class Hand:
    """Plays a client by hand. Keeps the events of every step: ``responses`` since the last ``take``."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.events: list[Event] = []

    def take(self) -> list[Event]:
        events, self.events = self.events, []
        return events

    def responses(self, type_url: TypeUrl | None = None) -> list[Response]:
        return [e for e in self.events if isinstance(e, Response) and type_url in (None, e.type_url)]

    def acks(self) -> list[Acked]:
        return [e for e in self.events if isinstance(e, Acked)]

    def nacks(self) -> list[Nacked]:
        return [e for e in self.events if isinstance(e, Nacked)]

    def ignored(self) -> list[Ignored]:
        return [e for e in self.events if isinstance(e, Ignored)]

    def sent(self) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
        """(type, names, removed) of each response, forgotten afterwards."""
        return [(r.type_url.short, r.names, r.removed) for r in self.take() if isinstance(r, Response)]

    def publish(self, snapshot: Snapshot) -> None:
        self.events += self.stream.publish(snapshot)

    def only(self) -> Response:
        (response,) = self.responses()
        return response

    def ack(self, response: Response | None = None, **request: Any) -> None:
        response = response or self.only()
        self.events = [e for e in self.events if e is not response]
        self.answer(response, **request)

    def nack(self, message: str = "bad", response: Response | None = None, **request: Any) -> None:
        self.ack(response, error=message, **request)

    def answer(self, response: Response, error: str | None = None, **request: Any) -> None:
        raise NotImplementedError

    def settle(self) -> None:
        """Accept whatever comes until nothing comes any more."""
        for _ in range(100):
            responses = self.responses()
            if not responses:
                return
            for response in responses:
                self.ack(response)
        raise AssertionError("never settles")


def _with_error(message: Any, error: str | None) -> bytes:
    if error is not None:
        message.error_detail.code = 3
        message.error_detail.message = error
    return bytes(message.SerializeToString())


class DeltaHand(Hand):
    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(DeltaStream(snapshot))

    def ask(
        self,
        type_url: TypeUrl | str,
        *subscribe: str,
        drop: Iterable[str] = (),
        known: Mapping[str, str] | None = None,
        nonce: str = "",
        error: str | None = None,
        node: Mapping[str, Any] | None = None,
    ) -> None:
        request = discovery_pb2.DeltaDiscoveryRequest(
            type_url=type_url,
            resource_names_subscribe=subscribe,
            resource_names_unsubscribe=list(drop),
            initial_resource_versions=known or {},
            response_nonce=nonce,
            node=node,
        )
        self.events += self.stream.receive(_with_error(request, error))

    def answer(self, response: Response, error: str | None = None, **request: Any) -> None:
        self.ask(response.type_url, *request.pop("names", ()), nonce=response.nonce, error=error, **request)


class SotwHand(Hand):
    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(SotwStream(snapshot))
        self.names: dict[TypeUrl, tuple[str, ...]] = {}
        self.version: dict[TypeUrl, str] = {}

    def ask(
        self,
        type_url: TypeUrl,
        *names: str,
        nonce: str = "",
        version: str = "",
        error: str | None = None,
        node: Mapping[str, Any] | None = None,
    ) -> None:
        self.names[type_url] = names
        request = discovery_pb2.DiscoveryRequest(
            type_url=type_url, resource_names=names, response_nonce=nonce, version_info=version, node=node
        )
        self.events += self.stream.receive(_with_error(request, error))

    def answer(self, response: Response, error: str | None = None, **request: Any) -> None:
        names = request.pop("names", self.names.get(response.type_url, ()))
        self.ask(response.type_url, *names, nonce=response.nonce, error=error, **request)


AnyHand = TypeVar("AnyHand", DeltaHand, SotwHand)


def settled(hand: AnyHand, *types: TypeUrl) -> AnyHand:
    """A client that has all of the snapshot, in the order in which Envoy asks."""
    for type_url in types:
        names = () if type_url in WILDCARD_TYPES else hand.stream.snapshot.resources(type_url)
        hand.ask(type_url, *names)
        hand.settle()
    hand.take()
    return hand


def delta(response: Response) -> discovery_pb2.DeltaDiscoveryResponse:
    return discovery_pb2.DeltaDiscoveryResponse.FromString(response.body)


def sotw(response: Response) -> discovery_pb2.DiscoveryResponse:
    return discovery_pb2.DiscoveryResponse.FromString(response.body)
