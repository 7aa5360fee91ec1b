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
#: Bytes: some three thousand endpoints, and their gauges. Whoever owns a pod may answer in its sidecar's place, as much as it
#: likes, and JSON takes twenty times its size.
LARGEST: Final = 4 * 1024 * 1024
LARGEST_GAUGES: Final = 1024 * 1024
#: Small pages at the same time; large ones come, and are read, one after the other.
_AT_ONCE: Final = 10


class Pages:
    """One for everybody who asks again and again: it bounds how many are asked at the same time."""

    def __init__(self) -> None:
        self._slots, self._large = asyncio.Semaphore(_AT_ONCE), asyncio.Semaphore(1)

    async def clusters(self, target: Target) -> admin.Page | None:
        """How *target* sees its endpoints."""
        async with self._large:
            page = await self._get(target, admin.PATH, LARGEST)
            if page is None:
                return None
            try:
                return await asyncio.to_thread(lambda: admin.read(json.loads(page)))
            except (ValueError, RecursionError):
                return None

    async def unfit(self, target: Target) -> bool | None:
        """Whether *target* keeps any endpoint out: a small question, for those who ask often."""
        page = await self._get(target, admin.UNFIT_PATH, LARGEST_GAUGES)
        return None if page is None else await asyncio.to_thread(admin.unfit, page.decode(errors="replace"))

    async def _get(self, target: Target, path: str, largest: int) -> bytes | None:
        if not target.url:
            return None
        connector = aiohttp.UnixConnector(target.socket) if target.socket else None
        try:
            async with (
                self._slots,
                asyncio.timeout(PATIENCE),
                aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
                session.get(target.url + path, allow_redirects=False) as response,
            ):
                return await _whole(response.content, largest) if response.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return None


async def _whole(content: aiohttp.StreamReader, largest: int) -> bytes | None:
    """All of it; ``None``: it is too large."""
    parts, size = [], 0
    async for part in content.iter_any():
        parts.append(part)
        size += len(part)
        if size > largest:
            return None
    return b"".join(parts)
