"""``fairlead operator``: the control plane between the Kubernetes API and the proxies, put together and taken apart.

One event loop has the xDS server, the reflectors and the status writer; kopf has a thread of its own and hands over.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import Any

from fairlead_operator import handlers
from fairlead_operator.api.config import OperatorConfig
from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.endpoints.ejections import Ejections
from fairlead_operator.endpoints.scout import Scout
from fairlead_operator.endpoints.targets import Target, of_pods, unknown
from fairlead_operator.events.writer import EventWriter
from fairlead_operator.gateways.access import EVERYTHING, Access
from fairlead_operator.gateways.service import GatewayServices
from fairlead_operator.injection.assembly import Injection, settings_of
from fairlead_operator.loop import ControlPlane
from fairlead_operator.metrics import Metrics
from fairlead_operator.options import StartError, split
from fairlead_operator.progress import Report
from fairlead_operator.replicas.assembly import Identity, Replica
from fairlead_operator.sources.client import ConfigError, KubeClient, connect
from fairlead_operator.sources.policies import SWEEP, PolicySource
from fairlead_operator.sources.reflector import KINDS, Reflector, Timings
from fairlead_operator.status_server import StatusServer
from fairlead_operator.status_writer import StatusWriter
from fairlead_operator.supervised import Supervised
from fairlead_operator.trust.assembly import Trust, TrustOptions
from fairlead_operator.trust.proxies import sidecars
from fairlead_xds.auth import NodeClusterAuthenticator
from fairlead_xds.observer import Proxy
from fairlead_xds.server import Options as XdsOptions
from fairlead_xds.server import XdsServer
from fairlead_xds.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorOptions:
    """What the command line says, and times in seconds that only tests change.

    Attributes:
        kubeconfig, context: the cluster; by default the one that the process runs in, else kubectl's.
        config: the installation that this is a replica of; ``None``: one process beside a cluster, for development.
        trust: of an installation: TLS only, and proxies prove who they are. ``None``: beside a cluster, unencrypted.
        allow_plaintext: serve xDS without encryption to more than this machine.
        listen_address: what gateways bind to.
        pod_uid: of the pod that this process is in, if any.
        drain: seconds over which streams end when the process does.
        settle: how long after the start statuses are left alone, so that proxies may come back first.
        kopf_backoff: first and longest delay between two runs of kopf.
    """

    kubeconfig: str | None = None
    context: str | None = None
    config: OperatorConfig | None = None
    xds_address: str = "127.0.0.1:18000"
    status_address: str = "127.0.0.1:18001"
    trust: TrustOptions | None = None
    allow_plaintext: bool = False
    listen_address: str = "0.0.0.0"  # noqa: S104 - a gateway's listeners are for everyone
    pod_uid: str = ""
    drain: float = 0.0
    settle: float = 5.0
    sweep: float = SWEEP
    timings: Timings = field(default_factory=Timings)
    kopf_backoff: tuple[float, float] = (0.2, 5.0)


class _Policies:
    """Where policies go: to the control plane and to the writer of their statuses."""

    def __init__(self, plane: ControlPlane, writer: StatusWriter, events: EventWriter) -> None:
        self._plane, self._writer, self._events = plane, writer, events

    def apply(self, raw: dict[str, Any]) -> None:
        ref = ref_of(raw)
        if raw.get("status"):  # of the process before this one: its times go on
            self._plane.statuses.setdefault(ref, raw["status"])
        self._writer.seen(ref, raw)
        self._plane.apply(raw)

    def delete(self, ref: Ref) -> None:
        self._writer.forget(ref)
        self._events.forget(ref)
        self._plane.delete(ref)


class Operator:
    """Everything that one run owns. Made by ``running``.

    Attributes:
        plane, server, writer, events, policies, reflectors, kopf: the parts; for status pages and tests.
        replica: of an installation of several; ``None`` beside a cluster.
        ending: it has been told to end, and is ready no more.
        xds_port, status_port: where they listen.
    """

    def __init__(self, options: OperatorOptions, client: KubeClient) -> None:
        self.options, self.client = options, client
        self.metrics, self.store = Metrics(), Store()
        self.events = EventWriter(client, _name(options))
        self.writer, self.replica = StatusWriter(client, on_written=self.events.written), self._replica()
        self.plane = ControlPlane(
            self.store,
            self._proxies,
            move=lambda proxy, key: self.server.move(proxy, key),
            address=options.listen_address,
            access=_access(options.config),
            on_status=self.writer.write,
            on_report=self._report,
            on_surveyed=self._surveyed,
            peers=self.replica.peers if self.replica else None,
            settle=0.0 if self.replica else options.settle,
        )
        self.plane.world.own_gateways = options.config is None
        self.trust = self._trust()
        self.server = XdsServer(
            self.store,
            self.trust.authenticator if self.trust else NodeClusterAuthenticator(),
            observer=self.plane.answers,
            options=XdsOptions(max_streams=16 if self.trust else 0),
        )
        self.injection = self._injection()
        self.metrics.more = [self.server.gate.metrics, *([self.trust.metrics] if self.trust else [])]
        if self.injection is not None:
            self.metrics.more.append(self.injection.webhook.metrics)
        if self.replica is not None:
            self.replica.join(self.plane, self.writer, timings=options.timings)
            assert options.config is not None  # an installation has replicas
            self._lead_gateways(self.replica, options.config)
            self.replica.leadership.add_duty("ejections", Ejections(self.plane, self._targets).run)
            if self.trust is not None:
                self.replica.leadership.add_duty("certificates", self.trust.lead)
            if self.injection is not None:
                self._lead_injection(self.replica, self.injection)
        # kopf may be late to notice that the API server is back: policies that changed meanwhile are looked for then.
        self.reflectors = [
            Reflector(kind, client, self.plane, timings=options.timings, on_back=lambda: self.policies.sweep_soon())
            for kind in KINDS
        ]
        self.policies = PolicySource(client, _Policies(self.plane, self.writer, self.events), sweep=options.sweep)
        self.kopf = self._supervised_kopf()
        self.status = StatusServer(
            self.plane,
            self.metrics,
            proxies=lambda: len(self.server.proxies()),
            unready=self._unready,
            status_writes=lambda: self.writer.writes,
            scout=Scout(self.plane, self._targets),
        )
        self.xds_port = self.status_port = 0
        self.ending = False

    def _replica(self) -> Replica | None:
        config = self.options.config
        if config is None:
            return None
        identity = Identity(name=_name(self.options), uid=self.options.pod_uid)
        return Replica(self.client, config, identity, settle=self.options.settle)

    def _lead_gateways(self, replica: Replica, config: OperatorConfig) -> None:
        services = {gateway.name: gateway.service for gateway in config.gateways if gateway.service is not None}
        duty = GatewayServices(self.client, self.plane, config.namespace, services)
        self.plane.on_config(duty.changed)

        async def follow_listeners() -> None:
            await self.plane.served()  # before, no listener is known, and every port would seem to be needed no more
            try:
                await duty.run()
            finally:
                self.plane.closed({})  # the next leader finds out for itself

        replica.leadership.add_duty("ports of gateways", follow_listeners)

    def _lead_injection(self, replica: Replica, injection: Injection) -> None:
        self.plane.on_config(injection.namespaces.changed)

        async def follow_policies() -> None:
            await self.plane.served()  # before, no policy is known, and no namespace would seem to have one
            await injection.namespaces.run()

        replica.leadership.add_duty("namespaces of the webhook", follow_policies)

    def _trust(self) -> Trust | None:
        if self.options.trust is None:
            return None
        pods, replica = self.plane.world.pods, self.replica
        trust = Trust(
            self.client,
            self.options.trust,
            sidecars=sidecars(lambda uid: pods.by_uid(uid) is not None, self.plane.sidecar_keys.of_subject),
            namespaces=pods.namespaces,
            timings=self.options.timings,
        )
        if replica is not None:
            trust.leads = lambda: replica.leadership.is_leader
        self.plane.on_config(trust.policies_changed)
        return trust

    def _injection(self) -> Injection | None:
        config = self.options.config
        settings = settings_of(config) if config is not None else None
        if config is None or settings is None or self.trust is None:
            return None
        return Injection(
            self.client, config, settings, world=self.plane.world, trust=self.trust, timings=self.options.timings
        )

    def _supervised_kopf(self) -> Supervised:
        loop = asyncio.get_running_loop()

        def told(kind: str | None, raw: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(self.policies.event, kind, raw)

        def started() -> None:
            loop.call_soon_threadsafe(self.policies.sweep_soon)

        return Supervised(
            "kopf",
            lambda: handlers.run(told, self.client.credentials),
            on_start=started,
            backoff=self.options.kopf_backoff,
        )

    async def listen(self, stack: contextlib.AsyncExitStack) -> None:
        """Open the ports; that of xDS waits for a certificate where it needs one (``serve``). Raises StartError."""
        if self.trust is None:
            await self.serve()
        stack.push_async_callback(self.server.stop, 0.5)
        stack.push_async_callback(self.status.stop)
        host, port = split(self.options.status_address)
        try:
            self.status_port = await self.status.start(host, port)
        except OSError:
            raise StartError(
                f"status cannot listen on {self.options.status_address}: choose --status-address"
            ) from None

    async def serve(self) -> None:
        """Open the port of xDS. Raises StartError."""
        credentials = None
        if self.trust is not None:
            await self.trust.serving.ready.wait()
            credentials = self.trust.serving.credentials()
        try:
            self.xds_port = await self.server.start(self.options.xds_address, credentials)
        except OSError:
            raise StartError(f"xDS cannot listen on {self.options.xds_address}: choose --xds-address") from None

    async def follow(self) -> None:
        """Start kopf once the policies were listed, and serve once everything was."""
        await self.policies.synced.wait()
        self.kopf.start()
        for reflector in self.reflectors:
            await reflector.synced.wait()
        self.plane.synced()
        log.info("serving: everything was listed, %d policies among it", len(self.plane.world.policies))

    async def drain(self) -> None:
        """End in order: not ready any more, the Lease given back, the proxies sent to other replicas one by one."""
        self.ending = True
        self.writer.pause()  # who starts next reads how many proxies there were
        if self.replica is not None:
            await self.replica.resign()
        await self.server.stop(0.5, spread=self.options.drain)
        if self.replica is not None:
            await self.replica.reporter.farewell()

    def _unready(self) -> str:
        """Why no proxy should be sent here; empty when it may."""
        if self.ending:
            return "ending"
        missing = [one.plural for one in self._every_reflector() if not one.synced.is_set()]
        if not self.policies.synced.is_set():
            missing.append("loadbalancerpolicies")
        if missing or not self.plane.ready:
            return f"waiting for the first list of {', '.join(missing)}"
        if not self.xds_port or (self.injection is not None and not self.injection.port):
            return "waiting for a certificate"
        return ""

    def _every_reflector(self) -> list[Reflector]:
        """Of the objects that are served, of trust and of injection."""
        more = [] if self.trust is None else self.trust.reflectors
        return [*self.reflectors, *more, *([] if self.injection is None else [self.injection.reflector])]

    def _surveyed(self) -> None:
        if self.replica is not None:
            self.replica.reporter.changed()

    def _proxies(self) -> list[Proxy]:
        return self.server.proxies()

    def _targets(self, keys: Collection[str]) -> list[Target]:
        """How the Envoys of pods are asked: at the port where their health and metrics are. Whoever else is connected is not."""
        config = self.options.config
        known = list(of_pods(self.plane.world.pods, config.namespace, keys)) if config is not None else []
        return [*known, *unknown(self.server.proxies(), known, keys)]

    def _report(self, report: Report) -> None:
        if report.refusal:
            return
        self.metrics.changes += 1
        self.metrics.propagation.observe(report.seconds)


def _name(options: OperatorOptions) -> str:
    """Of this replica."""
    given = options.config.replica if options.config is not None else ""
    return given or socket.gethostname().lower()


def _access(config: OperatorConfig | None) -> Access:
    if config is None:
        return EVERYTHING
    return Access(config.namespace, {gateway.name: gateway.namespaces.from_ for gateway in config.gateways})


def check(options: OperatorOptions) -> None:
    """Raises StartError where an option asks for what must not be."""
    split(options.status_address)
    host, _ = split(options.xds_address)
    if options.trust is None and not options.allow_plaintext and not _is_loopback(host):
        raise StartError(
            f"xDS on {options.xds_address} would be open to everyone who reaches it, private keys included: "
            "bind it to loopback, or accept that with --allow-plaintext"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.asynccontextmanager
async def running(options: OperatorOptions) -> AsyncIterator[Operator]:
    """An operator that runs until the block is left. Raises StartError."""
    check(options)
    try:
        client = await connect(options.kubeconfig, options.context)
    except ConfigError as error:
        raise StartError(str(error)) from None
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.close)
        operator = Operator(options, client)
        stack.push_async_callback(operator.writer.stop)
        await operator.listen(stack)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        started = [tasks.create_task(reflector.run()) for reflector in operator.reflectors]
        always = (operator.policies.run(), operator.follow(), operator.events.run())
        started += [tasks.create_task(one) for one in always]
        if operator.replica is not None:
            started += [tasks.create_task(one) for one in operator.replica.run()]
        if operator.trust is not None:
            whole = [*operator.trust.always(), operator.serve()]
            if operator.replica is None:  # nobody else is there to lead
                whole.append(operator.trust.lead())
            started += [tasks.create_task(one) for one in whole]
        if operator.injection is not None:
            stack.push_async_callback(operator.injection.stop)
            started += [tasks.create_task(one) for one in operator.injection.always()]
        try:
            yield operator
        finally:
            for task in started:
                task.cancel()
            await operator.kopf.stop()


async def run_operator(options: OperatorOptions) -> int:
    """Run until SIGTERM or SIGINT; the exit code. Raises StartError."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options) as operator:
        log.info("cluster %s: xDS on port %d", operator.client.server, operator.xds_port)
        await stop.wait()
        log.info("ending: %d proxies connect elsewhere", len(operator.server.proxies()))
        await operator.drain()
    return 0
