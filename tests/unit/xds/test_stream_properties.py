"""What holds of a stream whatever clients and publishers do, found by Hypothesis; both variants.

The client here is a model of its own: it applies what it accepts, refuses contents that begin with ``bad``, and drops
what it unsubscribes from. A twin stream gets the same requests, but finds changes from scratch: the two must agree.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import Acked, Event, Nacked, ProtocolError, Response
from fairlead_xds.protocol.sotw import SotwStream
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.snapshot import EMPTY, Resource, Snapshot, TypeUrl, diff

CDS, EDS, LDS, RDS, SDS = TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.LISTENER, TypeUrl.ROUTE, TypeUrl.SECRET
WILD = (CDS, LDS)
NAMES = ("a", "b", "c", "d")
CONTENTS = ("1", "2", "bad1", "bad2")

types = st.sampled_from(list(TypeUrl))
some_names = st.sets(st.sampled_from(NAMES), min_size=1)
snapshots = st.dictionaries(st.tuples(types, st.sampled_from(NAMES)), st.sampled_from(CONTENTS)).map(
    lambda parts: Snapshot.of(Resource(t, name, f"{content}{name}".encode()) for (t, name), content in parts.items())
)


def bad(body: bytes) -> bool:
    return body.startswith(b"bad")


@dataclass
class Side:
    """The client's side of one type."""

    wild: bool = False
    names: set[str] = field(default_factory=set)
    held: dict[str, bytes] = field(default_factory=dict)
    nonce: str = ""
    asked: bool = False
    named: bool = False
    unanswered: set[str] = field(default_factory=set)
    questions: set[str] = field(default_factory=set)  # asked for, and no answer accepted yet
    pending: list[Response] = field(default_factory=list)

    def covers(self, name: str) -> bool:
        return self.wild or name in self.names


