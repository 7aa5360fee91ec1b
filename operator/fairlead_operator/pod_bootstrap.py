"""The bootstrap of an Envoy in a pod: a gateway of the chart, or a sidecar that the webhook injects.

What it needs beyond the plain form of ``bootstrap.py``: the control plane is verified with a CA bundle, the proxy shows
the token of its service account, and both are files that change while it runs. Of the ways to configure that, only
``envoy_grpc`` with both as secrets by path follows such changes: ``google_grpc`` reads its root certificates once, and
so does a validation context that is written into the cluster. The files of those secrets are in the proxy's image.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead_operator.bootstrap import RUNTIME, ads, control_plane

TYPES = "type.googleapis.com/envoy.extensions"
STATUS_PORT = 19001
STATUS_PREFIX = "fairlead_status"  # of the statistics of its listener; fairlead-proxy leaves it out when it counts


@dataclass(frozen=True, slots=True)
class Files:
    """Where a proxy finds what; the defaults are those of the pods.

    Attributes:
        ca: folder of ``ca.crt``, a mounted ConfigMap.
        token: folder of ``token``, a projected volume.
        sds: folder of ``ca.json`` and ``token.json``: in the image, or written by ``write_sds``.
        admin: Envoy's admin socket; its folder can be written.
    """

    ca: str = "/var/run/secrets/fairlead-ca"
    token: str = "/var/run/secrets/fairlead"  # noqa: S105 - a folder
    sds: str = "/etc/fairlead/sds"
    admin: str = "/var/run/fairlead/admin.sock"

    def write_sds(self) -> None:
        """Write the files of the secrets, for proxies that do not run in the image."""
        for name, content in sds_files(self).items():
            (Path(self.sds) / name).write_text(content, encoding="utf-8")


def gateway(
    *,
    name: str,
    xds_host: str,
    xds_port: int,
    server_name: str | None = None,
    status_address: str = "0.0.0.0",  # noqa: S104 - kubelet and Prometheus come from other hosts
    files: Files = Files(),
) -> dict[str, Any]:
    """For a pod of gateway *name*; *server_name* is what the control plane's certificate says, by default *xds_host*."""
    xds = control_plane(xds_host, xds_port, ping="10s")
    config = _pod(name, xds, server_name or xds_host, status_address, files)
    # A gateway's clients are many and unknown: past this Envoy closes new connections rather than ends for want of files.
    config["overload_manager"] = {"resource_monitors": [_max_connections(100_000)]}
    # Threads that hang end the process, which the kubelet starts again; without this they would hang for ever.
    config["watchdogs"] = {name: {"kill_timeout": "120s"} for name in ("main_thread_watchdog", "worker_watchdog")}
    return config


def sidecar(
    *,
    xds_host: str,
    xds_port: int,
    server_name: str | None = None,
    status_address: str = "0.0.0.0",  # noqa: S104 - Prometheus comes from other hosts
    files: Files = Files(),
) -> dict[str, Any]:
    """For the proxy in an application's pod."""
    xds = control_plane(xds_host, xds_port, ping="10s")
    config = _pod("sidecar", xds, server_name or xds_host, status_address, files)
    config["overload_manager"] = {"resource_monitors": [_max_connections(20_000)]}
    # Hundreds of statistics of each cluster exist once something happened that they count.
    config["deferred_stat_options"] = {"enable_deferred_creation_stats": True}
    return config


def arguments(*, concurrency: int | None = None) -> list[str]:
    """Envoy's arguments besides its configuration. *concurrency*: threads, by default one for each core; sidecars: 1.

    Connections that drain are told at once: what a drain waits for then is only requests in flight.
    """
    threads = [] if concurrency is None else ["--concurrency", str(concurrency)]
    return ["--disable-hot-restart", "--drain-strategy", "immediate", "--log-level", "warning", *threads]


def sds_files(files: Files) -> dict[str, str]:
    """Name -> content of the files by which Envoy knows where the CA bundle and the token are."""
    ca = {
        "trusted_ca": {"filename": f"{files.ca}/..data/ca.crt"},
        # Kubernetes replaces the symbolic link ``..data``, and makes the links to what is new in it only afterwards: by
        # its own link a bundle that was not there at the start would be missed. The token is always there at the start,
        # and Envoy does not follow it by ``..data``.
        "watched_directory": {"path": files.ca},
    }
    token = {"secret": {"filename": f"{files.token}/token", "watched_directory": {"path": files.token}}}
    secrets: dict[str, dict[str, Any]] = {"ca": {"validation_context": ca}, "token": {"generic_secret": token}}
    kind = f"{TYPES}.transport_sockets.tls.v3.Secret"
    return {
        f"{name}.json": json.dumps({"resources": [{"@type": kind, "name": name, **secret}]}, indent=2) + "\n"
        for name, secret in secrets.items()
    }


