"""``fairlead``: the arguments, and one sentence for whatever stops it."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
from pathlib import Path

from fairlead_operator import collector
from fairlead_operator.cli import bootstrap, endpoints, inject, operator, translate
from fairlead_operator.options import Options, StartError, joined, split
from fairlead_xds import eventloop

QUICKSTART = Path(__file__).resolve().parents[3] / "examples" / "quickstart"


def seconds(text: str) -> float:
    """``30s``, ``2m``, ``1m30s``, ``500ms`` -> seconds."""
    if not re.fullmatch(r"([0-9]+(ms|h|m|s))+", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 30s, 2m or 1m30s")
    unit = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
    return sum(int(number) * unit[name] for number, name in re.findall(r"([0-9]+)(ms|h|m|s)", text))


def _standalone_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--xds-address", default="127.0.0.1:18000", help="where xDS is served (default %(default)s)")
    parser.add_argument("--status-address", default="127.0.0.1:18001", help="status over HTTP (default %(default)s)")
    parser.add_argument("--no-envoy", action="store_true", help="start no Envoy; print how to start one")
    parser.add_argument("--for", dest="seconds", type=seconds, metavar="30s", help="end by itself after this time")


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="fairlead", description="A load balancer control plane for Envoy.")
    top.add_argument("-v", "--verbose", action="store_true", help="log what happens")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    one = commands.add_parser("standalone", help="serve a directory of manifests, no cluster needed")
    one.add_argument("directory", type=Path, metavar="DIR")
    one.add_argument("--listen-address", default="0.0.0.0", help="what gateways bind to (default %(default)s)")  # noqa: S104
    _standalone_arguments(one)
    one.set_defaults(run=_standalone)

    one = commands.add_parser("demo", help="standalone over examples/quickstart with three sample backends")
    one.add_argument("directory", type=Path, metavar="DIR", nargs="?", default=QUICKSTART)
    one.add_argument("--listen-address", default="127.0.0.1", help="what the gateway binds to (default %(default)s)")
    _standalone_arguments(one)
    one.set_defaults(run=_demo)

    one = commands.add_parser("operator", help="serve a Kubernetes cluster")
    operator.arguments(one)
    one.set_defaults(run=operator.run)

    one = commands.add_parser("translate", help="show what manifests become in Envoy")
    translate.arguments(one)
    one.set_defaults(run=translate.run)

    one = commands.add_parser("inject", help="add sidecars to the pods of manifests")
    inject.arguments(one)
    one.set_defaults(run=inject.run)

    one = commands.add_parser("endpoints", help="show what each endpoint of a policy gets, and why")
    endpoints.arguments(one)
    one.set_defaults(run=endpoints.run)

    one = commands.add_parser("bootstrap", help="write the bootstrap of an Envoy")
    bootstrap.arguments(one)
    one.set_defaults(run=bootstrap.run)
    return top


def _options(args: argparse.Namespace) -> Options:
    return Options(
        directory=args.directory,
        xds_address=args.xds_address,
        status_address=args.status_address,
        listen_address=args.listen_address,
        envoy=not args.no_envoy,
        seconds=args.seconds,
    )


def _standalone(args: argparse.Namespace) -> int:
    from fairlead_operator.standalone import Standalone, reachable  # noqa: PLC0415 - quick --help

    async def welcome(run: Standalone) -> None:
        run.say(
            f"xDS on port {run.xds_port}, status on http://{args.status_address.rpartition(':')[0]}:{run.status_port}/status"
        )
        for envoy in run.envoys.now:
            run.say(f"gateway {envoy.name}: Envoy with pid {envoy.pid}")
        if args.no_envoy:
            for gateway in sorted(run.plane.gateways()):
                address = joined(reachable(split(args.xds_address)[0]), run.xds_port)
                command = f"{sys.argv[0]} bootstrap --gateway {gateway} --xds-address {address} > envoy.json"
                run.say(f"gateway {gateway}: start an Envoy with: {command} && envoy -c envoy.json")

    async def main() -> int:
        return await Standalone(_options(args), lambda text: print(text, flush=True), welcome=welcome).run()

    collector.tune()
    return eventloop.run(main())


def _demo(args: argparse.Namespace) -> int:
    from fairlead_operator.demo import demo  # noqa: PLC0415 - quick --help

    collector.tune()
    return eventloop.run(demo(_options(args)))


def main(argv: list[str] | None = None) -> int:
    """Run the command; the exit code. What stops it is one sentence on standard error."""
    args = parser().parse_args(argv)
    eventloop.prepare()
    level = logging.INFO if args.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        return int(args.run(args))
    except StartError as error:
        print(f"fairlead: {error}", file=sys.stderr)
        return 1
    except ExceptionGroup as group:
        starts, rest = group.split(StartError)
        if rest is not None or starts is None:
            raise
        print(f"fairlead: {starts.exceptions[0]}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads has had enough, as `head` has; Python would complain once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # as of a program that SIGPIPE ends
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
