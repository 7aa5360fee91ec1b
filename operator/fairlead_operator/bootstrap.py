"""The bootstrap of an Envoy: where its control plane is, and which gateway it is one of."""

from __future__ import annotations

import json
from typing import Any


def bootstrap(
    *, gateway: str, node: str, xds_host: str, xds_port: int, admin_port: int | None = None
) -> dict[str, Any]:
    """Envoy's bootstrap as a JSON object (envoy.config.bootstrap.v3.Bootstrap)."""
    source = {"resource_api_version": "V3", "ads": {}}
    address = {"socket_address": {"address": xds_host, "port_value": xds_port}}
    config: dict[str, Any] = {
        "node": {"id": node, "cluster": gateway},
        "dynamic_resources": {
            "cds_config": source,
            "lds_config": source,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": "fairlead"}}],
            },
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "fairlead",
                    "type": "STRICT_DNS",
                    "connect_timeout": "5s",
                    "load_assignment": {
                        "cluster_name": "fairlead",
                        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
                    },
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {
                                "http2_protocol_options": {
                                    "connection_keepalive": {"interval": "30s", "timeout": "5s"},
                                }
                            },
                        }
                    },
                }
            ]
        },
        # Envoy refuses expressions of more than 100 RE2 instructions by default, a limit that real paths meet.
        "layered_runtime": {
            "layers": [{"name": "fairlead", "static_layer": {"re2.max_program_size.error_level": 1000}}]
        },
    }
    if admin_port is not None:
        config["admin"] = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}}
    return config


def text(config: dict[str, Any]) -> str:
    """As the file that Envoy reads with ``-c``."""
    return json.dumps(config, indent=2) + "\n"
