"""A Lease (coordination.k8s.io/v1) as the lock of the Kubernetes client's leader election.

The client's own LeaseLock cannot create one (its ``pretty=True`` is refused by its own validation in version 37), writes
local time as UTC, and cannot name an owner.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.leaderelection.leaderelectionrecord import LeaderElectionRecord
from kubernetes.aio.leaderelection.resourcelock.baselock import BaseLock

from fairlead_operator.sources.client import ApiError, KubeClient

PATH: Final = "/apis/coordination.k8s.io/v1/namespaces"

#: The ownerReference of the Lease, asked for when it is made; ``None``: it has no owner.
Owner = Callable[[], Awaitable[Mapping[str, Any] | None]]


class LeaseLock(BaseLock):
    """One Lease. Connection errors go through; the election above takes them for a failed attempt."""

    def __init__(
        self, client: KubeClient, namespace: str, name: str, identity: str, owner: Owner | None = None
    ) -> None:
        super().__init__(name, namespace, identity)
        self._client, self._owner = client, owner
        self._path = f"{PATH}/{namespace}/leases"
        self._last: dict[str, Any] = {}

    async def get(self, name: str, namespace: str) -> tuple[bool, Any]:  # noqa: ARG002 - the interface has it
        """What it says; ``(True, None)``: nobody holds it."""
        try:
            self._last = await self._client.get(f"{self._path}/{name}")
        except ApiError as error:
            failed = ApiException(status=error.status, reason=error.message)
            failed.body = json.dumps({"code": error.status})  # the election looks for the code of "not found" here
            return False, failed
        spec = self._last.get("spec") or {}
        if not spec.get("holderIdentity"):
            return True, None
        known = [spec.get(key) for key in ("holderIdentity", "leaseDurationSeconds", "acquireTime", "renewTime")]
        return True, LeaderElectionRecord(*(None if value is None else str(value) for value in known))

    async def create(self, name: str, namespace: str, election_record: LeaderElectionRecord) -> bool:
        """Whether it is there now, and ours."""
        owner = await self._owner() if self._owner is not None else None
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": [owner] if owner else []},
            "spec": self._spec({}, election_record),
        }
        return await self._written(self._client.create(self._path, lease))

    async def update(self, name: str, namespace: str, updated_record: LeaderElectionRecord) -> bool:  # noqa: ARG002
        """Whether it is ours now. The version that was read is a precondition: of two who try, one succeeds."""
        spec = self._spec(self._last.get("spec") or {}, updated_record)
        return await self._written(self._client.replace(f"{self._path}/{name}", {**self._last, "spec": spec}))

    async def release(self) -> None:
        """Hold it no more. Raises ApiError."""
        held = await self._client.get(f"{self._path}/{self.name}")
        if (held.get("spec") or {}).get("holderIdentity") == self.identity:
            spec = {**held["spec"], "holderIdentity": ""}
            await self._client.replace(f"{self._path}/{self.name}", {**held, "spec": spec})

    @staticmethod
    async def _written(request: Any) -> bool:
        try:
            await request
        except ApiError:
            return False
        return True

    @staticmethod
    def _spec(before: dict[str, Any], record: LeaderElectionRecord) -> dict[str, Any]:
        now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == record.holder_identity
        changes = int(before.get("leaseTransitions") or 0)
        return {
            **before,
            "holderIdentity": record.holder_identity,
            "leaseDurationSeconds": int(record.lease_duration or 0),
            "acquireTime": before["acquireTime"] if same and before.get("acquireTime") else now,
            "renewTime": now,
            "leaseTransitions": changes if same or not before else changes + 1,
        }