def _pod(cluster: str, xds: dict[str, Any], server_name: str, status_address: str, files: Files) -> dict[str, Any]:
    xds["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": _tls(server_name, files)}
    xds["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"][
        "http_filters"
    ] = _with_token(files)
    del xds["type"]
    # The address of a Service hardly ever changes; a thousand proxies should not ask for it every five seconds.
    dns = {
        "@type": f"{TYPES}.clusters.dns.v3.DnsCluster",
        "dns_refresh_rate": "60s",
        "dns_failure_refresh_rate": {"base_interval": "0.5s", "max_interval": "5s"},
    }
    xds["cluster_type"] = {"name": "envoy.clusters.dns", "typed_config": dns}
    # No identity: --service-node gives it, the pod's name. No time limit: ready means configured.
    return {
        "node": {"cluster": cluster},
        "admin": {"address": {"pipe": {"path": files.admin, "mode": 0o600}}},
        "dynamic_resources": ads(initial_fetch_timeout="0s"),
        "static_resources": {"clusters": [xds, _admin(files)], "listeners": [_status(status_address)]},
        "layered_runtime": RUNTIME,
    }


def _tls(server_name: str, files: Files) -> dict[str, Any]:
    name = {"san_type": "DNS", "matcher": {"exact": server_name}}
    return {
        "@type": f"{TYPES}.transport_sockets.tls.v3.UpstreamTlsContext",
        "sni": server_name,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "combined_validation_context": {
                "default_validation_context": {"match_typed_subject_alt_names": [name]},
                "validation_context_sds_secret_config": _by_path("ca", files.ca, files),
            },
        },
    }


def _with_token(files: Files) -> list[dict[str, Any]]:
    """Filters of the connection to the control plane: ``authorization: Bearer …`` on every stream."""
    generic = {
        "@type": f"{TYPES}.http.injected_credentials.generic.v3.Generic",
        "credential": _by_path("token", files.token, files),
        "header": "authorization",
        "header_value_prefix": "Bearer ",
    }
    return [
        {
            "name": "envoy.filters.http.credential_injector",
            "typed_config": {
                "@type": f"{TYPES}.filters.http.credential_injector.v3.CredentialInjector",
                "overwrite": True,
                "credential": {"name": "envoy.http.injected_credentials.generic", "typed_config": generic},
            },
        },
        {
            "name": "envoy.filters.http.upstream_codec",
            "typed_config": {"@type": f"{TYPES}.filters.http.upstream_codec.v3.UpstreamCodec"},
        },
    ]


def _by_path(name: str, folder: str, files: Files) -> dict[str, Any]:
    """A secret that is read again when *folder* changes: also when what it names was not there at the start."""
    path = {"path": f"{files.sds}/{name}.json", "watched_directory": {"path": folder}}
    source = {"path_config_source": path, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def _admin(files: Files) -> dict[str, Any]:
    """Envoy's own admin socket, for the pages of it that others may read."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": files.admin}}}}
    return {
        "name": "fairlead_admin",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": "fairlead_admin", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _status(address: str) -> dict[str, Any]:
    """Port 19001: ``/ready`` for the kubelet, ``/stats/prometheus`` and ``/clusters``; nothing else of the admin page.

    Envoy accepts here once it has its configuration; after ``/healthcheck/fail``, ``/ready`` is 503.
    """
    health = {
        "@type": f"{TYPES}.filters.http.health_check.v3.HealthCheck",
        "pass_through_mode": False,
        "headers": [{"name": ":path", "string_match": {"exact": "/ready"}}],
    }
    pages = [
        {
            "match": {"path": path, "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
            "route": {"cluster": "fairlead_admin"},
        }
        for path in ("/stats/prometheus", "/clusters")
    ]
    manager = {
        "@type": f"{TYPES}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STATUS_PREFIX,
        "common_http_protocol_options": {"idle_timeout": "60s"},
        "http_filters": [
            {"name": "envoy.filters.http.health_check", "typed_config": health},
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{TYPES}.filters.http.router.v3.Router"},
            },
        ],
        "route_config": {"virtual_hosts": [{"name": "status", "domains": ["*"], "routes": pages}]},
    }
    return {
        "name": STATUS_PREFIX,
        "stat_prefix": STATUS_PREFIX,
        "address": {"socket_address": {"address": address, "port_value": STATUS_PORT}},
        # Whoever drains or is overloaded is still to be seen.
        "bypass_overload_manager": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }


def _max_connections(number: int) -> dict[str, Any]:
    return {
        "name": "envoy.resource_monitors.global_downstream_max_connections",
        "typed_config": {
            "@type": f"{TYPES}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig",
            "max_active_downstream_connections": str(number),
        },
    }
