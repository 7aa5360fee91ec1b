"""What gRPC alone takes for a push and its answer: ``python -m bench.bare``.

A server that knows nothing: each stream gets the same ready bytes, and its answer is thrown away unread. What our own costs
beyond it is ours; the two are measured in one run, because the machine is not as fast at any hour.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import grpc.aio
from envoy.service.discovery.v3 import discovery_pb2

from bench import process
from fairlead_operator import collector
from fairlead_xds import eventloop
from fairlead_xds.server import SERVICE, Options
from fairlead_xds.snapshot import TypeUrl

#: Bytes of the one resource in a response: those of an endpoint change of the great Service.
SIZE = 2900
_PATIENCE = 30.0


class Server:
    """The commands."""

    def __init__(self) -> None:
        self._streams: list[tuple[asyncio.Event, list[bytes]]] = []
        self._answers, self._answered = 0, asyncio.Event()
        self._server = grpc.aio.server(options=Options().channel_arguments())
        handler = grpc.stream_stream_rpc_method_handler(self._serve)
        handlers = grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": handler})
        self._server.add_generic_rpc_handlers((handlers,))

    async def start(self) -> dict[str, Any]:
        port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()
        return {"port": port}

    async def stop(self) -> None:
        await self._server.stop(0)

    async def push(self, times: int) -> dict[str, list[float]]:
        """Seconds of CPU from the first write to the last answer of all streams, each time when all is quiet."""
        spent = []
        for turn in range(times):
            await asyncio.sleep(0.05)
            self._answers = 0
            self._answered.clear()
            body = _response(turn)
            start = time.process_time()
            for wake, outbox in self._streams:
                outbox.append(body)
                wake.set()
            await asyncio.wait_for(self._answered.wait(), _PATIENCE)
            spent.append(time.process_time() - start)
        return {"cpu": spent}

    async def _serve(self, _requests: Any, context: Any) -> None:
        await context.read()
        wake, outbox = asyncio.Event(), [_response(0)]
        wake.set()
        self._streams.append((wake, outbox))
        while True:
            await wake.wait()
            wake.clear()
            await context.write(outbox.pop())
            if await context.read() is grpc.aio.EOF:
                return
            self._answers += 1
            if self._answers == len(self._streams):
                self._answered.set()


def _response(turn: int) -> bytes:
    response = discovery_pb2.DeltaDiscoveryResponse(type_url=TypeUrl.ENDPOINT.value, nonce=str(turn))
    resource = response.resources.add(name="great", version=str(turn))
    resource.resource.type_url, resource.resource.value = TypeUrl.ENDPOINT.value, bytes(SIZE)
    return bytes(response.SerializeToString())


async def main() -> None:
    collector.tune()
    server = Server()
    try:
        await process.serve({"start": server.start, "push": server.push})
    finally:
        await server.stop()


if __name__ == "__main__":
    eventloop.run(main())
