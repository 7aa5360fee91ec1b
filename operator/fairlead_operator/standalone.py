"""``fairlead standalone DIR``: control plane, manifests and a real Envoy for each gateway, in one process's care."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from fairlead_operator import bootstrap, folders
from fairlead_operator.api.meta import Ref
from fairlead_operator.endpoints.ejections import Ejections
from fairlead_operator.endpoints.scout import Scout
from fairlead_operator.endpoints.targets import Target, unknown
from fairlead_operator.envoy import Envoy, EnvoyError
from fairlead_operator.envoys import Envoys
from fairlead_operator.loop import ControlPlane
from fairlead_operator.metrics import Metrics
from fairlead_operator.options import Options, StartError, joined, split
from fairlead_operator.progress import Report
from fairlead_operator.sources.files import Directory
from fairlead_operator.status_server import StatusServer
from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.observer import Proxy
from fairlead_xds.server import XdsServer
from fairlead_xds.store import Store

Say = Callable[[str], None]


class Standalone:
    """Everything that one run owns; ``run`` starts it, serves, and ends all that it started."""

    def __init__(
        self, options: Options, say: Say = print, *, welcome: Callable[[Standalone], Awaitable[None]] | None = None
    ) -> None:
        self.options, self.say = options, say
        self.stop = asyncio.Event()
        self.metrics = Metrics()
        self.store = Store()
        self.plane = ControlPlane(
            self.store,
            self._proxies,
            address=options.listen_address,
            on_status=self._status,
            on_report=self._report,
        )
        self.server = XdsServer(self.store, NodeClusterAuthenticator(), observer=self.plane.answers)
        self.directory = Directory(
            options.directory, self.plane, on_error=lambda text: say(f"error: {text}"), on_mended=say
        )
        self.envoys = Envoys(self._start_envoy)
        self.xds_port = 0
        self.status_port = 0
        self._welcome = welcome
        self._told: dict[Ref, str] = {}
        self._exit = 0

    def _proxies(self) -> list[Proxy]:
        return self.server.proxies()

    def _targets(self, keys: Collection[str]) -> list[Target]:
        """The Envoys that run beside this process, and those that somebody else has started."""
        mine = [
            Target(_node(envoy.name), envoy.name, "http://envoy", envoy.admin)
            for envoy in self.envoys.now
            if envoy.admin and envoy.name in keys
        ]
        return [*mine, *unknown(self.server.proxies(), mine, keys)]

    async def run(self) -> int:
        """The exit code. Raises StartError where something that it needs cannot be had."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self.stop.set)
        status = StatusServer(
            self.plane,
            self.metrics,
            proxies=lambda: len(self.server.proxies()),
            unready=lambda: "" if self.plane.ready else "the directory has not been read",
            errors=lambda: self.directory.errors,
            scout=Scout(self.plane, self._targets),
        )
        async with contextlib.AsyncExitStack() as stack:
            await self._listen(status, stack)
            self._read_directory()
            tasks = asyncio.TaskGroup()
            await stack.enter_async_context(tasks)
            asking = tasks.create_task(Ejections(self.plane, self._targets).run())
            stack.callback(asking.cancel)
            tasks.create_task(self.directory.watch(self.stop))
            stack.push_async_callback(self.envoys.end)
            stack.callback(self.stop.set)
            if self.options.envoy:
                await self._follow_gateways(tasks)
            if self._welcome is not None:
                await self._welcome(self)
            await self._until_stopped()
        return self._exit

    async def _listen(self, status: StatusServer, stack: contextlib.AsyncExitStack) -> None:
        host, port = split(self.options.xds_address)
        try:
            self.xds_port = await self.server.start(joined(host, port))
        except OSError:
            raise StartError(_in_use("xDS", self.options.xds_address, "--xds-address")) from None
        stack.push_async_callback(self.server.stop, 0.5)
        host, port = split(self.options.status_address)
        try:
            self.status_port = await status.start(host, port)
        except OSError:
            raise StartError(_in_use("status", self.options.status_address, "--status-address")) from None
        stack.push_async_callback(status.stop)

    def _read_directory(self) -> None:
        if not self.options.directory.is_dir():
            raise StartError(f"{self.options.directory} is not a directory: name one that holds manifests")
        try:
            self.directory.scan()
        except OSError as error:
            raise StartError(f"{self.options.directory} cannot be read: {error.strerror}") from None
        self.plane.synced()

    async def _until_stopped(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), self.options.seconds)

    # --- Envoys

    async def _follow_gateways(self, tasks: asyncio.TaskGroup) -> None:
        """The Envoys of the gateways there are; then look for others for as long as this runs."""
        folders.sweep()
        for gateway in self.plane.gateways():
            for listener in self.plane.reconciled.proxies[gateway].listeners:
                _check_port(listener.address, listener.port)
        await self._look(tasks)
        tasks.create_task(self._watch_gateways(tasks))

    async def _watch_gateways(self, tasks: asyncio.TaskGroup) -> None:
        while not self.stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stop.wait(), 0.5)
            if not self.stop.is_set():
                await self._look(tasks)

    async def _look(self, tasks: asyncio.TaskGroup) -> None:
        try:
            started, ended = await self.envoys.follow(self.plane.gateways())
        except EnvoyError as error:
            raise StartError(str(error)) from None
        for envoy in started:
            tasks.create_task(self._mourn(envoy))
        for envoy in ended:
            self.say(f"  Envoy of gateway {envoy.name} has ended: no policy names the gateway any more")

    async def _start_envoy(self, gateway: str) -> Envoy:
        host, _ = split(self.options.xds_address)
        config = bootstrap.bootstrap(
            gateway=gateway, node=_node(gateway), xds_host=reachable(host), xds_port=self.xds_port
        )
        return await Envoy.start(config, name=gateway)

    async def _mourn(self, envoy: Envoy) -> None:
        await envoy.wait()
        if not self.stop.is_set() and self.envoys.wanted(envoy):
            self.say(f"error: Envoy of gateway {envoy.name} {envoy.end()}")
            self._exit = 1
            self.stop.set()

    # --- what people see

    def _status(self, ref: Ref, status: dict[str, Any]) -> None:
        """Say what is wrong with a policy, once, and when it is no more."""
        wrong = [text for condition in status["conditions"] if (text := complaint(condition))]
        said, text = self._told.get(ref, ""), "; ".join(wrong)
        if text != said:
            self.say(f"  {ref.namespace}/{ref.name}: {text or 'all is well again'}")
            self._told[ref] = text

    def _report(self, report: Report) -> None:
        if not report.refusal:
            self.metrics.changes += 1
            self.metrics.propagation.observe(report.seconds)
        self.say(live_line(report))


