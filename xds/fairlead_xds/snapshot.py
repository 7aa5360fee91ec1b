"""What a group of proxies should have: immutable resources with content-hash versions, and the difference of two sets.

Translation makes snapshots, the protocol serves them; the two meet only here. All proxies of one key (one gateway)
share one Snapshot object, so whatever is computed on it is computed once, not once a stream.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from fairlead_xds.wire import delimited


class TypeUrl(enum.StrEnum):
    """The resource types that are served, in the order of make-before-break (XDS_RULES 43)."""

    CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    ENDPOINT = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
    SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105 - a type, not a secret
    LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
    ROUTE = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"

    @property
    def short(self) -> str:
        """The last part of the name, for people: ``Cluster``."""
        return self.value.rpartition(".")[2]


@dataclass(frozen=True, slots=True, order=True)
class Origin:
    """Who asked for a resource: the object, its generation, and the field that the resource comes from."""

    kind: str
    namespace: str
    name: str
    generation: int = 0
    field: str = ""

    @property
    def owner(self) -> tuple[str, str, str]:
        """The object, whatever its generation: ``(kind, namespace, name)``."""
        return (self.kind, self.namespace, self.name)


@dataclass(frozen=True)
class Resource:
    """One xDS resource as ready bytes.

    Attributes:
        type_url: its type.
        name: unique in its type and snapshot.
        body: the serialized message (the value of the ``Any``).
        origins: who asked for it; not part of the bytes, so it never makes a version change.
        prompt: a cluster that is in place as soon as it has its load assignment: it waits for no check, and for no secret.
    """

    type_url: TypeUrl
    name: str
    body: bytes = field(repr=False)
    origins: tuple[Origin, ...] = ()
    prompt: bool = False

    @cached_property
    def version(self) -> str:
        """Hash of the bytes: replicas and restarts agree on it (XDS_RULES 40)."""
        return hashlib.blake2b(self.body, digest_size=8).hexdigest()

    @cached_property
    def sotw_wire(self) -> bytes:
        """This resource as one entry of ``DiscoveryResponse.resources`` (field 2, an Any)."""
        return delimited(2, self._any)

    @cached_property
    def delta_wire(self) -> bytes:
        """This resource as one entry of ``DeltaDiscoveryResponse.resources`` (field 2, a ``Resource``)."""
        version, name = self.version.encode(), self.name.encode()
        # envoy.service.discovery.v3.Resource: version = 1, resource = 2, name = 3.
        return delimited(2, delimited(1, version) + delimited(2, self._any) + delimited(3, name))

    @property
    def _any(self) -> bytes:
        return delimited(1, self.type_url.value.encode()) + delimited(2, self.body)

    @cached_property
    def fingerprint(self) -> int:
        """64 bits of (name, version); the exclusive or of a type's fingerprints is its SotW version."""
        digest = hashlib.blake2b(f"{self.name}\0{self.version}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big")


_NOTHING: Mapping[str, Resource] = MappingProxyType({})


@dataclass(frozen=True)
class Snapshot:
    """Everything that the proxies of one key should have. Never mutated: ``with_resources`` gives a new one."""

    by_type: Mapping[TypeUrl, Mapping[str, Resource]] = field(default_factory=dict)
    _versions: dict[TypeUrl, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    _version_texts: dict[TypeUrl, str] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, resources: Iterable[Resource]) -> Snapshot:
        """A snapshot of *resources*; two of one type and name are a bug of the caller."""
        by_type: dict[TypeUrl, dict[str, Resource]] = {}
        for resource in resources:
            named = by_type.setdefault(resource.type_url, {})
            assert resource.name not in named, f"{resource.type_url.short} {resource.name} twice"
            named[resource.name] = resource
        return cls(by_type)

    def resources(self, type_url: TypeUrl) -> Mapping[str, Resource]:
        """The resources of one type by name."""
        return self.by_type.get(type_url, _NOTHING)

    def get(self, type_url: TypeUrl, name: str) -> Resource | None:
        return self.resources(type_url).get(name)

    def with_resources(self, resources: Iterable[Resource]) -> Snapshot:
        """This snapshot with *resources* added or replaced; other types are shared, not copied."""
        by_type = dict(self.by_type)
        versions = dict(self._versions)
        for resource in resources:
            named = by_type.get(resource.type_url)
            if named is self.by_type.get(resource.type_url):
                named = dict(named or {})
                by_type[resource.type_url] = named
            assert isinstance(named, dict)
            replaced = named.get(resource.name)
            named[resource.name] = resource
            if resource.type_url in versions:
                versions[resource.type_url] ^= resource.fingerprint ^ (replaced.fingerprint if replaced else 0)
        snapshot = Snapshot(by_type)
        snapshot._versions.update(versions)  # what they were found from is known: a change costs what it changes
        return snapshot

    def type_version(self, type_url: TypeUrl) -> str:
        """SotW ``version_info`` of a type: changes when, and only when, a resource of it changes (XDS_RULES 7)."""
        text = self._version_texts.get(type_url)
        if text is None:
            if type_url not in self._versions:
                total = 0
                for resource in self.resources(type_url).values():
                    total ^= resource.fingerprint
                self._versions[type_url] = total
            text = self._version_texts[type_url] = f"{self._versions[type_url]:016x}"
        return text


EMPTY = Snapshot()


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs between two snapshots: for each type, name -> version before (``None``: it did not exist).

    The version after is read from the newer snapshot (absent there: removed).
    """

    before: Mapping[TypeUrl, Mapping[str, str | None]]

    def __bool__(self) -> bool:
        return any(self.before.values())

    def names(self, type_url: TypeUrl) -> Mapping[str, str | None]:
        return self.before.get(type_url, {})


def diff(old: Snapshot, new: Snapshot) -> Changes:
    """Names whose bytes differ between *old* and *new*, with their version in *old*."""
    before: dict[TypeUrl, dict[str, str | None]] = {}
    for type_url in TypeUrl:
        was, now = old.resources(type_url), new.resources(type_url)
        if was is now:
            continue
        changed: dict[str, str | None] = {}
        for name, resource in now.items():
            previous = was.get(name)
            if previous is resource:
                continue
            if previous is None:
                changed[name] = None
            elif previous.version != resource.version:
                changed[name] = previous.version
        changed.update({name: previous.version for name, previous in was.items() if name not in now})
        if changed:
            before[type_url] = changed
    return Changes(before)
