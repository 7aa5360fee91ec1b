"""``fairlead translate``: manifests in, Envoy's configuration and the policies' status out; nothing is served."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml

from fairlead_operator.offline import OfflineError, translate


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f", "--filename", action="append", required=True, metavar="FILE", help="manifests; `-` is standard input"
    )
    parser.add_argument("--show", choices=["xds", "status", "all"], default="all", help="what to print (default all)")


def _texts(names: list[str]) -> list[tuple[str, str]]:
    found = []
    for name in names:
        if name == "-":
            found.append(("standard input", sys.stdin.read()))
            continue
        path = Path(name)
        files = sorted(p for p in path.iterdir() if p.suffix in {".yaml", ".yml", ".json"}) if path.is_dir() else [path]
        found += [(str(file), file.read_text(encoding="utf-8")) for file in files]
    return found


def run(args: argparse.Namespace) -> int:
    try:
        xds, status = translate(_texts(args.filename))
    except OfflineError as error:
        print(f"fairlead: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"fairlead: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except UnicodeDecodeError as error:
        print(f"fairlead: a file is not UTF-8: {error.reason} at byte {error.start}", file=sys.stderr)
        return 1
    shown: dict[str, Any] = (
        {"xds": xds, "status": status} if args.show == "all" else {"xds": xds, "status": status}[args.show]
    )
    print(yaml.safe_dump(shown, sort_keys=False, width=120), end="")
    return 0 if all(_accepted(entry) for entry in status.values()) else 2


def _accepted(status: dict[str, Any]) -> bool:
    return all(
        entry["status"] == "True" for entry in status["conditions"] if entry["type"] in {"Accepted", "ResolvedRefs"}
    )