def complaint(condition: dict[str, Any]) -> str:
    """What a person should know of a condition; empty for what is well or on its way."""
    well = "False" if condition["type"] == "Degraded" else "True"
    if condition["status"] == well or condition["reason"] in {"Pending", "NoProxies", "NotUsed", "NotAccepted"}:
        return ""
    return f"{condition['type']}={condition['status']}: {condition['message']}"


def live_line(report: Report) -> str:
    """``EndpointSlice shop/a -> 1 ClusterLoadAssignment; acknowledged by edge-1 after 3.1 ms``; or refused, in its words."""
    shown = ", ".join(report.what[:3]) or "a policy held back, or tried again"
    if len(report.what) > 3:
        shown += f" and {len(report.what) - 3} more"
    resources = ", ".join(f"{count} {name}" for name, count in report.resources.items())
    who = ", ".join(report.proxies[:3]) + (f" and {len(report.proxies) - 3} more" if len(report.proxies) > 3 else "")
    change = f"  {shown} -> {resources}{' removed' if report.removed else ''}"
    if report.refusal:
        return f"{change}; refused by {who}: {' '.join(report.refusal.split())}"
    return f"{change}; acknowledged by {who} after {report.seconds * 1000:.1f} ms"


def _node(gateway: str) -> str:
    """The name of the Envoy that is started for a gateway."""
    return f"{gateway}-1"


def reachable(host: str) -> str:
    """Where a client on this machine finds a server that listens on *host*."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - told apart, not bound


def _in_use(what: str, address: str, option: str) -> str:
    host, port = split(address)
    if isinstance(_bind_error(host, port), PermissionError):  # gRPC does not say so
        return f"the {what} address {address} needs root: choose a port of 1024 or more with {option}"
    return (
        f"the {what} address {address} is in use, or is no address of this machine:"
        f" end the program that has it, or choose another with {option}"
    )


def _bind_error(address: str, port: int) -> OSError | None:
    """What the system says to a server there; ``None``: it may."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error
    return None


def _check_port(address: str, port: int) -> None:
    """Envoy would refuse the listener; a sentence before the start is kinder. Raises StartError."""
    error = _bind_error(address, port)
    if error is None:
        return
    if isinstance(error, PermissionError):
        raise StartError(f"port {port} needs root: use a port of 1024 or more in the listener")
    if error.errno != errno.EADDRINUSE:
        raise StartError(f"gateways cannot bind to {address}: choose another --listen-address")
    raise StartError(
        f"port {port} is in use: end the program that has it, or change the listener's port in the manifest"
    )
