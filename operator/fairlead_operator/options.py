"""What the command line says, and the one error of a start. Light: the command's help needs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class StartError(Exception):
    """It cannot start; the message is one sentence that says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says. Addresses are ``host:port``; ``seconds`` ends the run by itself."""

    directory: Path
    xds_address: str = "127.0.0.1:18000"
    status_address: str = "127.0.0.1:18001"
    listen_address: str = "0.0.0.0"  # noqa: S104 - a gateway's listeners are for everyone
    envoy: bool = True
    seconds: float | None = None


def joined(host: str, port: int) -> str:
    """Host and port as one address; IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split(address: str) -> tuple[str, int]:
    """``127.0.0.1:18000`` -> host and port. Raises StartError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise StartError(f"{address!r} is not an address: write it as 127.0.0.1:18000")
    return host.strip("[]"), int(port)
