"""The current snapshot of every key, and who wants to hear of a new one.

The control plane publishes here, the server's streams subscribe. Not thread-safe: everything happens in the thread of
the server's event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fairlead_xds.snapshot import EMPTY, Changes, Resource, Snapshot, TypeUrl, diff

NO_CHANGES = Changes({})


@dataclass(slots=True)
class _Entry:
    """One key. ``since`` remembers the way from earlier snapshots to the current one: streams share few of them."""

    snapshot: Snapshot = EMPTY
    since: dict[int, tuple[Snapshot, Changes]] = field(default_factory=dict)
    listeners: dict[int, Callable[[], None]] = field(default_factory=dict)

    def replace(self, snapshot: Snapshot, changes: Changes) -> None:
        previous, self.snapshot = self.snapshot, snapshot
        self.since = {id(previous): (previous, changes)}


class Store:
    """Snapshots by key (the name of a gateway, the identity of a sidecar's workload).

    Attributes:
        open: whether proxies are served at all. Until every source has listed once, a snapshot says too little, and
            serving it would take from proxies what they have. Once open, a key that nobody published for is empty.
    """

    def __init__(self) -> None:
        self.open = False
        self._entries: dict[str, _Entry] = {}
        self._tokens = 0
        self._when_open: list[Callable[[], None]] = []

    def set_open(self) -> None:
        """Every source has listed once, and its snapshots are published: serve from now on."""
        self.open = True
        waiting, self._when_open = self._when_open, []
        for callback in waiting:
            callback()

    def when_open(self, callback: Callable[[], None]) -> None:
        """Call *callback* as soon as the store is open: now, if it is."""
        if self.open:
            callback()
        else:
            self._when_open.append(callback)

    def keys(self) -> list[str]:
        """The keys for which something was published."""
        return [key for key, entry in self._entries.items() if entry.snapshot is not EMPTY]

    def current(self, key: str) -> Snapshot:
        """What the proxies of *key* should have."""
        entry = self._entries.get(key)
        return entry.snapshot if entry is not None else EMPTY

    def changes(self, key: str, since: Snapshot) -> Changes:
        """What differs between *since* and the current snapshot; found once for all streams that are as far behind."""
        entry = self._entries.get(key)
        if entry is None:
            return diff(since, EMPTY)
        remembered = entry.since.get(id(since))
        if remembered is None:
            remembered = entry.since[id(since)] = (since, diff(since, entry.snapshot))
        return remembered[1]

    def publish(self, key: str, snapshot: Snapshot) -> Changes:
        """Make *snapshot* the current one; subscribers hear of it if any bytes differ."""
        entry = self._entries.setdefault(key, _Entry())
        changes = diff(entry.snapshot, snapshot)
        entry.replace(snapshot, changes)  # also when equal: the origins of the resources may be newer
        if changes:
            _tell(entry)
        return changes

    def publish_resources(self, key: str, resources: Iterable[Resource]) -> Changes:
        """Add or replace single resources: the endpoint lane. Costs what *resources* cost."""
        entry = self._entries.setdefault(key, _Entry())
        old = entry.snapshot
        resources = list(resources)
        before: dict[TypeUrl, dict[str, str | None]] = {}
        for resource in resources:
            previous = old.get(resource.type_url, resource.name)
            if previous is None or previous.version != resource.version:
                version = previous.version if previous is not None else None
                before.setdefault(resource.type_url, {})[resource.name] = version
        if not before:
            return NO_CHANGES
        changes = Changes(before)
        entry.replace(old.with_resources(resources), changes)
        _tell(entry)
        return changes

    def remove(self, key: str) -> Changes:
        """Nothing concerns *key* any more: its proxies get an empty configuration."""
        if key not in self._entries:
            return NO_CHANGES
        changes = self.publish(key, EMPTY)
        self._prune(key)
        return changes

    def retain(self, keys: Iterable[str]) -> dict[str, Changes]:
        """Remove all other keys. What that changed, by key."""
        kept = set(keys)
        return {key: self.remove(key) for key in [key for key in self._entries if key not in kept]}

    def subscribe(self, key: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call *callback* after each change of *key*, until the function that is returned is called."""
        self._tokens += 1
        token = self._tokens
        self._entries.setdefault(key, _Entry()).listeners[token] = callback

        def unsubscribe() -> None:
            entry = self._entries.get(key)
            if entry is not None:
                entry.listeners.pop(token, None)
                self._prune(key)

        return unsubscribe

    def _prune(self, key: str) -> None:
        entry = self._entries[key]
        if entry.snapshot is EMPTY and not entry.listeners:
            del self._entries[key]


def _tell(entry: _Entry) -> None:
    for callback in list(entry.listeners.values()):
        callback()
