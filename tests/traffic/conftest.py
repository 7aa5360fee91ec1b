from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support import traffic


@pytest.fixture
async def world() -> AsyncIterator[traffic.World]:
    """A control plane that serves, with one real Envoy of gateway ``edge``."""
    async with traffic.world() as it:
        yield it
