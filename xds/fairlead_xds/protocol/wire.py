"""The few fields that surround ready resources in a response.

A discovery response is written as a concatenation of fragments instead of being built and serialized: what a response
costs then does not depend on the size of its resources. Field numbers are those of envoy.service.discovery.v3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.wire import delimited

IDENTIFIER: Final = "fairlead"
"""``control_plane.identifier`` of every response (XDS_RULES 8); Envoy shows it as a text statistic."""

_CONTROL_PLANE: Final = delimited(1, IDENTIFIER.encode())
_TYPE_URL, _NONCE = 4, 5

_FRAMES: Final = 64
"""Frames remembered: all streams say the same type and version in the same moment."""


@lru_cache(_FRAMES)
def _delta_frame(type_url: TypeUrl, version: str) -> bytes:
    return delimited(1, version.encode()) + delimited(_TYPE_URL, type_url.value.encode()) + delimited(7, _CONTROL_PLANE)


@lru_cache(_FRAMES)
def _sotw_frame(type_url: TypeUrl, version: str) -> bytes:
    return delimited(1, version.encode()) + delimited(_TYPE_URL, type_url.value.encode()) + delimited(6, _CONTROL_PLANE)


def delta_response(
    type_url: TypeUrl, nonce: str, version: str, resources: list[bytes], removed: list[str]
) -> tuple[bytes, ...]:
    """The pieces of a ``DeltaDiscoveryResponse``; *resources* are ``Resource.delta_wire``, *version* is for people only."""
    return (
        *resources,
        *(delimited(6, name.encode()) for name in removed),
        _delta_frame(type_url, version),
        delimited(_NONCE, nonce.encode()),
    )


def sotw_response(type_url: TypeUrl, nonce: str, version: str, resources: list[bytes]) -> tuple[bytes, ...]:
    """The pieces of a ``DiscoveryResponse``; *resources* are ``Resource.sotw_wire``."""
    return (*resources, _sotw_frame(type_url, version), delimited(_NONCE, nonce.encode()))
