"""``fairlead bootstrap``: what an Envoy starts with."""

from __future__ import annotations

import argparse
import socket

from fairlead_operator.options import StartError, split


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--gateway", help="name of the gateway that it is one of")
    who.add_argument("--sidecar", action="store_true", help="it is a sidecar (implies --pod)")
    parser.add_argument("--xds-address", default="127.0.0.1:18000", help="of the control plane (default %(default)s)")
    parser.add_argument("--node", help="its own name (default: the host's; in a pod Envoy's --service-node gives it)")
    parser.add_argument("--admin-port", type=int, help="port of Envoy's admin page on loopback (default: none)")
    pod = parser.add_argument_group("in a pod of a cluster")
    pod.add_argument(
        "--pod", action="store_true", help="TLS, service-account token, admin socket, status on port 19001"
    )
    pod.add_argument("--server-name", help="in the control plane's certificate (default: the host of --xds-address)")
    pod.add_argument("--status-address", default="0.0.0.0", help="where /ready is served (default %(default)s)")  # noqa: S104


def run(args: argparse.Namespace) -> int:
    """The exit code. Raises StartError."""
    from fairlead_operator import bootstrap, pod_bootstrap  # noqa: PLC0415 - quick --help

    host, port = split(args.xds_address)
    if args.admin_port is not None and not 0 < args.admin_port < 65536:
        raise StartError(f"--admin-port {args.admin_port} is no port: choose one from 1 to 65535")
    if not (args.pod or args.sidecar):
        if args.server_name:
            raise StartError("--server-name is for --pod: the connection is in plain text without it")
        node = args.node or socket.gethostname()
        config = bootstrap.bootstrap(
            gateway=args.gateway, node=node, xds_host=host, xds_port=port, admin_port=args.admin_port
        )
    elif args.node or args.admin_port:
        raise StartError(
            "--node and --admin-port are not for pods: start Envoy with --service-node $(POD_NAME); its admin page is"
            f" on {pod_bootstrap.Files().admin}"
        )
    elif args.sidecar:
        config = pod_bootstrap.sidecar(
            xds_host=host, xds_port=port, server_name=args.server_name, status_address=args.status_address
        )
    else:
        config = pod_bootstrap.gateway(
            name=args.gateway,
            xds_host=host,
            xds_port=port,
            server_name=args.server_name,
            status_address=args.status_address,
        )
    print(bootstrap.text(config), end="")
    return 0
