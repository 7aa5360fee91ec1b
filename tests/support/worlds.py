"""Worlds of raw objects, and what they come to: for tests of the pure core."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from envoy.config.route.v3 import route_pb2

from fairlead_operator.api.meta import Ref
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import World
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.translate import Translator
from tests.support.manifests import NAMESPACE, Raw, endpoint, endpoint_slice, service


def world_of(*objects: Raw) -> World:
    world = World()
    for raw in objects:
        world.apply(raw)
    return world


def backend(name: str, *addresses: str) -> list[Raw]:
    """A Service with ready endpoints (default: one)."""
    return [service(name), endpoint_slice(name, 8080, [endpoint(a) for a in addresses or ("10.0.0.1",)])]


def policy_ref(name: str) -> Ref:
    return Ref("LoadBalancerPolicy", NAMESPACE, name)


def service_ref(name: str) -> Ref:
    return Ref("Service", NAMESPACE, name)


def in_namespace(raw: Raw, namespace: str) -> Raw:
    return raw | {"metadata": raw["metadata"] | {"namespace": namespace}}


def snapshots(world: World) -> dict[str, Snapshot]:
    """The reference: everything, from nothing."""
    return Translator().run(reconcile(world).proxies)


def bodies(snapshot: Snapshot) -> dict[tuple[TypeUrl, str], bytes]:
    return {(t, name): resource.body for t in TypeUrl for name, resource in snapshot.resources(t).items()}


def virtual_hosts(snapshot: Snapshot, table: str = "port-80/http") -> dict[str, Any]:
    """The virtual hosts of a route table by their (only) domain."""
    resource = snapshot.get(TypeUrl.ROUTE, table)
    assert resource is not None, f"no table {table}"
    message = route_pb2.RouteConfiguration.FromString(resource.body)
    return {host.domains[0]: host for host in message.virtual_hosts}


def targets(route: Any) -> dict[str, int]:
    """Cluster -> weight of a route (1 where there is one only)."""
    if route.route.HasField("weighted_clusters"):
        return {entry.name: entry.weight.value for entry in route.route.weighted_clusters.clusters}
    return {route.route.cluster: 1} if route.route.cluster else {}


def reasons(problems: Iterable[Any]) -> list[tuple[str, str]]:
    """``(reason, field path)`` of each problem."""
    return [(problem.reason, problem.path) for problem in problems]
