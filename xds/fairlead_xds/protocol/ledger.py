"""What one client has of one resource type, what it should have, and what is on the way to it.

Used by the streams (``stream.py``), which decide when something goes and how it is written. A ledger decides what is
left to send. It is the same for both variants of the protocol, and it holds differences only: a name that is in none
of its maps is a name of which the client has the snapshot's version. So a settled stream costs the same with ten
services and with ten thousand.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from fairlead_xds.protocol.subscription import shared
from fairlead_xds.snapshot import Resource, TypeUrl

Held = Resource | str | None
"""What a client has under a name: a resource, a bare version that it reported on reconnecting, or nothing."""


def version_of(held: Held) -> str | None:
    """The version of what is held; ``None`` for nothing."""
    return held.version if isinstance(held, Resource) else held


@dataclass(slots=True)
class Flight:
    """A response that the client has not answered yet.

    Attributes:
        nonce: of the response.
        sent: what it says about each name (``None``: there is no such resource).
        prior: what the client had under each name before, and has again if it refuses.
        stale: names that the client unsubscribed from since: the answer says nothing about them, and a refusal may be
            because of them.
        asked: names that answer a question: the client may have lost what it had under them.
        telling: the client's requests for the load assignments of these clusters will tell that it took them (``ordering``).
    """

    nonce: str
    sent: dict[str, Resource | None]
    prior: dict[str, Held]
    stale: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    telling: bool = False

    @property
    def versions(self) -> dict[str, str | None]:
        return {name: version_of(resource) for name, resource in self.current.items()}

    @property
    def current(self) -> dict[str, Resource | None]:
        """``sent`` without what is stale."""
        if not self.stale:
            return self.sent
        return {name: resource for name, resource in self.sent.items() if name not in self.stale}

    def follow(self, earlier: Flight) -> None:
        """Stand for *earlier* too: the client answers both at once, or neither."""
        before = earlier.current
        self.sent = {**before, **self.sent}
        self.prior.update({name: earlier.prior[name] for name in before})


@dataclass(slots=True)
class Ledger:
    """One type of one stream.

    Whatever is in flight is taken for accepted (so a change during the flight is a difference to what was sent);
    a refusal rolls it back.

    Attributes:
        resources: what the current snapshot has of the type.
        delta: removals and absent names can be told one by one.
        everything: each response carries all that the client should have (SotW clusters and listeners).
        wild: subscribed to all resources; ``names`` are subscribed to besides.
        puts: names to send -> what the client has now.
        removes: names to say are gone -> what the client has now.
        parked: names whose current version the client has refused -> what it has now (XDS_RULES 15).
        refused: name -> version refused last; forgotten when the client accepts something under that name.
        owed: names to answer even if nothing differs (XDS_RULES 33, 34, 36, 45) -> whether the client asked. It then hears
            at once if there is none; other removals wait for their turn.
        suspects: groups of names to send apart from each other, after a refusal that named none of them.
        flight: the response whose answer is awaited; at most one.
        late: a response whose answer is awaited no longer, but may still come.
        answer: a response is owed even if it is empty (XDS_RULES 22, 38).
        last_nonce: of the newest response.
        named: the client has subscribed to names explicitly at least once (XDS_RULES 29).
    """

    type_url: TypeUrl
    resources: Mapping[str, Resource]
    delta: bool
    everything: bool = False
    wild: bool = False
    names: frozenset[str] = frozenset()
    puts: dict[str, Held] = field(default_factory=dict)
    removes: dict[str, Held] = field(default_factory=dict)
    parked: dict[str, Held] = field(default_factory=dict)
    refused: dict[str, str | None] = field(default_factory=dict)
    owed: dict[str, bool] = field(default_factory=dict)
    suspects: list[list[str]] = field(default_factory=list)
    flight: Flight | None = None
    late: Flight | None = None
    answer: bool = False
    last_nonce: str = ""
    named: bool = False

    @property
    def settled(self) -> bool:
        """Nothing to add or update, and no answer awaited."""
        return not self.puts and self.flight is None

    def covers(self, name: str) -> bool:
        """The client is subscribed to *name*."""
        return self.wild or name in self.names

    def has(self, name: str) -> bool:
        """The client has accepted the current version of *name*, and nothing says otherwise."""
        resource = self.resources.get(name)
        if resource is None or not self.covers(name) or name in self.puts or name in self.parked:
            return False
        if self.owed.get(name):
            return False
        return not any(
            name in flight.sent
            and (name in flight.stale or name in flight.asked or version_of(flight.prior[name]) != resource.version)
            for flight in (self.flight, self.late)
            if flight is not None
        )

    def lacking(self) -> list[str]:
        """The resources that ``has`` denies, found at the cost of those that are not settled."""
        open_ = {*self.puts, *self.parked}
        open_.update(*(flight.sent for flight in (self.flight, self.late) if flight is not None))
        found = [name for name in open_ if name in self.resources and self.covers(name) and not self.has(name)]
        if not self.wild and not self.names.issuperset(self.resources):
            found.extend(self.resources.keys() - self.names)
        return found

    def removing(self, name: str) -> bool:
        """The client has yet to be told, or to confirm, that *name* is gone."""
        if name in self.removes:
            return True
        return any(
            name in flight.sent and flight.sent[name] is None
            for flight in (self.flight, self.late)
            if flight is not None
        )

    def publish(self, resources: Mapping[str, Resource], changed: Iterable[str]) -> None:
        """Take *resources* for what the client should have; only *changed* names differ from before."""
        old, self.resources = self.resources, resources
        clean = not (self.puts or self.removes or self.parked or self.refused or self.owed)
        for name in changed:
            if self.wild or name in self.names:
                if clean and (want := resources.get(name)) is not None:  # nearly always; what ``_settle`` does then
                    held = old.get(name)
                    if held is None or held.version != want.version:
                        self.puts[name] = held
                else:
                    self._settle(name, self._held(name, old))

    # --- subscription

    def subscribe(self, names: Iterable[str], known: Mapping[str, str]) -> None:
        """Add explicit *names*, each to be answered (XDS_RULES 33) unless the client has it, where *known* says what it has."""
        fresh = dict.fromkeys(map(sys.intern, names))
        old, self.names = self.names, shared(self.names.union(fresh))
        for name in fresh:
            if (self.wild or name in old) and name not in known:
                held = self._held(name, self.resources)  # it was subscribed to already, and that does not change
                self.refused.pop(name, None)
            else:
                held = known.get(name) or self._in_flight(name)
                self._forget(name)
            self._settle(name, held)
            if self.delta and name not in known:
                self.owed[name] = True

    def unsubscribe(self, names: Iterable[str]) -> None:
        """Drop explicit *names*; those that were never there are ignored (XDS_RULES 35)."""
        gone = self.names.intersection(names)
        self.names = shared(self.names - gone)
        if self.wild and not self.delta:
            return  # the wildcard covers them as before, so the client keeps what it has
        for name in gone:
            held = self._in_flight(name)
            self._forget(name)
            if self.wild:
                # XDS_RULES 36: the client drops it, and has to hear whether the wildcard still covers it.
                self._settle(name, held)
                self.owed[name] = True

    def subscribe_all(self, known: Mapping[str, str]) -> None:
        """Turn the wildcard on; *known* is what the client has already, by name."""
        self.wild = True
        for name in self.resources:
            if name not in self.names:
                self._settle(name, known.get(name))
        for name, version in known.items():
            if name not in self.resources and name not in self.names:
                self._settle(name, version)
        crossing = [name for flight in (self.flight, self.late) if flight is not None for name in flight.stale]
        for name in crossing:
            if name not in self.names:
                self._settle(name, self._in_flight(name))
                if self.delta:
                    self.owe(name)  # unasked: if it is gone, its removal waits for its turn

    def unsubscribe_all(self) -> None:
        """Turn the wildcard off; explicit names stay."""
        self.wild = False
        filed = {*self.puts, *self.removes, *self.parked, *self.refused, *self.owed}
        filed.update(*(flight.sent for flight in (self.flight, self.late) if flight is not None))
        for name in filed - self.names:
            self._forget(name)

    def owe(self, name: str) -> None:
        """Send *name* again even if the client has it (XDS_RULES 45); one that it refused stays parked."""
        if name in self.resources and self.covers(name) and name not in self.parked:
            self.owed.setdefault(name, False)

    def trust(self) -> None:
        """The client has all of it already: it said so by the version of the whole (XDS_RULES 21)."""
        self.puts.clear()

    # --- sending

    def draw(self, *, count: int, size: int) -> list[str]:
        """Names to add, update or answer next: at most *count*, of *size* bytes together but at least one."""
        while self.suspects:
            group = [name for name in self.suspects.pop(0) if name in self.puts or name in self.owed]
            if group:
                return group
        if len(self.puts) == 1 and not self.owed:
            return list(self.puts)
        drawn: list[str] = []
        for name in self._sendable():
            resource = self.resources.get(name)
            size -= len(resource.body) if resource is not None else 0
            if drawn and (size < 0 or len(drawn) == count):
                break
            drawn.append(name)
        return drawn

    def send(self, nonce: str, names: Iterable[str]) -> Flight:
        """Note that a response says the current state of *names*, each of which is filed once at most."""
        sent: dict[str, Resource | None] = {}
        prior: dict[str, Held] = {}
        asked = set()
        filed = [where for where in (self.puts, self.removes, self.parked) if where]
        for name in names:
            if name in sent:  # one that is asked for may be removed by the same response
                continue
            sent[name] = prior[name] = self.resources.get(name)
            for where in filed:
                if name in where:
                    prior[name] = where.pop(name)
            if self.owed and self.owed.pop(name, False):
                asked.add(name)
        for emptied in filed:
            if not emptied:
                emptied.clear()  # gives back the table that it had grown to: a thousand names are 36 kB
        if not self.owed:
            self.owed.clear()
        self.flight, self.last_nonce, self.answer = Flight(nonce, sent, prior, asked=asked), nonce, False
        return self.flight

    def give_up(self) -> None:
        """Stop waiting for the answer; if it comes after all it still counts."""
        if self.flight is None:
            return
        if self.late is not None:  # merge, so that a client that never answers costs a bounded amount
            self.flight.follow(self.late)
        self.late, self.flight = self.flight, None

    # --- answers

    def answered(self, nonce: str) -> Flight | None:
        """The flight that *nonce* answers, landed; ``None`` for a stale nonce."""
        if self.flight is not None and nonce == self.flight.nonce:
            # Answers come in order: that of the late flight will not come after this one.
            landed, self.flight = self.flight, None
            if self.late is not None:
                landed.follow(self.late)
                self.late = None
            return landed
        if self.late is not None and nonce == self.late.nonce:
            landed, self.late = self.late, None
            return landed
        return None

    def accept(self, flight: Flight) -> None:
        """The client has applied *flight*."""
        if self.refused:
            for name in flight.current:
                self.refused.pop(name, None)

    def refuse(self, flight: Flight, blamed: Collection[str]) -> tuple[list[str], bool]:
        """The client has refused *flight*; *blamed* are the names that it gave, if any.

        Returns:
            The names held at fault, and whether that is certain. If it is not, they are queued to go in halves.
        """
        # A removal is only suspect in a response that holds nothing else.
        sent = flight.current
        suspects = [name for name, resource in sent.items() if resource is not None] or list(sent)
        alone = len(suspects) == 1 and not flight.stale
        certain = alone or bool(blamed)  # those blamed may all be stale, and then none of the others is at fault
        guilty = suspects if alone else [name for name in suspects if name in blamed]
        for name in guilty:
            self.refused[name] = version_of(sent[name])
            if version_of(flight.prior[name]) == version_of(sent[name]):
                flight.prior[name] = None  # it was sent again, and is not accepted any more
        for name in guilty if blamed else sent:
            self._roll_back(name, flight, again=name not in guilty)
        for name in flight.stale.intersection(blamed) if blamed else flight.stale:
            self._did_not_come_back(name, flight)
        if self.everything and len(guilty) < len(sent):
            # Envoy and gRPC have applied the others; the protocol leaves it open (XDS_RULES 17), so all are sent again.
            self.answer = True
        if certain:
            return guilty, True
        half = len(suspects) // 2
        self.suspects[:0] = [group for group in (suspects[:half], suspects[half:]) if group]
        return suspects, False

    # --- bookkeeping

    def _held(self, name: str, clean: Mapping[str, Resource]) -> Held:
        for filed in (self.puts, self.removes, self.parked):
            if name in filed:
                return filed[name]
        return clean.get(name)

    def _in_flight(self, name: str) -> Held:
        """What a client that drops and takes *name* again may get from responses that it has not seen yet."""
        for flight in (self.flight, self.late):
            if flight is not None and flight.sent.get(name) is not None:
                return flight.sent[name]
        return None

    def _settle(self, name: str, held: Held) -> None:
        """File *name* by what the client holds and what it should hold."""
        self.puts.pop(name, None)
        self.removes.pop(name, None)
        self.parked.pop(name, None)
        want = self.resources.get(name)
        version = want.version if want is not None else None
        if want is None and not self.owed.get(name, True):
            del self.owed[name]  # it was to be sent again, and now there is nothing to send
        if version_of(held) == version or not self.covers(name):
            return
        if name in self.refused and self.refused[name] == version:
            self.parked[name] = held
            if not self.owed.get(name, True):
                del self.owed[name]
        elif want is not None:
            self.puts[name] = held
        elif self.delta or self.everything:  # else absence cannot be told (XDS_RULES 23): the client drops it by itself
            self.removes[name] = held

    def _sendable(self) -> Iterable[str]:
        yield from self.owed
        for name in self.puts:
            if name not in self.owed:
                yield name

    def _forget(self, name: str) -> None:
        for filed in (self.puts, self.removes, self.parked, self.refused, self.owed):
            filed.pop(name, None)
        for flight in (self.flight, self.late):
            if flight is not None and name in flight.sent:
                flight.stale.add(name)

    def _did_not_come_back(self, name: str, flight: Flight) -> None:
        """The client dropped and took *name* again while *flight*, which it refused, was to bring it: it has nothing."""
        version = version_of(flight.sent[name])
        if self.flight is not None and name in self.flight.current:
            if version_of(self.flight.prior[name]) == version:
                self.flight.prior[name] = None
        elif self.covers(name) and version_of(self._held(name, self.resources)) == version:
            self._settle(name, None)

    def _roll_back(self, name: str, flight: Flight, *, again: bool) -> None:
        prior = flight.prior[name]
        if self.flight is not None and name in self.flight.current:
            self.flight.prior[name] = prior  # a newer response is on its way; should it be refused, this is left
            return
        self._settle(name, prior)
        if again and name in flight.asked:
            self.owed[name] = True
        elif again and name not in self.puts:
            self.owe(name)  # it was sent although nothing differed, so it is owed still
