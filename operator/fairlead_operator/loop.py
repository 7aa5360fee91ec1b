"""The lanes: when to recompute what, from what the sources say to what the store serves.

A shell around the pure core: it holds the world. What proxies answer comes by ``answers``; what the statuses say is
``statuses``. All methods belong to the thread of the server's event loop.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from fairlead_operator import advice, bindings, checks, damping, reconcile, sidecars
from fairlead_operator.answers import Answers
from fairlead_operator.api.meta import DecodeError, Ref, ref_of
from fairlead_operator.assignments import Assignments
from fairlead_operator.crowd import Crowd, of_statuses
from fairlead_operator.damping import Damping
from fairlead_operator.fault_log import FaultLog
from fairlead_operator.fleet import Fleet
from fairlead_operator.gateways.access import EVERYTHING, Access
from fairlead_operator.lanes import HoldOff, LeadingEdge
from fairlead_operator.late_refusals import LateRefusals
from fairlead_operator.progress import Cause, Causes, Report
from fairlead_operator.publishing import Publisher
from fairlead_operator.quarantine import Quarantine
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.refused_secrets import RefusedSecrets
from fairlead_operator.replicas.peers import Doubt, Peers
from fairlead_operator.second_chance import SecondChances
from fairlead_operator.sidecar_keys import SidecarKeys
from fairlead_operator.status import Ejected
from fairlead_operator.statuses import Statuses, StatusSink
from fairlead_operator.tally import Tally
from fairlead_operator.turns import Turns, until
from fairlead_operator.world import Changed, Lane, World
from fairlead_xds.model import LoadAssignment
from fairlead_xds.observer import Proxy
from fairlead_xds.store import Store
from fairlead_xds.translate import Translator

log = logging.getLogger(__name__)

CONFIG_QUIET, CONFIG_LONGEST, CONFIG_EAGER = 0.020, 0.100, 0.0002
ENDPOINT_WINDOW = 0.025
#: Seconds for which the loop rather comes round again than sleeps.
CLOSE = 0.0005
STATUS_QUIET, STATUS_LONGEST = 0.100, 1.000


class ControlPlane:
    """World in, snapshots and statuses out.

    Attributes:
        world: what is known.
        reconciled: what was made of it last.
        errors: of objects that could not be read.
        answers: hears what the proxies answer: the observer of the xDS server.
        sidecar_keys: whose configuration each sidecar gets.
    """

    def __init__(
        self,
        store: Store,
        proxies: Callable[[], list[Proxy]],
        *,
        move: Callable[[Proxy, str], None] = lambda _proxy, _key: None,
        address: str = "0.0.0.0",  # noqa: S104 - a gateway's listeners are for everyone
        access: Access = EVERYTHING,
        on_status: StatusSink | None = None,
        on_report: Callable[[Report], None] | None = None,
        on_surveyed: Callable[[], None] | None = None,
        peers: Peers | None = None,
        settle: float = 0.0,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        """What a control plane needs; *proxies* and *move* are the server's.

        *settle*: seconds after ``synced`` that statuses wait, so that proxies come back before they are told. *peers*: the
        other replicas, whose proxies count in statuses; *on_surveyed* is called when what they should hear may differ.
        """
        self.world = World()
        self.reconciled = Reconciled()
        self.errors: dict[Ref, str] = {}
        self._store, self._reconcile = store, partial(reconcile.reconcile, self.world, address=address, access=access)
        self._closed: advice.Closed = {}
        self._crowd = Crowd()
        self._on_config: list[Callable[[], None]] = []
        self._proxies = proxies
        self.sidecar_keys = SidecarKeys(
            self.world.pods,
            published=lambda: self.reconciled.proxies,
            lacking=self.mark_config,
            proxies=proxies,
            move=move,
        )
        self._translator = Translator()
        self._quarantine = Quarantine()
        self._second_chances = SecondChances(self.world, self._quarantine)
        self._refused_secrets = RefusedSecrets()
        self._late_refusals = LateRefusals(store.current)
        self._fleet = Fleet(proxies)
        self._tally = Tally()
        self._faults, self._peers = FaultLog(), peers
        self._statuses = Statuses(
            self.world,
            fleet=self._fleet,
            tally=self._tally,
            quarantine=self._quarantine,
            refused_secrets=self._refused_secrets,
            late_refusals=self._late_refusals,
            sink=on_status or (lambda _ref, _status: None),
            clock=now,
            on_fault=self._faults.tell,
            peers=peers,
        )
        self._on_surveyed = on_surveyed or (lambda: None)
        self._publisher = Publisher(store, proxies, on_report or (lambda _report: None))
        self.answers = Answers(
            self,
            store,
            progress=self._publisher.progress,
            handover=self._publisher.handover,
            quarantine=self._quarantine,
            refused_secrets=self._refused_secrets,
            late_refusals=self._late_refusals,
        )
        self._config = HoldOff(CONFIG_QUIET, CONFIG_LONGEST, CONFIG_EAGER)
        self._endpoints = LeadingEdge(ENDPOINT_WINDOW)
        self._status = HoldOff(STATUS_QUIET, STATUS_LONGEST)
        self._settle, self._status_from = settle, 0.0
        self._now = now
        self._turns = Turns(self.world, self._wall)
        self._expiry = math.inf
        self._damping = Damping()
        self._assignments = Assignments(self.world)
        self._serves, self.served_at = asyncio.Event(), 0.0
        self._services: dict[Ref, None] = {}
        self._usable: dict[str, bool] = {}
        self._assigned: dict[str, LoadAssignment] = {}
        self._for_config, self._for_endpoints = Causes(), Causes()
        self._timer: asyncio.Handle | None = None
        self._comes = 0.0
        self._synced = False

    # --- from the sources

    def apply(self, raw: dict[str, Any]) -> None:
        """Take in one object. One that cannot be read is logged and leaves everything as it was."""
        self.world.now = self._wall()
        try:
            changed = self.world.apply(raw)
        except DecodeError as error:
            if self.errors.get(error.ref) != str(error):
                self.errors[error.ref] = str(error)
                log.warning("ignored: %s", error)
            return
        ref = ref_of(raw)
        self.errors.pop(ref, None)
        if changed.lane is not Lane.NOTHING:
            self._changed(changed, f"{ref.kind} {ref.namespace}/{ref.name}")

    def delete(self, ref: Ref) -> None:
        """Forget one object."""
        self.world.now = self._wall()
        self.errors.pop(ref, None)
        changed = self.world.delete(ref)
        if ref.kind == "LoadBalancerPolicy":
            self._statuses.forget(ref)
            self._quarantine.forget(self.world)  # generations start anew if it comes back
        if changed.lane is not Lane.NOTHING:
            self._changed(changed, f"{ref.kind} {ref.namespace}/{ref.name} deleted")

    def synced(self) -> None:
        """Every source has listed once: compute, and serve from now on."""
        self._synced, self.served_at = True, self._time()
        self.world.listed()
        self._status_from = self.served_at + self._settle
        self._crowd.start(of_statuses(self.world, self.statuses), self._statuses.connected(), self.served_at)
        self.run_config()
        self._store.set_open()
        self._serves.set()

    async def served(self) -> None:
        """Return when this serves; ``served_at`` then says since when, in the event loop's time."""
        await self._serves.wait()

    @property
    def ready(self) -> bool:
        return self._synced

    @property
    def statuses(self) -> dict[Ref, dict[str, Any]]:
        """What each policy says now; a source may put in what it said before this process started."""
        return self._statuses.now

    def on_config(self, callback: Callable[[], None]) -> None:
        """Call *callback* after each run of the config lane: listeners or Services may have changed."""
        self._on_config.append(callback)

    def listening(self, gateway: str) -> list[int]:
        """The ports of a gateway's listeners."""
        config = self.reconciled.proxies.get(gateway)
        return [listener.port for listener in config.listeners] if config is not None else []

    def closed(self, ports: advice.Closed) -> None:
        """These ports of gateways cannot be reached from outside, and why; all others can."""
        if ports != self._closed:
            self._closed = ports
            self._config.mark(self._time())
            self._run_due()

    def gateways(self) -> set[str]:
        """Names of the gateways that policies name."""
        return {key for key in self.reconciled.proxies if not sidecars.is_sidecar(key)}

    # --- the lanes

    def _changed(self, changed: Changed, what: str) -> None:
        now = self._time()
        if changed.lane is Lane.CONFIG:
            self._for_config.add(what, now)
            # A replica that serves no proxy leaves the cores to those that do.
            self._config.mark(now, hurry=bool(self._proxies()))
        if changed.pod is not None:
            if changed.pod.injected:
                self.sidecar_keys.of(changed.pod)  # a new group, perhaps of a proxy that another replica serves
            self.move_sidecars(changed.pod.uid)
            if self._config.due() is not None:
                self._for_config.add(what, now)
        if changed.services:
            self._mark_endpoints(changed.services, what, now)
        if self.world.any_retold:
            self._status.mark(now)
        if self._synced:
            self._run_due()

    def _run_due(self) -> None:
        """Run what is due, and come back when the next is."""
        now = self._time()
        self._take_turns(now)
        self._note_expired(now)
        if _is_due(self._endpoints.due(), now):
            self.run_endpoints()
        if _is_due(self._config.due(), now):
            self.run_config()
        if _is_due(self._status_due(), now):
            self.run_status()
        lanes = (self._endpoints.due(), self._config.due(), self._status_due())
        dues = [due for due in (*lanes, self._next_turn(), self._damping.due(), self._next_expiry()) if due is not None]
        if dues:
            self._come_back(min(dues))

    def _come_back(self, due: float) -> None:
        """At *due*, in time: a timer waits for a whole millisecond at least. Or sooner, and then look again."""
        if self._timer is not None:
            if self._comes <= due:  # as in a burst, in which each change puts off what it makes due
                return
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        close = due - self._time() < CLOSE
        self._timer = loop.call_soon(self._came) if close else loop.call_at(due, self._came)
        self._comes = due

    def _came(self) -> None:
        self._timer = None
        self._run_due()

    def _take_turns(self, now: float) -> None:
        """Services with an endpoint that was held back, and whose time has come: as if it had changed."""
        for service in self._turns.take():
            self._mark_endpoints((service,), f"an endpoint of {service} that was held back", now)
        for service, held in self._damping.take(now).items():
            self._mark_endpoints((service,), f"{service}, which changes again and again", now, since=held.since)

    def _mark_endpoints(self, services: Iterable[Ref], what: str, now: float, *, since: float | None = None) -> None:
        """The endpoint lane has to run for *services*; *since*: when *what* happened, if that was before now."""
        self._for_endpoints.add(what, now if since is None else since)
        self._services.update(dict.fromkeys(services))
        self._endpoints.mark(now)

    def _next_turn(self) -> float | None:
        wait = self._turns.wait()
        return None if wait is None else self._time() + wait

    def _note_expired(self, now: float) -> None:
        """A certificate that ends is told, though nothing is heard of its Secret."""
        if self._expiry <= self._wall():
            self._expiry = math.inf
            self._config.mark(now)

    def _next_expiry(self) -> float | None:
        return None if self._expiry == math.inf else self._time() + until(self._expiry, self._wall())

    def run_config(self) -> None:
        """The config lane: everything, from nothing."""
        self.world.now = self._wall()
        self._config.ran(self._time())
        self._endpoints.ran()
        self._services.clear()
        self._statuses.overtaken(self.reconciled)
        self._quarantine.forget(self.world)
        run = partial(self._reconcile, closed=self._closed, crowd=self._crowd.now, before=self.reconciled)
        self._second_chances.give(run)
        held = self._quarantine.held(self.world)
        self.reconciled = run(held)
        self._expiry = self.world.next_expiry()
        for fault in self.reconciled.faults:
            self._faults.tell(fault)
        self._tally.reconciled(self.reconciled)
        self._turns.reconciled(self.reconciled)
        self._damping.retain(set(self.reconciled.bindings))
        self._assignments.forget()
        self._statuses.reconciled(self.reconciled, held)
        snapshots = self._translator.run(self.reconciled.proxies)
        self._assigned = {one.name: one for config in self.reconciled.proxies.values() for one in config.assignments}
        before, self._usable = self._usable, {name: bindings.usable(one) for name, one in self._assigned.items()}
        dying = [name for name, usable in self._usable.items() if not usable and before.get(name)]
        self._fleet.published(snapshots)
        self._refused_secrets.wanted(snapshots)
        self._for_config.put_back(self._for_endpoints.take(self._time()))
        cause = self._for_config.take(self._time())
        safe = {key: self._refused_secrets.stand_in(wanted) for key, wanted in snapshots.items()}
        self._publisher.publish(safe, dying, cause)
        self.move_sidecars()  # before keys are dropped
        self._publisher.retain(safe, cause)
        self._config.ended(self._time())
        self._endpoints.ended(self._time())
        if self._quarantine.repeat(snapshots, self.world):
            self._config.mark(self._time())
        self.mark_status()
        for callback in self._on_config:
            callback()

    def run_endpoints(self) -> None:
        """The endpoint lane: the load assignments of the Services that changed, and nothing else."""
        self.world.now = self._wall()
        self._endpoints.ran()
        services, self._services = self._services, {}
        cause = self._for_endpoints.take(self._time())
        turned = False
        counted: set[Ref] = set()
        for service in services:
            counted.update(self._tally.changed(service))
            try:
                turned |= self._run_endpoints_of(service, cause)
            except Exception:  # noqa: BLE001 - a mistake of ours: the config lane meets it again, and says whose it is
                turned = True
        self._endpoints.ended(self._time())
        self._doubt_statuses(counted)  # whoever runs a lane looks what is due next
        if turned:  # a side of a split has died or come alive, or pods are asked otherwise: routes and clusters follow
            self._for_config.put_back(cause)
            if self._rested():
                self.run_config()
            else:
                self._config.mark(self._time())

    def _run_endpoints_of(self, service: Ref, cause: Cause) -> bool:
        """Whether the config lane has to follow."""
        changed, now = False, self._time()
        self._turns.note(service, self.reconciled)
        over = self.reconciled.bindings.get(service, {})
        made = {name: self._assignments.of(binding) for name, (binding, _) in over.items()}
        if not self._damping.free(service, now):
            urgent = any(damping.urgent(self._assigned.get(name), one) for name, one in made.items())
            if self._damping.hold(service, now, urgent=urgent):
                return False
        turned = self._second_chances.may_end(service)
        for name, (binding, keys) in over.items():
            assignment = made[name]
            turned |= bindings.asked_otherwise(self.world, binding) or bindings.ejects_otherwise(binding, assignment)
            usable = bindings.usable(assignment)
            turned |= self._usable.get(name) != usable
            if self._usable.get(name) and not usable and self._rested():
                continue  # see handover
            self._assigned[name] = assignment
            resource = self._translator.load_assignment(assignment)
            for key in keys:
                changed |= self._publisher.endpoints(key, resource, useless=not usable, cause=cause)
        if changed or turned:
            self._damping.passed(service, now)
        return turned

    def _rested(self) -> bool:
        """The config lane may run at once."""
        return self._config.rested_at <= self._time()

    def hand_over(self, key: str) -> None:
        """Publish the endpoints of *key* that waited for its routes (``handover``)."""
        self._publisher.hand_over(key)

    def move_sidecars(self, uid: str = "") -> None:
        """See to it that the sidecar of pod *uid*, or every one, has the key that it should have."""
        self.sidecar_keys.move(uid)

    @property
    def slowest(self) -> float:
        """Seconds that the slowest change of endpoints took in the last hour to reach every proxy; 0: there was none.

        Those of other replicas too.
        """
        own = self._publisher.slowest()
        return max(own, self._peers.slowest()) if self._peers is not None else own

    def mark_config(self) -> None:
        """Another outcome is due: a proxy has refused something, or accepted what was refused before."""
        self._config.mark(self._time())

    # --- status

    def doubt(self, policies: Doubt) -> None:
        """Other replicas' proxies have changed what some of *policies* say; ``None``: any."""
        self.mark_status(policies)

    def ejected(self, found: Mapping[Ref, tuple[Ejected, ...]] | None) -> None:
        """The endpoints that proxies keep out by themselves, for each policy; ``None``: nobody asks any more."""
        if doubted := self._statuses.ejected(found):
            self.mark_status(doubted)

    def say_again(self, actual: Mapping[Ref, dict[str, Any]]) -> None:
        """Hand on the status of every policy, computed after what is *actual*: somebody writes them from now on."""
        self._statuses.again(actual)
        self.mark_status()

    def mark_status(self, policies: set[Ref] | None = None) -> None:
        """Some of *policies* may have another status now; ``None``: of all."""
        self._doubt_statuses(policies)
        if self._synced:
            self._run_due()

    def _doubt_statuses(self, policies: set[Ref] | None) -> None:
        self._statuses.doubt(policies)
        self._status.mark(self._time())

    def _status_due(self) -> float | None:
        dues = [due for due in (self._status.due(), self._crowd.due()) if due is not None]
        return max(min(dues), self._status_from) if dues and self._config.due() is None else None  # see run_status

    def run_status(self) -> None:
        """The status lane: of the policies whose status may have changed."""
        if self._config.due() is not None:
            return  # the world is ahead of what was reconciled: right after that run
        self._status.ran(self._time())
        if self._peers is not None:
            self._peers.took(self._publisher.slowest())
        self._statuses.slowest(self.slowest)
        for service in self.world.retold():
            self._statuses.doubt(set(self._tally.changed(service)))
        again = self._statuses.run(self.reconciled)
        if self._crowd.count(self._statuses.connected(), self._time(), lag=self._statuses.lag):
            again |= any(checks.bounded(one.check) for one in self.reconciled.checked.values())
        if again:
            self._config.mark(self._time())
        self._on_surveyed()

    def _wall(self) -> float:
        """Seconds since the epoch."""
        return self._now().timestamp()

    @staticmethod
    def _time() -> float:
        return asyncio.get_running_loop().time()


def _is_due(due: float | None, now: float) -> bool:
    return due is not None and due <= now
