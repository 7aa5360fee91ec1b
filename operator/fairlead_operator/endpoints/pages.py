"""Pages of Envoys: fetched side by side, none waited for long, few of them large; what cannot be had is ``None``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Final, TypeVar

import aiohttp

from fairlead_operator.endpoints import admin
from fairlead_operator.endpoints.targets import Target

#: Seconds until a small page has to be there, or the beginning of a large one; and from then on until the rest is.
PATIENCE: Final = 3.0
PATIENCE_LARGE: Final = 1.0
#: Bytes: some three thousand endpoints, and their gauges. Whoever owns a pod may answer in its sidecar's place, as much as it
#: likes, and JSON takes twenty times its size.
LARGEST: Final = 4 * 1024 * 1024
LARGEST_GAUGES: Final = 1024 * 1024
#: Bytes of a page that are read whoever else answers; of a larger one the rest waits for its turn.
SMALL: Final = 64 * 1024
#: Pages that are waited for at the same time: silent ones delay nobody else. Of large ones few are there at once.
AT_ONCE: Final = 50
LARGE_AT_ONCE: Final = 3

_T = TypeVar("_T")


class Pages:
    """One for everybody who asks again and again: it bounds how many are asked at the same time, and what they may answer."""

    def __init__(self) -> None:
        self._slots, self._large = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(LARGE_AT_ONCE)
        self._reading = asyncio.Semaphore(1)

    async def clusters(self, target: Target, pick: Callable[[admin.Page], _T]) -> _T | None:
        """What *pick*, called in another thread, takes of how *target* sees its endpoints; the rest is not kept."""
        return await self._get(target, admin.PATH, LARGEST, lambda page: pick(admin.read(json.loads(page))))

    async def unfit(self, target: Target) -> bool | None:
        """Whether *target* keeps any endpoint out: a small question, for those who ask often."""
        path = admin.UNFIT_PATH
        return await self._get(target, path, LARGEST_GAUGES, lambda page: admin.unfit(page.decode(errors="replace")))

    async def _get(self, target: Target, path: str, largest: int, read: Callable[[bytes], _T]) -> _T | None:
        if not target.url:
            return None
        connector = aiohttp.UnixConnector(target.socket) if target.socket else None
        try:
            async with self._slots, aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
                async with asyncio.timeout(PATIENCE):
                    response = await session.get(target.url + path, allow_redirects=False)
                    if response.status != 200:
                        return None
                    parts: list[bytes] = []
                    whole = await _read(response.content, parts, SMALL)
                if whole:
                    return await self._aside(read, parts)
                async with self._large:  # until it is read: it is forgotten then
                    async with asyncio.timeout(PATIENCE_LARGE):
                        whole = await _read(response.content, parts, largest)
                    return await self._aside(read, parts) if whole else None
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError):
            return None

    async def _aside(self, read: Callable[[bytes], _T], parts: list[bytes]) -> _T:
        """One after the other, in another thread."""
        async with self._reading:
            return await asyncio.to_thread(read, b"".join(parts))


async def _read(content: aiohttp.StreamReader, parts: list[bytes], most: int) -> bool:
    """Add to *parts* until they are more than *most* bytes, or all: then true."""
    size = sum(map(len, parts))
    while size <= most:
        part = await content.readany()
        if not part:
            return True
        parts.append(part)
        size += len(part)
    return False
