"""``fairlead operator``: serve a Kubernetes cluster."""

from __future__ import annotations

import argparse
import asyncio
import logging


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="the cluster (default: the one this runs in, else kubectl's)"
    )
    parser.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    parser.add_argument("--xds-address", default="127.0.0.1:18000", help="where xDS is served (default %(default)s)")
    parser.add_argument("--status-address", default="127.0.0.1:18001", help="status over HTTP (default %(default)s)")
    parser.add_argument(
        "--allow-plaintext",
        action="store_true",
        help="serve xDS unencrypted to whoever reaches an address that is not loopback",
    )


def run(args: argparse.Namespace) -> int:
    """The exit code. Raises StartError."""
    from fairlead_operator.app import OperatorOptions, run_operator  # noqa: PLC0415 - quick --help

    logging.getLogger("fairlead_operator").setLevel(logging.INFO)
    # kopf tells every retry as an error; what matters, its end, is told by who starts it again.
    logging.getLogger("kopf").setLevel(logging.DEBUG if args.verbose else logging.CRITICAL)
    logging.getLogger("kubernetes").setLevel(logging.ERROR)  # its warnings come again as our errors
    options = OperatorOptions(
        kubeconfig=args.kubeconfig,
        context=args.context,
        xds_address=args.xds_address,
        status_address=args.status_address,
        allow_plaintext=args.allow_plaintext,
    )
    return asyncio.run(run_operator(options))
