"""Which replica writes: the holder of a Lease. All serve; the leader alone writes statuses, certificates and Services.

The election is the Kubernetes client's (``kubernetes.aio.leaderelection``); ``lease`` is its lock. This shell adds what it
lacks: a request that hangs or a connection that breaks ends an attempt and not the election; an attempt takes no longer
than *retry*, so that a leader stops before its Lease ends; one that finds another holder stops at once; and a leader that
ends gives the Lease back, so that the next one need not wait for it to run out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Coroutine
from typing import Any

from kubernetes.aio.leaderelection import electionconfig, leaderelection

from fairlead_operator.api.config import Lease
from fairlead_operator.lease import LeaseLock, Owner
from fairlead_operator.sources.backoff import Backoff
from fairlead_operator.sources.client import CONNECTION_ERRORS, ApiError, KubeClient

log = logging.getLogger(__name__)

#: Runs while this replica leads, until it is cancelled. One that fails is started again.
Duty = Callable[[], Coroutine[Any, Any, None]]


def times(lease: Lease) -> dict[str, float]:
    """Seconds, as the election calls them. A Lease says its duration in whole ones (``spec.leaseDurationSeconds``)."""
    duration = math.ceil(lease.seconds("duration"))
    return {
        "lease_duration": duration,
        "renew_deadline": lease.seconds("renew"),
        "retry_period": lease.seconds("retry"),
    }


class _LostError(Exception):
    """Somebody else has the Lease: this process was stopped for long, or cut off."""


class _Election(leaderelection.LeaderElection):
    """The library's, with attempts that end.

    Attributes:
        renewed: when the last attempt that succeeded began, in seconds of the event loop's clock.
    """

    def __init__(self, config: Any, patience: float) -> None:
        super().__init__(config)
        self._patience = patience
        self.renewed = float("-inf")

    async def try_acquire_or_renew(self) -> bool:
        """Raises _LostError where the library would go on trying until its deadline."""
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self._patience):  # no wait_for: on Python 3.11 it swallows a cancellation
                done: bool = await super().try_acquire_or_renew()
        except (*CONNECTION_ERRORS, ValueError) as error:
            log.debug("lease: %r", error)
            return False
        if done:
            self.renewed = began
        elif self.renewed > float("-inf") and self._holder != self.election_config.lock.identity:
            raise _LostError
        return done

    @property
    def _holder(self) -> str | None:
        return self.observed_record.holder_identity if self.observed_record is not None else None


class Leadership:
    """The candidacy of this replica, and its duties while it leads."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        identity: str,
        lease: Lease,
        *,
        owner: Owner | None = None,
    ) -> None:
        """*identity* is what the Lease shows as its holder: the replica's name; *owner* is whom the Lease goes with."""
        self.identity = identity
        self._lease = lease
        self._lock = LeaseLock(client, namespace, lease.name, identity, owner)
        self._duties: dict[str, Duty] = {}
        self._watchers: list[Callable[[bool], None]] = []
        self._election: _Election | None = None
        self._leading = False
        self._performing: asyncio.Task[None] | None = None

    @property
    def is_leader(self) -> bool:
        """Whether this replica may write now: it leads, and its Lease has not run out unnoticed (a stopped process)."""
        if not self._leading or self._election is None:
            return False
        age = asyncio.get_running_loop().time() - self._election.renewed
        return age < self._lease.seconds("duration")

    def add_duty(self, name: str, duty: Duty) -> None:
        """Something that only the leader does."""
        self._duties[name] = duty

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call *callback* with True when this replica starts to lead, and with False when it stops."""
        self._watchers.append(callback)

    async def run(self) -> None:
        """Stand for election until it is cancelled; then give the Lease back."""
        # It tells every failed request as an error, with a traceback.
        logging.getLogger(leaderelection.__name__).setLevel(logging.CRITICAL)
        try:
            while True:
                self._election = _Election(self._config(), self._lease.seconds("retry"))
                with contextlib.suppress(_LostError):
                    await self._election.run()
                await self._stop()
                log.warning("lease %s was lost: this replica does not write any more", self._lease.name)
        finally:
            led = self.is_leader
            await self._stop()
            if led:
                await self._release()

    def _config(self) -> Any:
        return electionconfig.Config(
            self._lock,
            **times(self._lease),
            onstarted_leading=self._lead,
            onstopped_leading=None,  # type: ignore[arg-type] # it may be, see its run()
        )

    async def _lead(self) -> None:
        self._performing = asyncio.current_task()
        log.info("lease %s: this replica (%s) leads", self._lease.name, self.identity)
        self._set(leading=True)
        async with asyncio.TaskGroup() as tasks:
            for name, duty in self._duties.items():
                tasks.create_task(self._perform(name, duty), name=f"duty {name}")

    async def _stop(self) -> None:
        """The duties end; the library does not see to that where it is cancelled itself."""
        self._set(leading=False)
        performing, self._performing = self._performing, None
        if performing is not None:
            performing.cancel()
            await asyncio.wait([performing])

    async def _perform(self, name: str, duty: Duty) -> None:
        backoff = Backoff(0.2, 30.0)
        while True:
            try:
                await duty()
            except Exception as error:
                log.exception("%s: a bug, please report it", name, exc_info=error)
            await asyncio.sleep(backoff.next())

    def _set(self, *, leading: bool) -> None:
        if self._leading != leading:
            self._leading = leading
            for callback in self._watchers:
                callback(leading)

    async def _release(self) -> None:
        """Let the next one lead at once. What goes wrong is no matter: the Lease then runs out."""
        try:
            async with asyncio.timeout(2):
                await self._lock.release()
        except (*CONNECTION_ERRORS, ApiError) as error:
            log.debug("lease: not given back: %r", error)
