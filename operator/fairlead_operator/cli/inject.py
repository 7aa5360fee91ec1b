"""``fairlead inject``: sidecars for the pods in manifests, without a cluster."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from fairlead_operator.cli import streams
from fairlead_operator.options import StartError, split


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("-f", "--filename", required=True, metavar="FILE", help="manifests; - for standard input")
    parser.add_argument(
        "--policy",
        action="append",
        default=[],
        metavar="FILE",
        help="policies that select pods (spec.proxies.sidecars); besides these, the label fairlead.dev/inject decides",
    )
    parser.add_argument(
        "-n",
        "--namespace",
        default="default",
        metavar="NAME",
        help="of manifests and policies that name none (default %(default)s)",
    )
    parser.add_argument("--image", default="fairlead-proxy:0.1.0", help="of the sidecar (default %(default)s)")
    parser.add_argument(
        "--xds-address",
        default="fairlead-xds.fairlead-system.svc:18000",
        help="of the control plane (default %(default)s)",
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="the operator's configuration file, instead of these two"
    )


def run(args: argparse.Namespace) -> int:
    """The exit code. Raises StartError."""
    from fairlead_operator.injection.manifests import inject_all, selection  # noqa: PLC0415 - quick --help
    from fairlead_operator.injection.settings import (  # noqa: PLC0415
        LIMITS,
        REQUESTS,
        InjectionError,
        Settings,
    )

    if args.config is not None:
        settings = _configured(args.config)
    else:
        host, port = split(args.xds_address)
        settings = Settings(image=args.image, xds_host=host, xds_port=port, requests=REQUESTS, limits=LIMITS)
    documents = _read(args.filename)
    try:
        selected = selection([entry for path in args.policy for entry in _read(path)] + documents, args.namespace)
        done = inject_all(documents, settings, selected, namespace=args.namespace)
    except InjectionError as error:
        raise StartError(f"{args.filename}: {error}") from None
    for warning in done.warnings:
        print(f"fairlead: {warning}", file=sys.stderr)
    streams.write(yaml.safe_dump_all(done.documents, sort_keys=False, default_flow_style=False, width=120))
    return 0


def _configured(path: Path) -> Any:
    from fairlead_operator.api.config import read_config  # noqa: PLC0415
    from fairlead_operator.injection.assembly import settings_of  # noqa: PLC0415

    try:
        settings = settings_of(read_config(path.read_text(encoding="utf-8"), str(path)))
    except OSError as error:
        raise StartError(f"--config {path}: {error.strerror}") from None
    if settings is None:
        raise StartError(f"{path}: webhook and proxy: must be set, they say what is injected")
    return settings


def _read(name: str) -> list[Any]:
    try:
        text = streams.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return [document for document in yaml.safe_load_all(text) if document is not None]
    except OSError as error:
        raise StartError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise StartError(f"{name}: must be UTF-8 text") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        raise StartError(f"{name}{where}: is not YAML: {getattr(error, 'problem', None) or error}") from None
