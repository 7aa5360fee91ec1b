"""Certificates that a proxy refused although we judged them good: the one that it took before stands in (DESIGN §8).

A proxy that has the earlier certificate keeps it by itself. One that starts now would have none, and its host would be down.
Used by ``loop``; no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fairlead_operator.api.meta import Ref
from fairlead_operator.quarantine import Refusal
from fairlead_xds.snapshot import Resource, Snapshot, TypeUrl

Form = tuple[str, str]


class RefusedSecrets:
    """The forms (name and version) of secrets that were refused, and the last good one of each name."""

    def __init__(self) -> None:
        self._refused: dict[Form, Refusal] = {}
        self._good: dict[str, Resource] = {}
        self._wanted: dict[str, Snapshot] = {}

    def refuse(self, secret: Resource, message: str, proxy: str) -> bool:
        """A proxy refused *secret*. True: that is new, so what stands in for it is to be served."""
        form = (secret.name, secret.version)
        known = form in self._refused
        self._refused.setdefault(form, Refusal(message, secret.name)).proxies.add(proxy)
        return not known

    def accept(self, secret: Resource) -> None:
        """A proxy took *secret*."""
        if (secret.name, secret.version) not in self._refused:
            self._good[secret.name] = secret

    def wanted(self, snapshots: dict[str, Snapshot]) -> None:
        """What is asked for now, by key; what concerns other secrets is forgotten."""
        self._wanted = snapshots
        secrets = [secret for snapshot in snapshots.values() for secret in snapshot.resources(TypeUrl.SECRET).values()]
        forms, names = {(secret.name, secret.version) for secret in secrets}, {secret.name for secret in secrets}
        self._refused = {form: why for form, why in self._refused.items() if form in forms}
        self._good = {name: secret for name, secret in self._good.items() if name in names}

    def stand_in(self, snapshot: Snapshot) -> Snapshot:
        """*snapshot* with the last good form in place of each refused one that has one."""
        refused = (snapshot.get(TypeUrl.SECRET, name) for name, _ in self._refused)
        instead = [
            replace(self._good[secret.name], origins=secret.origins)
            for secret in refused
            if secret is not None and secret.name in self._good and (secret.name, secret.version) in self._refused
        ]
        return snapshot.with_resources(instead) if instead else snapshot

    def refusal(self, policy: Ref, keys: Iterable[str]) -> Refusal | None:
        """Why a secret that *policy* asks for at *keys* is refused, if one is."""
        for key in keys:
            snapshot = self._wanted.get(key)
            for (name, version), refusal in self._refused.items():
                secret = snapshot.get(TypeUrl.SECRET, name) if snapshot is not None else None
                origins = secret.origins if secret is not None and secret.version == version else ()
                if any(origin.owner == tuple(policy) for origin in origins):
                    return refusal
        return None
