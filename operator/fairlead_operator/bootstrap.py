"""The bootstrap of an Envoy: where its control plane is, and which gateway it is one of.

This is the plain form, for a control plane on loopback; ``pod_bootstrap.py`` has those of the pods in a cluster.
"""

from __future__ import annotations

import json
from typing import Any

#: Envoy refuses expressions of more than 100 RE2 instructions by default, a limit that real paths meet.
RUNTIME = {"layers": [{"name": "fairlead", "static_layer": {"re2.max_program_size.error_level": 1000}}]}

CLUSTER = "fairlead"


def bootstrap(
    *, gateway: str, node: str, xds_host: str, xds_port: int, admin_port: int | None = None
) -> dict[str, Any]:
    """Envoy's bootstrap as a JSON object (envoy.config.bootstrap.v3.Bootstrap)."""
    config: dict[str, Any] = {
        "node": {"id": node, "cluster": gateway},
        "dynamic_resources": ads(),
        "static_resources": {"clusters": [control_plane(xds_host, xds_port, ping="30s")]},
        "layered_runtime": RUNTIME,
    }
    if admin_port is not None:
        config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}}
    return config


def ads(**options: str) -> dict[str, Any]:
    """All configuration over one stream; *options* are of the sources of clusters and listeners."""
    source = {"resource_api_version": "V3", "ads": {}, **options}
    return {
        "cds_config": source,
        "lds_config": source,
        "ads_config": {
            "api_type": "DELTA_GRPC",
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [{"envoy_grpc": {"cluster_name": CLUSTER, "retry_policy": _AGAIN}}],
        },
    }


#: After a long absence of every control plane Envoy would wait up to 30 s before it looks again (its default).
_AGAIN = {"retry_back_off": {"base_interval": "0.5s", "max_interval": "5s"}}


def control_plane(host: str, port: int, *, ping: str) -> dict[str, Any]:
    """The cluster by which Envoy reaches the control plane; *ping*: how soon it finds out that it is gone."""
    address = {"socket_address": {"address": host, "port_value": port}}
    return {
        "name": CLUSTER,
        "type": "STRICT_DNS",
        "connect_timeout": "5s",
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {
                    "http2_protocol_options": {"connection_keepalive": {"interval": ping, "timeout": "5s"}}
                },
            }
        },
    }


def text(config: dict[str, Any]) -> str:
    """As the file that Envoy reads with ``-c``."""
    return json.dumps(config, indent=2) + "\n"
