"""Who leads, with a real Lease: one at a time, the next one at once when a leader ends, in the Lease's time when it dies."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from fairlead_operator.api.config import Lease
from fairlead_operator.leader import Leadership
from fairlead_operator.sources.client import connect
from tests.support.api_proxy import ApiProxy
from tests.support.kube import Cluster
from tests.support.operating import eventually

#: The shortest that the library takes.
LEASE = Lease(name="leader", duration="4s", renew="2s", retry="1s")


class _Replica:
    """One candidate with a duty that shows when it runs."""

    def __init__(self, leadership: Leadership) -> None:
        self.leadership = leadership
        self.performing = False
        self.changes: list[bool] = []
        leadership.add_duty("probe", self._perform)
        leadership.on_change(self.changes.append)
        self.task = asyncio.create_task(leadership.run())

    async def _perform(self) -> None:
        self.performing = True
        try:
            await asyncio.Event().wait()
        finally:
            self.performing = False

    async def end(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@contextlib.asynccontextmanager
async def _replica(kubeconfig: str, namespace: str, name: str) -> AsyncIterator[_Replica]:
    client = await connect(kubeconfig)
    replica = _Replica(Leadership(client, namespace, name, LEASE))
    try:
        yield replica
    finally:
        await replica.end()
        await client.close()


async def test_one_leads_and_gives_the_lease_back(kube: Cluster, namespace: str) -> None:
    path = str(kube.kubeconfig)
    async with _replica(path, namespace, "one") as one:
        await eventually(lambda: one.performing, "the first leads")
        async with _replica(path, namespace, "two") as two:
            await asyncio.sleep(0)
            assert one.leadership.is_leader
            assert not two.leadership.is_leader

            await one.end()

            # Well before the four seconds of the lease: the next attempt finds it free.
            await eventually(lambda: two.performing, "the second leads", seconds=3)
            assert not one.performing
            assert one.changes == [True, False]
            assert two.changes == [True]


async def test_a_leader_that_is_cut_off_stops_before_the_next_one_starts(
    kube: Cluster, namespace: str, proxy: ApiProxy
) -> None:
    async with _replica(str(proxy.kubeconfig), namespace, "cut-off") as one:
        await eventually(lambda: one.performing, "the first leads")
        async with _replica(str(kube.kubeconfig), namespace, "two") as two:
            proxy.refuse("leases")

            overlap = False
            while not two.performing:
                overlap |= two.leadership.is_leader and one.leadership.is_leader
                await asyncio.sleep(0.01)

            assert not overlap
            assert not one.performing
            assert not one.leadership.is_leader
            assert two.leadership.is_leader

            proxy.allow("leases")
            await asyncio.sleep(1.5)  # it stands again, and finds that somebody leads
            assert not one.leadership.is_leader
            assert two.leadership.is_leader


async def test_a_duty_that_fails_is_started_again(kube: Cluster, namespace: str) -> None:
    runs = 0

    async def failing() -> None:
        nonlocal runs
        runs += 1
        raise RuntimeError("on purpose")

    client = await connect(str(kube.kubeconfig))
    leadership = Leadership(client, namespace, "one", LEASE)
    leadership.add_duty("failing", failing)
    task = asyncio.create_task(leadership.run())
    try:
        await eventually(lambda: runs >= 2, "it ran again")
        assert leadership.is_leader
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await client.close()
