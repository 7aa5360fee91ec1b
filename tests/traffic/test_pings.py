"""Pings of a quiet client keep its connection: with gRPC's own limit of five minutes Envoy would lose it after a minute."""

from __future__ import annotations

import asyncio
import contextlib

import h2.connection
import h2.events
import h2.exceptions
import pytest

from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.server import SERVICE, Options, XdsServer
from fairlead_xds.store import Store

PINGS = 8


async def _pinging(port: int) -> tuple[int, bool]:
    """Open a stream and ping without sending anything else; how many were answered, and whether we were sent away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    path = f"/{SERVICE}/DeltaAggregatedResources"
    headers = [(":method", "POST"), (":path", path), (":scheme", "http"), (":authority", "test"), ("te", "trailers")]
    connection.send_headers(1, [*headers, ("content-type", "application/grpc")])
    answered, away = 0, False
    try:
        for number in range(PINGS):
            connection.ping(number.to_bytes(8, "big"))
            writer.write(connection.data_to_send())
            while answered <= number and not away:
                data = await asyncio.wait_for(reader.read(65536), 5)
                events = connection.receive_data(data) if data else []
                answered += sum(isinstance(event, h2.events.PingAckReceived) for event in events)
                away = not data or any(isinstance(event, h2.events.ConnectionTerminated) for event in events)
            if away:
                break
            await asyncio.sleep(0.15)  # what passes between two pings is the matter of this test
    except (ConnectionError, h2.exceptions.ProtocolError):  # h2 takes what follows a GOAWAY for a mistake
        away = True
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answered, away


@pytest.mark.parametrize(("interval", "kept"), [(0.1, True), (60.0, False)], ids=["allowed", "too often"])
async def test_r57_pings_no_more_often_than_allowed_keep_a_quiet_connection(interval: float, *, kept: bool) -> None:
    server = XdsServer(Store(), NodeClusterAuthenticator(), options=Options(min_ping_interval=interval))
    port = await server.start("127.0.0.1:0")
    try:
        answered, away = await _pinging(port)
    finally:
        await server.stop(0)

    assert away is not kept
    assert (answered == PINGS) is kept


def test_r57_what_is_allowed_is_half_of_what_envoy_does() -> None:
    assert Options().min_ping_interval <= 10 / 2