class Machine(RuleBasedStateMachine):
    """The rules and properties; a subclass knows how a variant asks and what a response says."""

    stream_type: ClassVar[type[Stream]]

    def __init__(self) -> None:
        super().__init__()
        self.snapshot = EMPTY
        self.stream, self.twin = self.stream_type(EMPTY), self.stream_type(EMPTY)
        self.sides = {t: Side() for t in TypeUrl}
        self.nonces: set[str] = set()
        self.blamed: set[tuple[TypeUrl, str, str | None]] = set()

    # --- variant

    def request(self, type_url: TypeUrl, **parts: Any) -> bytes:
        raise NotImplementedError

    def says(self, response: Response) -> tuple[dict[str, bytes], set[str]]:
        """The resources in a response by name, and the names that it deletes from what the client has now."""
        raise NotImplementedError

    # --- rules

    @initialize(snapshot=snapshots)
    def begin(self, snapshot: Snapshot) -> None:
        self.publish(snapshot)
        for type_url in WILD:
            self.ask_for_all(type_url)

    @rule(snapshot=snapshots)
    def publish(self, snapshot: Snapshot) -> None:
        old, self.snapshot = self.snapshot, snapshot
        events = self.stream.publish(snapshot, diff(old, snapshot))
        self.happened(events, self.twin.publish(snapshot, None))

    @rule(data=st.data())
    def publish_a_little(self, data: st.DataObject) -> None:
        type_url, name = data.draw(types), data.draw(st.sampled_from(NAMES))
        content = f"{data.draw(st.sampled_from(CONTENTS))}{name}".encode()
        self.publish(self.snapshot.with_resources([Resource(type_url, name, content)]))

    @rule(gone=st.sets(st.tuples(types, st.sampled_from(NAMES)), min_size=1, max_size=3))
    def withdraw(self, gone: set[tuple[TypeUrl, str]]) -> None:
        kept = (r for t in TypeUrl for r in self.snapshot.resources(t).values() if (t, r.name) not in gone)
        self.publish(Snapshot.of(kept))

    @rule()
    def publish_the_same(self) -> None:
        copy = Snapshot.of(
            Resource(r.type_url, r.name, r.body) for t in TypeUrl for r in self.snapshot.resources(t).values()
        )
        assert self.stream.publish(copy) == []
        assert self.twin.publish(copy) == []
        self.snapshot = copy

    @rule(type_url=types, names=some_names)
    def subscribe(self, type_url: TypeUrl, names: set[str]) -> None:
        raise NotImplementedError

    @rule(type_url=types, names=some_names)
    def unsubscribe(self, type_url: TypeUrl, names: set[str]) -> None:
        raise NotImplementedError

    def ask_for_all(self, type_url: TypeUrl) -> None:
        raise NotImplementedError

    @precondition(lambda self: any(side.pending for side in self.sides.values()))
    @rule(data=st.data(), named=st.booleans())
    def answer(self, data: st.DataObject, named: bool) -> None:
        waiting = [t for t, side in self.sides.items() if side.pending]
        self.answer_type(data.draw(st.sampled_from(waiting)), named=named)

    @rule(type_url=types)
    def a_stale_answer(self, type_url: TypeUrl) -> None:
        if self.sides[type_url].asked:
            self.send(self.request(type_url, nonce="stale", error="nonsense"))

    # --- properties

    @invariant()
    def one_response_in_flight_per_type(self) -> None:
        assert all(len(side.pending) <= 1 for side in self.sides.values())

    @invariant()
    def what_it_says_the_client_has_the_client_has(self) -> None:
        for type_url, side in self.sides.items():
            for name in NAMES:
                if self.stream.has(type_url, name):
                    current = self.snapshot.get(type_url, name)
                    assert current is not None
                    # The client may have dropped it by a change that the server has not heard of (SotW), not else.
                    assert side.held.get(name) == current.body or not side.covers(name)

    def teardown(self) -> None:
        for _ in range(400):
            waiting = [t for t, side in self.sides.items() if side.pending]
            if not waiting:
                break
            self.answer_type(waiting[0], named=True)
        else:
            raise AssertionError("it never settles")
        for type_url, side in self.sides.items():
            assert not side.unanswered, f"{type_url.short} {side.unanswered} never answered"
            self.holds_what_it_should(type_url, side)
        assert all(
            state.dirty == state.owed == 0 or self.held_back(state.type_url) for state in self.stream.unsettled()
        )

    def held_back(self, type_url: TypeUrl) -> bool:
        """Removals wait as long as a refused listener or route may refer to what is to go."""
        return any(self.stream.unsettled() and u.parked for u in self.stream.unsettled() if u.type_url in (LDS, RDS))

    def holds_what_it_should(self, type_url: TypeUrl, side: Side) -> None:
        for name in filter(side.covers, NAMES):
            want, held = self.snapshot.get(type_url, name), side.held.get(name)
            if want is None:
                assert held is None or self.lingers(type_url), f"{type_url.short} {name} should be gone"
            elif bad(want.body):
                assert held is None or not bad(held)
                assert not self.stream.has(type_url, name)
                assert (type_url, name, want.version) in self.blamed
            else:
                assert held == want.body, f"{type_url.short} {name} is {held!r}, should be {want.body!r}"
                assert self.stream.has(type_url, name)

    def lingers(self, type_url: TypeUrl) -> bool:
        return type_url is not LDS and self.held_back(type_url)

    # --- the client

    def send(self, request: bytes) -> None:
        self.happened(self.stream.receive(request), self.twin.receive(request))

    def answer_type(self, type_url: TypeUrl, *, named: bool) -> None:
        side = self.sides[type_url]
        response = side.pending.pop(0)
        side.nonce = response.nonce
        resources, gone = self.says(response)
        wrong = sorted(name for name, body in resources.items() if bad(body))
        good = {} if wrong and not (named and type_url in WILD) else resources
        if not wrong or good:
            for name in gone:
                side.held.pop(name, None)
            side.held.update({n: body for n, body in good.items() if n not in wrong and side.covers(n)})
        # The server hears with this answer what the client dropped while it was on its way (SotW).
        side.held = {name: body for name, body in side.held.items() if side.covers(name)}
        error = None
        if not wrong:
            side.questions -= {*response.names, *response.removed}
        else:
            error = "malformed"
            if good:
                error = "Error adding/updating cluster(s) " + ", ".join(f"{name}: malformed" for name in wrong)
        self.send(self.request(type_url, nonce=response.nonce, error=error))

    def happened(self, events: list[Event], twin: list[Event]) -> None:
        assert events == twin, "the shortcut and the reference differ"
        order = [TypeUrl(e.type_url) for e in events if isinstance(e, Response) and e.names]
        assert order == sorted(order, key=[CDS, EDS, SDS, LDS, RDS].index)
        for event in events:
            if isinstance(event, Response):
                self.arrived(event)
            elif isinstance(event, Nacked) and event.certain:
                for name, version in event.versions.items():
                    self.blamed.add((event.type_url, name, version))
                    if version is not None and (current := self.snapshot.get(event.type_url, name)):
                        assert current.version != version or bad(current.body), "blamed without cause"
            elif isinstance(event, Acked):
                assert event.nonce in self.nonces

    def arrived(self, response: Response) -> None:
        assert response.nonce not in self.nonces
        self.nonces.add(response.nonce)
        side = self.sides[response.type_url]
        assert not side.pending
        side.pending.append(response)
        side.questions |= side.unanswered
        side.unanswered -= {*response.names, *response.removed}
        self.in_order(response, side.questions)

    def in_order(self, response: Response, asked: set[str]) -> None:
        clusters, listeners, routes = (self.sides[t] for t in (CDS, LDS, RDS))
        if response.type_url in (LDS, RDS) and response.names:
            assert not clusters.pending
            for name, want in self.snapshot.resources(CDS).items():
                assert bad(want.body) or not clusters.covers(name) or clusters.held.get(name) == want.body
        # Who asks for a name is told at once that there is none; all other removals come last.
        side = self.sides[response.type_url]
        gone = {*response.removed, *self.says(response)[1]} - asked
        if response.type_url in (CDS, EDS, SDS) and any(name in side.held and side.covers(name) for name in gone):
            assert not listeners.pending
            assert not routes.pending


