"""``LoadAssignment`` -> ``envoy.config.endpoint.v3.ClusterLoadAssignment``: the hot path.

An endpoint's bytes are made once and remembered by value, so a change of one endpoint among many costs one endpoint and
a concatenation. Written with upb instead of the typed binding, which is eighty times slower.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping

from envoy.config.core.v3 import base_pb2
from envoy.config.endpoint.v3 import endpoint_components_pb2, endpoint_pb2

from fairlead_xds.features import active, failover
from fairlead_xds.features.endpoints import HEALTH_STATUS, Health
from fairlead_xds.model import NOT_ASKED, Endpoint, LoadAssignment
from fairlead_xds.wire import VARINT, delimited, tag, varint

# envoy.config.endpoint.v3: ClusterLoadAssignment {cluster_name = 1, endpoints = 2, policy = 4},
# LocalityLbEndpoints {locality = 1, lb_endpoints = 2, priority = 5}.
_CLUSTER_NAME, _ENDPOINTS, _POLICY, _LOCALITY, _LB_ENDPOINTS, _PRIORITY = 1, 2, 4, 1, 2, 5

Group = tuple[int, str]
"""Priority and zone: what is a ``LocalityLbEndpoints``."""

address_and_port, group = operator.itemgetter(0, 1), operator.itemgetter(6, 4)


def cluster_load_assignment(assignment: LoadAssignment) -> bytes:
    """The load assignment, endpoints in the order of their zone and address, so that equal sets give equal bytes."""
    groups: dict[Group, list[bytes]] = {}
    for endpoint in sorted(assignment.endpoints, key=address_and_port):
        groups.setdefault(group(endpoint), []).append(lb_endpoint(endpoint, assignment.named))
    degraded = any(endpoint.health is Health.DEGRADED for endpoint in assignment.endpoints)
    return assembled(assignment, {key: b"".join(parts) for key, parts in groups.items()}, degraded=degraded)


def assembled(assignment: LoadAssignment, groups: Mapping[Group, bytes], *, degraded: bool) -> bytes:
    """The same, of what is known of *assignment*'s endpoints already: the bytes of each group, and whether one is degraded."""
    parts = [delimited(_CLUSTER_NAME, assignment.name.encode())]
    for priority, zone in sorted(groups):
        body = _locality(zone) + groups[priority, zone]
        parts.append(delimited(_ENDPOINTS, body + (tag(_PRIORITY, VARINT) + varint(priority) if priority else b"")))
    if degraded:
        # One healthy endpoint is enough for all traffic: Envoy's factor of 140 %, or that of the failover, would give degraded
        # endpoints a share as soon as fewer than 71 % are healthy.
        parts.append(_overprovisioned(max(140, 100 * len(assignment.endpoints))))
    elif assignment.failover:
        parts.append(_overprovisioned(failover.overprovisioning_factor(assignment.failover)))
    return b"".join(parts)


def _overprovisioned(factor: int) -> bytes:
    policy = endpoint_pb2.ClusterLoadAssignment.Policy()
    policy.overprovisioning_factor.value = factor
    return delimited(_POLICY, policy.SerializeToString())


@functools.lru_cache(maxsize=1024)
def _locality(zone: str) -> bytes:
    name, _, part = zone.partition("/")
    return delimited(_LOCALITY, base_pb2.Locality(zone=name, sub_zone=part).SerializeToString())


@functools.lru_cache(maxsize=65536)
def lb_endpoint(endpoint: Endpoint, named: bool) -> bytes:
    """One entry of ``LocalityLbEndpoints.lb_endpoints``; *named*: as a ``LoadAssignment``."""
    message = endpoint_components_pb2.LbEndpoint()
    address = message.endpoint.address.socket_address
    address.address = endpoint.address
    address.port_value = endpoint.port
    if endpoint.check_port == NOT_ASKED:
        message.endpoint.health_check_config.disable_active_health_check = True
    else:
        if endpoint.check_port:
            message.endpoint.health_check_config.port_value = endpoint.check_port
        if named:
            called = active.authority(endpoint.address, endpoint.check_port or endpoint.port)
            message.endpoint.health_check_config.hostname = called
    message.health_status = HEALTH_STATUS[endpoint.health]
    message.load_balancing_weight.value = endpoint.weight
    return delimited(_LB_ENDPOINTS, message.SerializeToString(deterministic=True))
