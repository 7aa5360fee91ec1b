"""``fairlead operator``: serve a Kubernetes cluster."""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fairlead_operator import collector
from fairlead_operator.options import StartError
from fairlead_xds import eventloop

if TYPE_CHECKING:
    from fairlead_operator.api.config import OperatorConfig

#: Seconds over which a replica that ends sends its proxies to others. With the pod's preStop within its grace period.
DRAIN = 5.0


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options. Where both a flag and the file say something, the flag counts."""
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="the installation, as the Helm chart writes it (docs/operations.md)"
    )
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="the cluster (default: the one this runs in, else kubectl's)"
    )
    parser.add_argument("--context", help="context of the kubeconfig (default: its current one)")
    parser.add_argument("--xds-address", help="where xDS is served (default: the file's, else 127.0.0.1:18000)")
    parser.add_argument("--status-address", help="status over HTTP (default: the file's, else 127.0.0.1:18001)")
    parser.add_argument(
        "--allow-plaintext",
        action="store_true",
        help="serve xDS unencrypted to whoever reaches an address that is not loopback",
    )


def run(args: argparse.Namespace) -> int:
    """The exit code. Raises StartError."""
    from fairlead_operator.app import OperatorOptions, run_operator  # noqa: PLC0415 - quick --help
    from fairlead_operator.trust.assembly import options_of  # noqa: PLC0415

    logging.getLogger("fairlead_operator").setLevel(logging.INFO)
    # kopf tells every retry as an error; what matters, its end, is told by who starts it again.
    logging.getLogger("kopf").setLevel(logging.DEBUG if args.verbose else logging.CRITICAL)
    logging.getLogger("kubernetes").setLevel(logging.ERROR)  # its warnings come again as our errors
    config = _config(args.config) if args.config is not None else None
    options = OperatorOptions(
        kubeconfig=args.kubeconfig,
        context=args.context,
        config=config,
        trust=options_of(config) if config else None,
        xds_address=args.xds_address or (config.xds_address if config else "127.0.0.1:18000"),
        status_address=args.status_address or (config.status_address if config else "127.0.0.1:18001"),
        allow_plaintext=args.allow_plaintext,
        pod_uid=os.environ.get("POD_UID", ""),
        drain=DRAIN if config else 0.0,
    )
    collector.tune()
    return eventloop.run(run_operator(options))


def _config(path: Path) -> OperatorConfig:
    from fairlead_operator.api.config import expanded, read_config  # noqa: PLC0415 - quick --help

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise StartError(f"--config {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StartError(f"--config {path}: must be UTF-8 text") from None
    config = read_config(text, str(path))
    return config.model_copy(update={"replica": expanded(config.replica, os.environ)})
