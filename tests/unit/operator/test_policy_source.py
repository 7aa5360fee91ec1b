"""The source of policies as a task of the operator."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.client import KubeClient
from fairlead_operator.sources.policies import PolicySource

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
