"""``ProxyConfig`` -> ``Snapshot``: one assembly expression for each Envoy resource.

A :class:`Translator` remembers the bytes of every value that it met in its last run, so that one changed policy costs
one policy. The memory holds only what the last run used, and forgetting it changes nothing but time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from fairlead_xds import names
from fairlead_xds.model import LoadAssignment, ProxyConfig
from fairlead_xds.snapshot import Origin, Resource, Snapshot, TypeUrl
from fairlead_xds.translate import captured, cluster, endpoints, listener, route, secret
from fairlead_xds.translate.followed import Followed

V = TypeVar("V", bound=Hashable)


class Translator:
    """Translation with a memory of one run. Pure: the same ``ProxyConfig`` always gives the same bytes."""

    def __init__(self) -> None:
        self._followed = Followed()
        self._last: dict[Hashable, bytes] = {}
        self._bodies: dict[Hashable, bytes] = {}

    def run(self, configs: dict[str, ProxyConfig]) -> dict[str, Snapshot]:
        """A snapshot for each key."""
        self._followed.forget()
        self._last, self._bodies = self._bodies, {}
        snapshots = {key: Snapshot.of(self._resources(config)) for key, config in configs.items()}
        self._last = {}
        return snapshots

    def load_assignment(self, assignment: LoadAssignment) -> Resource:
        """One load assignment, again and again: what the endpoint lane sends."""
        body = self._followed.encode(assignment)
        return Resource(TypeUrl.ENDPOINT, assignment.name, body, assignment.origins)

    def _body(self, value: V, encode: Callable[[V], bytes]) -> bytes:
        body = self._bodies.get(value)
        if body is None:
            body = self._last.get(value)
            body = encode(value) if body is None else body
            self._bodies[value] = body
        return body

    def _resources(self, config: ProxyConfig) -> Iterable[Resource]:
        for backend in config.backends:
            body = self._body(backend, cluster.cluster)
            yield Resource(TypeUrl.CLUSTER, backend.name, body, backend.origins, prompt=cluster.prompt(backend))
        if config.captured:
            yield Resource(TypeUrl.CLUSTER, names.PASSTHROUGH, captured.passthrough_cluster())
        for assignment in config.assignments:
            body = endpoints.cluster_load_assignment(assignment)
            yield Resource(TypeUrl.ENDPOINT, assignment.name, body, assignment.origins)
        for value in config.secrets:
            yield Resource(TypeUrl.SECRET, value.name, self._body(value, secret.secret), value.origins)
        for entry in config.listeners:
            origins = _union(chain.origins for chain in entry.chains)
            yield Resource(TypeUrl.LISTENER, entry.name, self._body(entry, listener.listener), origins)
        for taken in config.captured:
            origins = _union(chain.origins for chain in taken.chains)
            yield Resource(TypeUrl.LISTENER, taken.name, self._body(taken, captured.listener), origins)
        for table in config.route_tables:
            hosts = [self._body(host, route.virtual_host) for host in table.virtual_hosts]
            origins = _union(host.origins for host in table.virtual_hosts)
            yield Resource(TypeUrl.ROUTE, table.name, route.route_configuration(table.name, hosts), origins)


def _union(origins: Iterable[tuple[Origin, ...]]) -> tuple[Origin, ...]:
    return tuple(sorted({origin for some in origins for origin in some}))


def translate(config: ProxyConfig) -> Snapshot:
    """One configuration from nothing: the reference that every shortcut is held against."""
    return Translator().run({"": config})[""]
