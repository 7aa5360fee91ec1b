"""A client that says nothing: what a server does with it follows from its connection and its headers alone."""

from __future__ import annotations

from fairlead_xds.testing import DeltaClient


class Mute(DeltaClient):
    """Opens a stream and writes no request.

    A refused client that writes is told INTERNAL by its own gRPC, once in a thousand times: its write fails first.
    """

    def start(self) -> list[bytes]:
        return []
