"""Fields of raw objects, checked while they are read. An error names the field."""

from __future__ import annotations

import functools
import ipaddress
import socket
from typing import Any

from fairlead_operator.api.meta import DecodeError, Ref


def expect(ref: Ref, path: str, value: Any, kind: type, default: Any) -> Any:
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DecodeError(ref, path, f"must be of type {kind.__name__}, not {type(value).__name__}")
    if isinstance(value, str) and not is_text(value):
        raise DecodeError(ref, path, "must be text that UTF-8 can hold")
    return value


def is_text(value: str) -> bool:
    """JSON can hold half of a surrogate pair, protobuf cannot."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def mappings(ref: Ref, path: str, value: Any) -> list[dict[str, Any]]:
    return [mapping(ref, f"{path}[{index}]", item) for index, item in enumerate(expect(ref, path, value, list, []))]


def mapping(ref: Ref, path: str, value: Any) -> dict[str, Any]:
    if value is None:
        raise DecodeError(ref, path, "must not be null")
    found: dict[str, Any] = expect(ref, path, value, dict, {})
    return found


def port_number(ref: Ref, path: str, value: Any) -> int:
    number = expect(ref, path, value, int, 0)
    if not 0 < number < 65536:
        raise DecodeError(ref, path, f"must be a port from 1 to 65535, not {number}")
    return int(number)


@functools.lru_cache(maxsize=16384)
def ip_address(text: str) -> str | None:
    """An IP address as it is written canonically, ``None`` if it is none. Remembered: slices repeat theirs."""
    try:
        if ":" not in text:  # nearly always; as strict as the library
            return socket.inet_ntoa(socket.inet_pton(socket.AF_INET, text))
        # No zone (%eth0): Envoy takes none.
        return None if "%" in text else str(ipaddress.ip_address(text))
    except (OSError, ValueError):
        return None
