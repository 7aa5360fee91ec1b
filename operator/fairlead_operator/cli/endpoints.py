"""``fairlead endpoints``: what each endpoint of a policy gets, and why."""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from fairlead_operator.options import StartError


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("policy", metavar="[NAMESPACE/]POLICY", help="a LoadBalancerPolicy; namespace default: default")
    parser.add_argument(
        "--status-address",
        default="127.0.0.1:18001",
        metavar="HOST:PORT",
        help=(
            "of the control plane (default %(default)s); in a cluster first: kubectl -n fairlead-system port-forward"
            " service/fairlead-metrics 18001"
        ),
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table", help="default %(default)s")


def run(args: argparse.Namespace) -> int:
    """The exit code. Raises StartError."""
    from fairlead_operator.endpoints.view import table  # noqa: PLC0415 - quick --help

    namespace, _, name = args.policy.rpartition("/")
    if not name:
        raise StartError(f"{args.policy!r} names no policy: write it as NAMESPACE/POLICY")
    path = "/".join(urllib.parse.quote(part, safe="") for part in (namespace or "default", name))
    said = json.loads(_get(f"http://{args.status_address}/endpoints/{path}", args.status_address))
    sys.stdout.write(table(said) if args.output == "table" else json.dumps(said, indent=2) + "\n")
    return 0


def _get(url: str, address: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as response:  # noqa: S310 - always http
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        with error:
            raise StartError(error.read().decode(errors="replace").strip() or f"{url}: {error}") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise StartError(
            f"no control plane answers at {address} ({why}): start one, or name it by --status-address"
        ) from None
