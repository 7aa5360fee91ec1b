"""What one push costs in ``fairlead_xds.protocol``, without gRPC: the response made, and its ACK understood."""

from __future__ import annotations

import time

from bench import objects
from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import Event, Response
from fairlead_xds.snapshot import Changes, Snapshot
from fairlead_xds.testing import DeltaClient


class Pair:
    """A stream and its client, without a network between them."""

    def __init__(self, number: int, snapshot: Snapshot) -> None:
        self.client = DeltaClient(f"edge-{number}", objects.GATEWAY, keep=False, record=False)
        self.stream = DeltaStream(snapshot)
        requests = self.client.start()
        while requests:
            responses = _bodies([event for request in requests for event in self.stream.receive(request)])
            requests = [request for body in responses for request in self.client.receive(body)]

    def push(self, snapshot: Snapshot, changes: Changes) -> list[bytes]:
        """The responses that the client gets of a change."""
        return _bodies(self.stream.publish(snapshot, changes))

    def answer(self, responses: list[bytes]) -> list[bytes]:
        """What the client says to them."""
        return [request for body in responses for request in self.client.receive(body)]

    def take(self, answers: list[bytes]) -> None:
        """Hand the client's answers to the stream."""
        for answer in answers:
            self.stream.receive(answer)


def cost(pairs: list[Pair], snapshot: Snapshot, changes: Changes) -> float:
    """µs of CPU for each push, its ACK included; the client's work is not counted."""
    start = time.thread_time()
    pushed = [pair.push(snapshot, changes) for pair in pairs]
    spent = time.thread_time() - start
    answers = [pair.answer(responses) for pair, responses in zip(pairs, pushed, strict=True)]
    start = time.thread_time()
    for pair, answer in zip(pairs, answers, strict=True):
        pair.take(answer)
    return (spent + time.thread_time() - start) / len(pairs) * 1e6


def _bodies(events: list[Event]) -> list[bytes]:
    return [event.body for event in events if isinstance(event, Response)]
