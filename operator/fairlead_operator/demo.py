"""``fairlead demo``: standalone over the quickstart, with three sample backends of its own."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from aiohttp import web

from fairlead_operator.options import Options, StartError
from fairlead_operator.standalone import Standalone

HOST = "127.0.0.1"
GATEWAY_PORT = 8080
#: The endpoints of examples/quickstart: port -> what the backend calls itself.
BACKENDS = {19001: "hello-v1-a", 19002: "hello-v1-b", 19003: "hello-v2-a"}


@contextlib.asynccontextmanager
async def backends() -> AsyncIterator[None]:
    """Three HTTP servers that answer with their name. Raises StartError where a port is taken."""
    async with contextlib.AsyncExitStack() as stack:
        for port, name in BACKENDS.items():
            runner = web.AppRunner(_application(name), access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            try:
                await web.TCPSite(runner, HOST, port).start()
            except OSError:
                raise StartError(
                    f"port {port} is in use, which sample backend {name} needs: end the program that has it"
                ) from None
        yield


def _application(name: str) -> web.Application:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=f"{name} {request.path}\n", headers={"x-backend": name})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def demo(options: Options) -> int:
    """Run until Ctrl-C, or for ``options.seconds``. The exit code."""
    async with backends():
        return await Standalone(options, _say, welcome=_welcome).run()


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - the demo talks to a person


async def _welcome(run: Standalone) -> None:
    """Wait until it serves, then say what runs where and what to try."""
    folder = _relative(run.options.directory)
    if not run.plane.world.policies:
        run.say(f"No policy could be read from {folder}: mend what is reported above; the folder is watched.")
        return
    if not await _until_serving(run):
        if run.stop.is_set():
            return
        run.say(f"Not everything serves yet: {_why_not(run)}")
        return
    envoys = ", ".join(f"Envoy {envoy.name} (pid {envoy.pid})" for envoy in run.envoys.now)
    run.say(f"""
Fairlead serves.
  gateway   http://{HOST}:{GATEWAY_PORT}   {envoys}
  backends  {", ".join(f"{name} on {HOST}:{port}" for port, name in BACKENDS.items())}
  xDS       {HOST}:{run.xds_port}
  status    http://{HOST}:{run.status_port}/status   (also /metrics, /readyz, /healthz)
  manifests {folder}

Try, in another terminal:
  curl http://{HOST}:{GATEWAY_PORT}/                     # a request
  for i in $(seq 200); do curl -s http://{HOST}:{GATEWAY_PORT}/; done | sort | uniq -c   # the 90:10 split
  {_relative(Path(sys.argv[0]))} endpoints hello   # what each endpoint gets, and why
  sed -i 's/ready: true  # a/ready: false # a/' {folder}/endpoints.yaml   # hello-v1-a leaves
  sed -i 's/weight: 10/weight: 90/' {folder}/policy.yaml   # the canary gets half
  git checkout {folder}                             # all as it was

Each change that reaches Envoy is a line below. Ctrl-C ends everything.
""")


async def _until_serving(run: Standalone) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(10):
            while not _serves(run) and not run.stop.is_set():  # noqa: ASYNC110 - a status is no event
                await asyncio.sleep(0.02)
    return _serves(run)


def _why_not(run: Standalone) -> str:
    """The first condition that is not as it should be."""
    for ref, status in run.plane.statuses.items():
        for condition in status["conditions"]:
            if condition["type"] != "Degraded" and condition["status"] != "True":
                return f"{ref.namespace}/{ref.name}: {condition['message']}"
    return "the proxies have not answered"


def _serves(run: Standalone) -> bool:
    """Every policy that can be programmed is."""
    statuses = run.plane.statuses.values()
    return bool(statuses) and all(
        condition["status"] == "True" or condition["reason"] == "NotAccepted"
        for status in statuses
        for condition in status["conditions"]
        if condition["type"] == "Programmed"
    )


def _relative(path: Path) -> Path:
    with contextlib.suppress(ValueError):
        return path.resolve().relative_to(Path.cwd())
    return path
