"""Pages of Envoys: fetched a few at a time, none waited for long; what cannot be had is ``None``."""

from __future__ import annotations

import asyncio
import json
from typing import Final

import aiohttp

from fairlead_operator.endpoints import admin
from fairlead_operator.endpoints.targets import Target

#: Seconds that an answer may take.
PATIENCE: Final = 3.0
_AT_ONCE: Final = 10
#: Bytes: some ten thousand endpoints.
_LARGEST: Final = 64 * 1024 * 1024


class Pages:
    """One for a survey: it bounds how many are asked at the same time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def clusters(self, target: Target) -> admin.Page | None:
        """How *target* sees its endpoints."""
        page = await self._get(target, admin.PATH)
        if page is None:
            return None
        try:
            return await asyncio.to_thread(lambda: admin.read(json.loads(page)))
        except (ValueError, RecursionError):
            return None

    async def unfit(self, target: Target) -> bool | None:
        """Whether *target* keeps any endpoint out: a small question, for those who ask often."""
        page = await self._get(target, admin.UNFIT_PATH)
        return None if page is None else admin.unfit(page.decode(errors="replace"))

    async def _get(self, target: Target, path: str) -> bytes | None:
        if not target.url:
            return None
        connector = aiohttp.UnixConnector(target.socket) if target.socket else None
        try:
            async with (
                self._slots,
                asyncio.timeout(PATIENCE),
                aiohttp.ClientSession(connector=connector) as session,
                session.get(target.url + path) as response,
            ):
                return await response.content.read(_LARGEST) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None