class DeltaMachine(Machine):
    stream_type = DeltaStream

    def request(self, type_url: TypeUrl, *, nonce: str = "", error: str | None = None, **names: Any) -> bytes:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url=type_url, response_nonce=nonce, **names)
        if error is not None:
            request.error_detail.message = error
        self.sides[type_url].asked = True
        return bytes(request.SerializeToString())

    def says(self, response: Response) -> tuple[dict[str, bytes], set[str]]:
        message = discovery_pb2.DeltaDiscoveryResponse.FromString(response.body)
        assert tuple(r.name for r in message.resources) == response.names
        assert tuple(message.removed_resources) == response.removed
        return {r.name: r.resource.value for r in message.resources}, set(message.removed_resources)

    @rule(type_url=st.sampled_from(WILD))
    def ask_for_all(self, type_url: TypeUrl) -> None:
        side = self.sides[type_url]
        names = ["*"] if side.asked else []
        side.wild = True
        self.send(self.request(type_url, resource_names_subscribe=names))

    @rule(type_url=st.sampled_from(WILD))
    def drop_the_wildcard(self, type_url: TypeUrl) -> None:
        side = self.sides[type_url]
        if side.wild:
            side.wild = False
            side.unanswered &= side.names
            side.held = {name: body for name, body in side.held.items() if name in side.names}
            self.send(self.request(type_url, resource_names_unsubscribe=["*"]))

    @rule(type_url=types, names=some_names)
    def subscribe(self, type_url: TypeUrl, names: set[str]) -> None:
        side = self.sides[type_url]
        side.names |= names
        side.unanswered |= names
        self.send(self.request(type_url, resource_names_subscribe=sorted(names)))

    @rule(type_url=types, names=some_names)
    def unsubscribe(self, type_url: TypeUrl, names: set[str]) -> None:
        side = self.sides[type_url]
        if not side.asked:
            return
        mine = names & side.names
        side.names -= names
        for name in mine:
            side.held.pop(name, None)
        side.unanswered -= names
        if side.wild:
            side.unanswered |= mine
        self.send(self.request(type_url, resource_names_unsubscribe=sorted(names)))

    @rule()
    def reconnect(self) -> None:
        self.stream, self.twin = DeltaStream(self.snapshot), DeltaStream(self.snapshot)
        self.nonces.clear()
        for side in self.sides.values():
            side.pending, side.nonce, side.unanswered = [], "", set()
        for type_url, side in self.sides.items():
            if not side.asked:
                continue
            names = [*(["*"] if side.wild else []), *sorted(side.names)]
            if not names:
                side.asked = False
                continue
            known = {name: Resource(type_url, name, body).version for name, body in side.held.items()}
            self.send(self.request(type_url, resource_names_subscribe=names, initial_resource_versions=known))
        self.happened(self.stream.resumed(), self.twin.resumed())
        self.happened(self.stream.stop_waiting_for_clusters(), self.twin.stop_waiting_for_clusters())


