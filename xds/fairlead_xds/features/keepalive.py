"""Connections to endpoints that vanish without a word are noticed: TCP keepalive of Envoy's own connections.

A pod that ends closes its connections; a node that loses its power does not. A WebSocket over it, or a connection that
waits to be used again, would stay open for good: Envoy lets connections outlive their endpoint.
"""

from __future__ import annotations

from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import UpstreamConnectionOptions
from envoy_data_plane.envoy.config.core.v3 import TcpKeepalive

#: Seconds without a byte until the kernel asks, seconds between two questions, and how many go unanswered: 45 s in all,
#: about what Kubernetes takes to call a node lost.
IDLE: Final = 30
INTERVAL: Final = 5
PROBES: Final = 3


def upstream_connection_options() -> UpstreamConnectionOptions:
    """Of every cluster (``envoy.config.core.v3.TcpKeepalive``)."""
    keepalive = TcpKeepalive(keepalive_probes=PROBES, keepalive_time=IDLE, keepalive_interval=INTERVAL)
    return UpstreamConnectionOptions(tcp_keepalive=keepalive)
