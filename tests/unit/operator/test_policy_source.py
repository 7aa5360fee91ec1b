"""The source of policies as a task of the operator."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import urlencode

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.client import KubeClient
from fairlead_operator.sources.policies import PolicySource
from tests.support.rights import Right, asked

pytestmark = pytest.mark.timeout(10)


class Nothing:
    """A cluster without policies, and a sink for them."""

    async def get(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {"items": [], "metadata": {}}

    def apply(self, raw: dict[str, Any]) -> None:
        raise AssertionError

    def delete(self, ref: Ref) -> None:
        raise AssertionError


async def test_it_ends_when_it_is_told_to_in_the_moment_in_which_a_sweep_is_asked_for() -> None:
    """kopf asks for one when it starts. ``asyncio.wait_for`` of Python 3.11 swallowed the cancellation: SIGTERM hung."""
    nothing = Nothing()
    source = PolicySource(cast("KubeClient", nothing), nothing)
    task = asyncio.create_task(source.run())
    await source.synced.wait()
    for _ in range(20):
        await asyncio.sleep(0)
    source.sweep_soon()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=2)
    assert done


class Missed:
    """A cluster with a policy that no watch told of; it keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Right | None] = []
        self.items: list[dict[str, Any]] = []
        self.applied: list[dict[str, Any]] = []

    async def get(self, path: str, query: dict[str, str] | None = None, **_: Any) -> dict[str, Any]:
        self.asked.append(asked("GET", f"{path}?{urlencode(query or {})}"))
        return {"items": self.items, "metadata": {}}

    def apply(self, raw: dict[str, Any]) -> None:
        self.applied.append(raw)

    def delete(self, ref: Ref) -> None:
        raise AssertionError


async def test_a_sweep_reads_what_was_missed_with_the_right_to_list_alone() -> None:
    """The chart grants no other: a ``get`` would be refused, and the policy never be read."""
    missed = Missed()
    source = PolicySource(cast("KubeClient", missed), missed)
    policy = {"metadata": {"namespace": "shop", "name": "web", "uid": "1", "resourceVersion": "7", "generation": 1}}
    missed.items.append(policy)
    await source.sweep()
    assert missed.applied == [policy]
    resource = "loadbalancerpolicies.fairlead.dev"
    assert missed.asked == [Right("list", resource), Right("list", resource, "web", "shop")]