class SotwMachine(Machine):
    stream_type = SotwStream

    def request(self, type_url: TypeUrl, *, nonce: str = "", error: str | None = None, **_: Any) -> bytes:
        side = self.sides[type_url]
        names = sorted(side.names) + (["*"] if side.wild and side.named else [])
        request = discovery_pb2.DiscoveryRequest(type_url=type_url, response_nonce=nonce, resource_names=names)
        if error is not None:
            request.error_detail.message = error
        side.asked = True
        return bytes(request.SerializeToString())

    def says(self, response: Response) -> tuple[dict[str, bytes], set[str]]:
        message = discovery_pb2.DiscoveryResponse.FromString(response.body)
        resources = {}
        for resource in message.resources:
            name = resource.value.decode()[-1]  # contents of this test end with the name
            assert name not in resources
            resources[name] = resource.value
        everything = response.type_url in WILD
        return resources, set(NAMES) - set(resources) if everything else set()

    def lingers(self, type_url: TypeUrl) -> bool:
        return type_url not in WILD or super().lingers(type_url)

    def ask_for_all(self, type_url: TypeUrl) -> None:
        # By an explicit "*": a client that began without names cannot say by no names that it wants none (XDS_RULES 28).
        self.sides[type_url].wild = self.sides[type_url].named = True
        self.send(self.request(type_url, nonce=self.sides[type_url].nonce))

    @rule(type_url=st.sampled_from(WILD))
    def toggle_the_wildcard(self, type_url: TypeUrl) -> None:
        side = self.sides[type_url]
        side.wild, side.named = not side.wild, True
        # While a response is on its way the server hears of no change (XDS_RULES 19), so the client may not rely on one.
        if not side.wild and not side.pending:
            side.held = {name: body for name, body in side.held.items() if name in side.names}
        self.send(self.request(type_url, nonce=side.nonce))

    @rule(type_url=types, names=some_names)
    def subscribe(self, type_url: TypeUrl, names: set[str]) -> None:
        side = self.sides[type_url]
        side.names |= names
        side.named = True
        self.send(self.request(type_url, nonce=side.nonce))

    @rule(type_url=types, names=some_names)
    def unsubscribe(self, type_url: TypeUrl, names: set[str]) -> None:
        side = self.sides[type_url]
        if not side.asked:
            return
        side.named = True
        for name in names & side.names:
            if not side.wild and not side.pending:
                side.held.pop(name, None)
        side.names -= names
        self.send(self.request(type_url, nonce=side.nonce))


profile = settings(
    max_examples=40,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow],
)
TestDelta = pytest.mark.timeout(60)(DeltaMachine.TestCase)
TestDelta.settings = profile
TestSotw = pytest.mark.timeout(60)(SotwMachine.TestCase)
TestSotw.settings = profile


@pytest.mark.timeout(30)
@pytest.mark.parametrize("stream_type", [DeltaStream, SotwStream])
@given(data=st.binary(max_size=200))
@settings(deadline=None, max_examples=300)
def test_garbage_is_taken_or_a_protocol_error(stream_type: type[Stream], data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        stream_type.node_of(data)
    with contextlib.suppress(ProtocolError):
        stream_type(EMPTY).receive(data)
