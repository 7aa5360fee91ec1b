"""``fairlead translate``: manifests in, Envoy's configuration and the policies' status out; nothing is served."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from fairlead_operator.cli import streams
from fairlead_operator.options import StartError


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE", help="manifests; `-` is standard input"
    )
    parser.add_argument("--show", choices=["xds", "status", "all"], default="all", help="what to print (default all)")
    parser.add_argument(
        "--now",
        type=_time,
        metavar="TIME",
        help="judge endpoints (restarts, holds) as of this time, such as 2026-01-01T12:00:00Z (default: the newest time in"
        " the manifests)",
    )


def _time(text: str) -> float:
    from fairlead_operator.api.pod_status import seconds_of  # noqa: PLC0415 - quick --help

    if not (seconds := seconds_of(text)):
        raise argparse.ArgumentTypeError(f"must be a time such as 2026-01-01T12:00:00Z, not {text!r}")
    return seconds


def _texts(names: list[str]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        if name == "-":
            found.append(_text("standard input", streams.read))
            continue
        path = Path(name)
        files = sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml", ".json"}) if path.is_dir() else [path]
        found += [_text(str(file), partial(file.read_text, encoding="utf-8")) for file in files]
    return found


def _text(name: str, read: Callable[[], str]) -> tuple[str, str]:
    try:
        return name, read()
    except UnicodeDecodeError as error:
        raise StartError(f"{name}: not UTF-8: {error.reason} at byte {error.start}") from None


def run(args: argparse.Namespace) -> int:
    from fairlead_operator.offline import OfflineError, translate  # noqa: PLC0415 - quick --help

    try:
        xds, status = translate(_texts(args.filename), args.now)
    except OfflineError as error:
        raise StartError(str(error)) from None
    except OSError as error:
        raise StartError(f"{error.filename}: {error.strerror}") from None
    shown: dict[str, Any] = (
        {"xds": xds, "status": status} if args.show == "all" else {"xds": xds, "status": status}[args.show]
    )
    import yaml  # noqa: PLC0415 - quick --help

    streams.write(yaml.safe_dump(shown, sort_keys=False, width=120))
    return 0 if all(_accepted(entry) for entry in status.values()) else 2


def _accepted(status: dict[str, Any]) -> bool:
    return all(
        entry["status"] == "True" for entry in status["conditions"] if entry["type"] in {"Accepted", "ResolvedRefs"}
    )
