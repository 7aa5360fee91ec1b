"""A directory of manifests as a source: read, watched, and compared with what was there before.

A file with an error is reported and keeps its last good content. A generation is counted for each object, as the API
server would: it goes up when the spec changes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import watchfiles

from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.sources.manifests import ManifestError, parse

log = logging.getLogger(__name__)

SUFFIXES = (".yaml", ".yml", ".json")


class Sink(Protocol):
    """Who takes the objects: the control plane."""

    def apply(self, raw: dict[str, Any]) -> None: ...

    def delete(self, ref: Ref) -> None: ...


class Directory:
    """The manifests of one directory, not of those below it."""

    def __init__(
        self,
        path: Path,
        sink: Sink,
        *,
        on_error: Callable[[str], None] = log.error,
        on_mended: Callable[[str], None] = log.info,
    ) -> None:
        self.path = path
        self._sink, self._on_error, self._on_mended = sink, on_error, on_mended
        self._texts: dict[Path, str] = {}
        self._good: dict[Path, list[dict[str, Any]]] = {}
        self._errors: dict[Path, str] = {}
        self._clashes: dict[Path, str] = {}
        self._known: dict[Ref, dict[str, Any]] = {}
        self._owners: dict[Ref, Path] = {}
        self._generations: dict[Ref, int] = {}

    @property
    def errors(self) -> list[str]:
        """What is wrong with the files now, as it was reported."""
        return [found[path] for found in (self._errors, self._clashes) for path in sorted(found)]

    def scan(self) -> None:
        """Read what changed and hand on the difference."""
        found = {path for path in self.path.iterdir() if path.suffix in SUFFIXES and path.is_file()}
        for path in sorted(found):
            self._read(path)
        memories: tuple[dict[Path, Any], ...] = (self._texts, self._good, self._errors)
        for memory in memories:
            for path in memory.keys() - found:
                del memory[path]
        self._hand_on()

    async def watch(self, stop: asyncio.Event) -> None:
        """Scan after each change until *stop* is set."""
        async for _ in watchfiles.awatch(self.path, stop_event=stop, debounce=50, step=10, recursive=False):
            try:
                self.scan()
            except OSError as error:
                self._on_error(f"{self.path}: {error.strerror}: keeping what was read")

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self._texts.pop(path, None)  # so that it is read again when it is as before
            self._report(path, f"cannot be read: {error}")
            return
        if self._texts.get(path) == text:
            return
        self._texts[path] = text
        try:
            self._good[path] = parse(text)
        except ManifestError as error:
            self._report(path, str(error))
        else:
            if self._errors.pop(path, None) is not None:
                self._on_mended(f"{path.name}: is read again")

    def _report(self, path: Path, error: str) -> None:
        kept = "; its last good content stays" if path in self._good else ""
        message = f"{path.name}: {error}{kept}"
        if self._errors.get(path) != message:
            self._errors[path] = message
            self._on_error(message)

    def _hand_on(self) -> None:
        now: dict[Ref, dict[str, Any]] = {}
        owners: dict[Ref, Path] = {}
        clashes: dict[Path, str] = {}
        for path in sorted(self._good):
            for raw in self._good[path]:
                ref = ref_of(raw)
                if ref in now:
                    clashes[path] = f"{path.name}: {ref} stands in {owners[ref].name} too: that one counts"
                    continue
                now[ref], owners[ref] = raw, path
        for path, message in clashes.items():
            if self._clashes.get(path) != message:
                self._on_error(message)
        self._clashes = clashes
        for ref in self._known.keys() - now.keys():
            self._generations.pop(ref, None)
            self._sink.delete(ref)
        for ref, raw in now.items():
            if self._known.get(ref) != raw:
                self._sink.apply(self._with_generation(ref, raw))
        self._known, self._owners = now, owners

    def _with_generation(self, ref: Ref, raw: dict[str, Any]) -> dict[str, Any]:
        if self._known.get(ref, {}).get("spec") != raw.get("spec") or ref not in self._generations:
            self._generations[ref] = self._generations.get(ref, 0) + 1
        return raw | {"metadata": raw["metadata"] | {"generation": self._generations[ref]}}
