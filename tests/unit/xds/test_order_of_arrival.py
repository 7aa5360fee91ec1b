"""No route reaches a client before its clusters are in place there: random changes against a client that behaves as Envoy.

Requests and responses are on their way for as long as chance says, in order. The client takes clusters, asks for the
endpoints of those that it did not know, and answers about clusters when all of them have their load assignment. Now and then
the stream breaks, and the client comes back with what it has; while a cluster of its own warms it does not ask about clusters.
"""

from __future__ import annotations

import dataclasses
import random
from collections import deque

import pytest
from envoy.config.route.v3 import route_pb2

from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import Event, Response
from fairlead_xds.protocol.sotw import SotwStream
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl
from fairlead_xds.testing import Client, DeltaClient, SotwClient
from tests.support.xds_resources import cluster, endpoints, listener, route

NAMES = ("a", "b", "c", "d")
SEEDS, STEPS = 150, 120


class Both:
    """A stream, its client, and what is on the way between them.

    Attributes:
        early: how many routes went before the answer about clusters.
        cold: how often the client came back while a cluster of it warmed.
    """

    def __init__(self, seed: int, stream: type[Stream], client: Client) -> None:
        self.chance, self.client, self.early, self.cold = random.Random(seed), client, 0, 0
        self.stream = stream(self.some())
        self.to_server, self.to_client = deque(client.start()), deque[bytes]()

    def broken(self) -> None:
        """What is on the way gets lost."""
        self.cold += not self.client.warm
        self.stream = type(self.stream)(self.stream.snapshot)
        self.to_server, self.to_client = deque(self.client.start()), deque[bytes]()

    def some(self) -> Snapshot:
        """Some of the clusters, each in one of three forms, and a route to one of them."""
        names = self.chance.sample(NAMES, self.chance.randint(1, 3))
        clusters = [cluster(name, connect_timeout=self.chance.randint(1, 3)) for name in names]
        parts: list[Resource] = [dataclasses.replace(one, prompt=True) for one in clusters]
        parts += [endpoints(name, self.chance.randint(1, 3)) for name in names]
        return Snapshot.of([*parts, listener("http", route="main"), route("main", self.chance.choice(names))])

    def step(self) -> None:
        what = self.chance.random()
        if what < 0.4:
            self.serve()
        elif what < 0.8:
            self.take()
        elif what < 0.82:
            self.broken()
        elif what < 0.84:
            self.happened(self.stream.resumed())
        else:
            self.happened(self.stream.publish(self.some()))

    def serve(self) -> None:
        if self.to_server:
            self.happened(self.stream.receive(self.to_server.popleft()))

    def happened(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Response):
                open_ = {state.type_url for state in self.stream.unsettled() if state.nonce}
                self.early += event.type_url is TypeUrl.ROUTE and TypeUrl.CLUSTER in open_
                self.to_client.append(event.body)

    def take(self) -> None:
        if not self.to_client:
            return
        routes = self.client.received[TypeUrl.ROUTE]
        self.to_server.extend(self.client.receive(self.to_client.popleft()))
        if self.client.received[TypeUrl.ROUTE] > routes:
            for body in self.client.bodies[TypeUrl.ROUTE].values():
                for host in route_pb2.RouteConfiguration.FromString(body).virtual_hosts:
                    assert self.client.in_place(host.routes[0].route.cluster)


@pytest.mark.parametrize(("stream", "client"), [(DeltaStream, DeltaClient), (SotwStream, SotwClient)])
def test_r44_no_route_arrives_before_its_cluster(stream: type[Stream], client: type[Client]) -> None:
    """Exact, over 150 times 120 steps; routes that went one round trip sooner are among them."""
    early = finished = cold = 0
    for seed in range(SEEDS):
        both = Both(seed, stream, client())
        for _ in range(STEPS):
            both.step()
        for _ in range(2):
            while both.to_server or both.to_client:
                both.serve()
                both.take()
            both.happened(both.stream.resumed())
        early += both.early
        cold += both.cold
        # A cluster that went while it warmed may keep a client waiting, for as long as it waits for a first answer.
        if both.client.warm:
            finished += 1
            for type_url in (TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE):
                for name, wanted in both.stream.snapshot.resources(type_url).items():
                    assert both.client.held[type_url].get(name) == wanted.version
    assert early > SEEDS / 10
    assert cold > SEEDS / 10
    assert finished > SEEDS / 10
