"""Manifests -> what Envoy would get and policies would say: the core without its shells, for people and goldens."""

from __future__ import annotations

from typing import Any

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.bindings import survey
from fairlead_operator.reconcile import Reconciled, reconcile
from fairlead_operator.sources.manifests import ManifestError, parse
from fairlead_operator.status import Rollout, Subject, kind_of, status
from fairlead_operator.world import World
from fairlead_xds import readable
from fairlead_xds.translate import translate as to_snapshot

#: Offline nothing happens at any time; statuses are compared by people and by tests.
NEVER = "1970-01-01T00:00:00Z"


class OfflineError(Exception):
    """A manifest that cannot be used: its file, line and field."""


def read(texts: list[tuple[str, str]]) -> World:
    """The world that ``(name, text)`` files describe. Raises OfflineError."""
    world = World()
    for name, text in texts:
        try:
            for raw in parse(text):
                world.apply(raw)
        except ManifestError as error:
            raise OfflineError(f"{name}: {error}") from None
    return world


def translate(texts: list[tuple[str, str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(configuration by gateway and type, status by policy)``. Raises OfflineError."""
    world = read(texts)
    done = reconcile(world)
    xds = {key: readable.snapshot(to_snapshot(config)) for key, config in sorted(done.proxies.items())}
    return xds, {f"{ref.namespace}/{ref.name}": _status(world, done, ref) for ref in sorted(world.policies)}


def _status(world: World, done: Reconciled, ref: Ref) -> dict[str, Any]:
    policy = world.policies[ref]
    subject = Subject(policy.generation, *(kind_of(policy) if isinstance(policy, LoadBalancerPolicy) else ("", "")))
    rollout = Rollout(tuple(sorted(done.gateways.get(ref, ()))))
    return status(
        subject, done.findings[ref], rollout, survey(world, done.clusters.get(ref, ())), previous={}, now=NEVER
    )
