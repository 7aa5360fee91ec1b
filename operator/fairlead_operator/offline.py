"""Manifests -> what Envoy would get and policies would say: the core without its shells, for people and goldens."""

from __future__ import annotations

from typing import Any

from fairlead_operator.api.meta import DecodeError, Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.api.pod_status import seconds_of
from fairlead_operator.bindings import survey
from fairlead_operator.reconcile import reconcile
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.sources.manifests import ManifestError, parse
from fairlead_operator.status import Rollout, Subject, kind_of, status
from fairlead_operator.world import World
from fairlead_xds import readable
from fairlead_xds.translate import translate as to_snapshot

#: Offline nothing happens at any time; statuses are compared by people and by tests.
NEVER = "1970-01-01T00:00:00Z"
#: Fields of metadata and status that say when something was; ``deletionTimestamp`` says when something will be.
_TIMES = frozenset(
    {"creationTimestamp", "time", "startTime", "startedAt", "finishedAt", "lastTransitionTime", "lastHeartbeatTime"}
)


class OfflineError(Exception):
    """A manifest that cannot be used: its file, line and field."""


def read(texts: list[tuple[str, str]], now: float | None = None) -> World:
    """The world that ``(name, text)`` files describe, as of *now*. Raises OfflineError.

    *now*: seconds since the epoch; ``None``: the newest time that the files tell of, so that they say the same every day.
    """
    world, objects = World(), []
    for name, text in texts:
        try:
            objects += [(name, raw) for raw in parse(text)]
        except ManifestError as error:
            raise OfflineError(f"{name}: {error}") from None
    world.now = max((newest(raw) for _, raw in objects), default=0.0) if now is None else now
    for name, raw in objects:
        try:
            world.apply(raw)
        except DecodeError as error:
            raise OfflineError(f"{name}: {error}") from None
    return world


def newest(raw: Any) -> float:
    """The newest time that an object tells of, in seconds since the epoch; 0: it tells of none."""
    match raw:
        case dict():
            own = (seconds_of(value) for name, value in raw.items() if name in _TIMES and isinstance(value, str))
            return max([*own, *(newest(value) for name, value in raw.items() if name != "spec")], default=0.0)
        case list():
            return max(map(newest, raw), default=0.0)
        case _:
            return 0.0


def translate(texts: list[tuple[str, str]], now: float | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """``(configuration by gateway and type, status by policy)``, as of *now* (see ``read``). Raises OfflineError."""
    world = read(texts, now)
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
