"""What proxies find out by themselves: active and passive checks, panic, and endpoints that warm up."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from typing import Any

import grpc.aio
import pytest

from fairlead_xds.snapshot import TypeUrl
from tests.support.backends import Backend
from tests.support.http_client import Client, spread
from tests.support.manifests import NAMESPACE, Raw, endpoint, endpoint_slice, listener, pod, route, service, site
from tests.support.traffic import DRAINING, GATEWAY, NOT_READY, READY, World
from tests.support.traffic_tls import Authority

pytestmark = pytest.mark.timeout(60)

BAD = "500 Internal Server Error"
#: Short, so that what happens happens within a test.
QUICK = {"interval": "100ms", "timeout": "100ms", "jitter": "0s"}
PASSIVE = {"consecutive5xxErrors": 3, "interval": "100ms", "baseEjectionTime": "300ms"}


async def _site(world: World, count: int, **spec: Any) -> list[Backend]:
    """A site over *count* backends, each with its equal share; every request is sent once."""
    backends = await world.service("a", count)
    only = route("all", "a", retry={"attempts": 0})
    world.policy("shop", site(listener(world.port), only, **({"loadBalancer": {"type": "RoundRobin"}} | spec)))
    await world.settled()
    return backends


async def _comes_to(world: World, names: set[str], *, seconds: float = 20) -> None:
    """Return when the answers of thirty requests come from exactly *names*."""
    seen: set[str] = set()
    async with asyncio.timeout(seconds):
        while True:
            tally = await spread(world.port, 30)
            seen = set(tally.backends)
            if seen == names and (names or tally.failures):
                return


# --- passive


@pytest.mark.parametrize("count", [2, 3])
async def test_of_few_endpoints_one_that_fails_is_ejected_and_comes_back(world: World, count: int) -> None:
    """One of two, one of three: Envoy's own 10 % would eject none."""
    bad, *good = await _site(world, count, healthCheck={"passive": PASSIVE})
    bad.status = BAD
    await _comes_to(world, {backend.name for backend in good})

    bad.status = "200 OK"
    await _comes_to(world, {backend.name for backend in (bad, *good)})


async def test_the_only_endpoint_is_never_ejected(world: World) -> None:
    """Exact: after 60 failures the sixty-first request reaches it too."""
    (only,) = await _site(world, 1, healthCheck={"passive": PASSIVE})
    only.status = BAD
    tally = await spread(world.port, 60)
    assert len(tally.failures) == 60
    assert only.count == 60
    only.status = "200 OK"
    assert (await spread(world.port, 20)).backends == {only.name: 20}


async def test_of_three_that_fail_not_all_are_ejected(world: World) -> None:
    """When everything fails, one of three is out and two are asked on: a fault of all is no fault of an endpoint."""
    backends = await _site(
        world, 3, healthCheck={"passive": PASSIVE | {"baseEjectionTime": "60s", "maxEjectionTime": "60s"}}
    )
    for backend in backends:
        backend.status = BAD
    await spread(world.port, 100)
    before = [backend.count for backend in backends]
    await spread(world.port, 60)
    asked = [backend.count - then for backend, then in zip(backends, before, strict=True)]
    assert min(asked) == 0
    assert sum(count > 0 for count in asked) == 2


async def test_of_those_that_are_left_while_others_drain_not_all_are_ejected(world: World) -> None:
    """Envoy counts those that drain: half of four would be both that are left."""
    backends = await _site(
        world, 4, healthCheck={"passive": PASSIVE | {"baseEjectionTime": "60s", "maxEjectionTime": "60s"}}
    )
    left, leaving = backends[:2], backends[2:]
    world.endpoints("a", {one: READY if one in left else DRAINING for one in backends})
    await world.settled()
    for backend in left:
        backend.status = BAD
    await spread(world.port, 100)
    before = [backend.count for backend in left]
    assert len((await spread(world.port, 60)).failures) == 60  # each from a backend: none finds nobody to go to
    asked = [backend.count - then for backend, then in zip(left, before, strict=True)]
    assert sorted(asked) == [0, 60]
    assert [backend.count for backend in leaving] == [0, 0]


async def test_a_check_that_succeeds_brings_nothing_back_that_fails_requests(world: World) -> None:
    """What its health endpoint says is no answer to what requests see: it stays out for as long as the policy says."""
    active = {"type": "HTTP", "http": {"path": "/up"}, **QUICK}
    passive = PASSIVE | {"baseEjectionTime": "60s", "maxEjectionTime": "60s"}
    bad, *good = await _site(world, 3, healthCheck={"active": active, "passive": passive})
    bad.status, bad.statuses["/up"] = BAD, "200 OK"
    await _comes_to(world, {backend.name for backend in good})
    asked = bad.paths.count("/up")
    while bad.paths.count("/up") < asked + 10:
        assert set((await spread(world.port, 30)).backends) == {backend.name for backend in good}


async def test_connections_that_fail_count_by_themselves(world: World) -> None:
    """Refused connections eject although no 5xx criterion is on; answers 500 do not."""
    passive = {"consecutive5xxErrors": 0, "consecutiveLocalOriginFailures": 2, "interval": "100ms"}
    gone, angry, good = await _site(world, 3, healthCheck={"passive": passive})
    angry.status = BAD
    await gone.stop()
    await spread(world.port, 60)
    tally = await spread(world.port, 60)
    assert tally.backends[good.name] == 30
    assert len(tally.failures) == 30  # the angry one's half


# --- active


async def test_an_endpoint_whose_check_fails_gets_nothing_and_comes_back(world: World) -> None:
    """The status of the check alone decides; requests themselves succeed all the time."""
    active = {"type": "HTTP", "http": {"path": "/healthz"}, "unhealthyThreshold": 2, "healthyThreshold": 2, **QUICK}
    a, b = await _site(world, 2, healthCheck={"active": active})
    await _comes_to(world, {a.name, b.name})
    a.statuses["/healthz"] = "503 Service Unavailable"
    await _comes_to(world, {b.name})
    tally = await spread(world.port, 200)
    assert tally.backends == {b.name: 200}

    a.statuses.clear()
    await _comes_to(world, {a.name, b.name})


async def test_one_wrong_status_is_one_failure_and_not_the_end(world: World) -> None:
    """With a threshold of 50 a check that answers 404 has no effect within a few intervals: each status is retriable."""
    active = {"type": "HTTP", "http": {"path": "/healthz"}, "unhealthyThreshold": 50, **QUICK}
    a, b = await _site(world, 2, healthCheck={"active": active})
    await _comes_to(world, {a.name, b.name})
    a.statuses["/healthz"] = "404 Not Found"
    checks = a.paths.count("/healthz")
    await world.until(lambda: a.paths.count("/healthz") >= checks + 3)
    tally = await spread(world.port, 100)
    assert set(tally.backends) == {a.name, b.name}
    assert tally.failures == []


async def test_expected_statuses_are_those_that_are_named(world: World) -> None:
    active = {"type": "HTTP", "http": {"path": "/healthz", "expectedStatuses": [{"first": 418, "last": 418}]}, **QUICK}
    teapot, plain = await _site(world, 2, healthCheck={"active": active | {"unhealthyThreshold": 1}})
    teapot.statuses["/healthz"] = "418 I'm a teapot"
    await _comes_to(world, {teapot.name})
    assert plain.paths.count("/healthz") > 0


async def test_a_tcp_check_finds_who_listens_no_more(world: World) -> None:
    active = {"type": "TCP", "tcp": {}, "unhealthyThreshold": 1, "healthyThreshold": 1, **QUICK}
    a, b = await _site(world, 2, healthCheck={"active": active})
    await _comes_to(world, {a.name, b.name})
    await a.stop()
    await _comes_to(world, {b.name})
    await a.start()
    await _comes_to(world, {a.name, b.name})


async def test_a_grpc_check_asks_for_its_service(world: World) -> None:
    """The server is asked about ``shop.Users`` by HTTP/2: SERVING gets requests, NOT_SERVING none."""
    asked, serving, not_serving = [], b"\x08\x01", b"\x08\x02"
    answers = [serving]

    async def check(request: bytes, _context: Any) -> bytes:
        asked.append(request)
        return answers[-1]

    server = grpc.aio.server()
    handler = grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health", {"Check": grpc.unary_unary_rpc_method_handler(check)}
    )
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        world.apply(service("a"), endpoint_slice("a", port, [endpoint("127.0.0.1")]))
        active = {"type": "GRPC", "grpc": {"service": "shop.Users"}, "unhealthyThreshold": 1, **QUICK}
        active["timeout"] = active["interval"] = "500ms"
        world.policy("shop", site(listener(world.port), "a", healthCheck={"active": active}))
        await world.settled()

        async def refused() -> bool:
            async with Client(world.port) as client:
                return "no_healthy_upstream" in (await client.get()).header("proxy-status")

        async with asyncio.timeout(20):
            while await refused():  # noqa: ASYNC110 - it lives in another process
                await asyncio.sleep(0.02)
        assert asked[0] == b"\x0a\x0ashop.Users"
        answers.append(not_serving)
        async with asyncio.timeout(20):
            while not await refused():  # noqa: ASYNC110 - it lives in another process
                await asyncio.sleep(0.02)
    finally:
        await server.stop(0)


async def test_policies_with_equal_settings_share_their_checks(world: World) -> None:
    """Two sites over one Service ask each endpoint once an interval, not twice: the cluster is the same."""
    health = {"active": {"type": "HTTP", "http": {"path": "/healthz"}, **QUICK}}
    await _site(world, 1, healthCheck=health)
    other = site(listener(world.port, "other.example.com"), "a", healthCheck=health)
    world.policy("other", other | {"loadBalancer": {"type": "RoundRobin"}})
    await world.settled()
    assert len(world.store.current(GATEWAY).resources(TypeUrl.CLUSTER)) == 1


# --- panic


async def test_no_request_goes_to_an_endpoint_that_is_known_bad(world: World) -> None:
    """Exact: with the default of 0 all of 100 requests get 503, none reaches a backend, and the answer says why."""
    active = {"type": "HTTP", "http": {"path": "/healthz"}, "unhealthyThreshold": 1, **QUICK}
    backends = await _site(world, 2, healthCheck={"active": active})
    for backend in backends:
        backend.statuses["/healthz"] = BAD
    await _comes_to(world, set())
    before = [backend.paths.count("/") for backend in backends]
    tally = await spread(world.port, 100)
    async with Client(world.port) as client:
        answer = await client.get()
    assert len(tally.failures) == 100
    assert [backend.paths.count("/") for backend in backends] == before
    assert answer.status == 503
    assert answer.header("proxy-status").startswith("fairlead; error=destination_unavailable")
    assert "no_healthy_upstream" in answer.header("proxy-status")


async def test_below_the_panic_threshold_all_get_requests(world: World) -> None:
    """With 50, one fit endpoint of four is too few: all four get requests. With three of four fit, only those."""
    active = {"type": "HTTP", "http": {"path": "/healthz"}, "unhealthyThreshold": 1, "healthyThreshold": 1, **QUICK}
    backends = await _site(world, 4, healthCheck={"active": active, "panicThreshold": 50})
    everyone = {backend.name for backend in backends}
    backends[0].statuses["/healthz"] = BAD
    await _comes_to(world, everyone - {backends[0].name})
    for backend in backends[1:3]:
        backend.statuses["/healthz"] = BAD
    await _comes_to(world, everyone)


# --- slow start


async def test_a_newcomer_warms_up(world: World) -> None:
    """Right after it joined it has well under its third of 300 requests; when the window is over it has its third, ± 15.

    Not exact: Envoy's schedule still holds what was planned while the newcomer was cold.
    """
    a, b, c = await _site(world, 3, loadBalancer={"type": "RoundRobin", "slowStart": {"window": "3s"}})
    world.endpoints("a", {a: READY, b: READY, c: NOT_READY})
    await world.settled()
    await _wait(3.2)
    world.endpoints("a", [a, b, c])
    await world.settled()
    first = (await spread(world.port, 300)).backends[c.name]
    await _wait(3.2)
    last = (await spread(world.port, 300)).backends[c.name]
    assert first < 70
    assert abs(last - 100) <= 15


async def _wait(seconds: float) -> None:
    """Envoy's own clock runs: nothing tells when a window is over."""
    await asyncio.sleep(seconds)


# --- as the pods' own probes


def _probed(name: str, probe: dict[str, Any], kind: str = "readiness") -> dict[str, Any]:
    container = {"name": "web", f"{kind}Probe": {"periodSeconds": 1, "failureThreshold": 1} | probe}
    return pod(name, {}, sidecar=False) | {"spec": {"containers": [container]}}


#: A second is the shortest that a probe knows; the rest is the policy's, so that what happens happens within a test.
AS_PROBED = {"type": "ReadinessProbe", "interval": "100ms", "timeout": "100ms", "jitter": "0s"}


async def test_what_the_readiness_probe_asks_is_asked_by_proxies_too_each_pod_at_its_port(world: World) -> None:
    """Kubernetes says ready for both all the time; the admin port of each decides, and is another one for each."""
    a, b = await _site(world, 2, healthCheck={"active": AS_PROBED})
    admins = [await Backend(f"admin-{one.name}", one.address).start() for one in (a, b)]
    for one, admin in zip((a, b), admins, strict=True):
        probe = {
            "httpGet": {"path": "/readyz", "port": admin.port, "httpHeaders": [{"name": "Host", "value": "probe"}]}
        }
        world.apply(_probed(one.name, probe))
    await world.settled()
    await _comes_to(world, {a.name, b.name})
    assert {path for admin in admins for path in admin.paths} == {"/readyz"}
    assert [admin.hosts for admin in admins] == [{"probe"}, {"probe"}]
    assert "/readyz" not in a.paths + b.paths

    admins[1].status = BAD
    await _comes_to(world, {a.name})
    admins[1].status = "200 OK"
    await _comes_to(world, {a.name, b.name})
    for admin in admins:
        await admin.stop()


async def test_headers_of_a_probe_arrive_as_they_are(world: World) -> None:
    """Envoy takes what is between percent signs for a command, and has a User-Agent of its own."""
    headers = {"x-share": "100%", "x-name": "a%20b %REQ(x)% %%", "user-agent": "kube-probe/1.34"}
    named = [{"name": name, "value": value} for name, value in headers.items()]
    twice = [{"name": "x-twice", "value": value} for value in ("1", "2")]
    (only,) = await _site(world, 1, healthCheck={"active": AS_PROBED})
    world.apply(
        _probed(only.name, {"httpGet": {"path": "/readyz", "port": only.port, "httpHeaders": [*named, *twice]}})
    )
    await world.settled()
    async with asyncio.timeout(20):
        while "/readyz" not in only.heads:
            await spread(world.port, 1)

    found = [line.partition(": ") for line in only.heads["/readyz"].split("\r\n")]
    assert {name: [value for key, _, value in found if key == name] for name in [*headers, "x-twice"]} == {
        **{name: [value] for name, value in headers.items()},
        "x-twice": ["1", "2"],
    }


async def test_a_probe_without_a_host_is_asked_by_address_and_port_as_a_kubelet_asks(world: World) -> None:
    """Also once another template says a host, and no more after that."""
    (only,) = await _site(world, 1, healthCheck={"active": AS_PROBED})
    plain = {"httpGet": {"path": "/readyz", "port": only.port}}
    called = {"httpGet": {**plain["httpGet"], "httpHeaders": [{"name": "Host", "value": "probe"}]}}
    for probe, host in (
        (plain, f"{only.address}:{only.port}"),
        (called, "probe"),
        (plain, f"{only.address}:{only.port}"),
    ):
        world.apply(_probed(only.name, probe))
        await world.settled()
        only.hosts.clear()
        async with asyncio.timeout(20):
            while host not in only.hosts:  # noqa: ASYNC110 - it lives in another process
                await asyncio.sleep(0.02)
        only.hosts.clear()
        await _comes_to(world, {only.name})
        assert only.hosts <= {host, "test.example.com"}


async def test_a_template_that_changes_is_followed(world: World) -> None:
    a, b = await _site(world, 2, healthCheck={"active": AS_PROBED})
    for one in (a, b):
        one.statuses["/new"] = BAD
        world.apply(_probed(one.name, {"httpGet": {"path": "/old", "port": one.port}}))
    await world.settled()
    await _comes_to(world, {a.name, b.name})

    for one in (a, b):
        world.apply(_probed(one.name, {"httpGet": {"path": "/new", "port": one.port}}))
    await _comes_to(world, set())
    for one in (a, b):
        one.statuses.clear()
    await _comes_to(world, {a.name, b.name})


async def test_a_probe_over_tls_is_asked_over_tls_whatever_the_certificate(world: World) -> None:
    (only,) = await _site(world, 1, healthCheck={"active": AS_PROBED})
    authority = Authority()
    leaf = authority.issue("nobody.example.com")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        file.write(leaf.certificate + leaf.key)
        file.flush()
        context.load_cert_chain(file.name)
    asked = list[bytes]()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 500 Bad\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, only.address, 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    headers = [{"name": "x-probe", "value": "kubelet"}]
    world.apply(_probed(only.name, {"httpGet": {"port": port, "scheme": "HTTPS", "httpHeaders": headers}}))
    await world.settled()
    await _comes_to(world, set())
    assert b"x-probe: kubelet" in asked[0]
    server.close()


async def test_a_probe_that_no_proxy_can_ask_is_told_and_nobody_is_asked(world: World) -> None:
    (only,) = await _site(world, 1, healthCheck={"active": AS_PROBED})
    world.apply(_probed(only.name, {"exec": {"command": ["true"]}}))
    await world.settled()

    condition = world.condition("shop", "Degraded")
    assert condition["reason"] == "ProbeNotUsable"
    assert "it is a command in the container (exec); nobody asks these endpoints" in condition["message"]
    assert (await spread(world.port, 10)).backends == {only.name: 10}
    assert set(only.paths) == {"/"}


async def test_alive_and_not_ready_gets_nothing_dead_is_out_before_its_slice_says_so(world: World) -> None:
    """``LivenessProbe``: readiness is Kubernetes' word, life is asked for by the proxies too."""
    check = {"type": "LivenessProbe", "interval": "100ms", "timeout": "100ms", "jitter": "0s"}
    a, b = await _site(world, 2, healthCheck={"active": check})
    for one in (a, b):
        world.apply(
            _probed(one.name, {"httpGet": {"path": "/livez", "port": one.port}, "failureThreshold": 3}, "liveness")
        )
    await world.settled()
    await _comes_to(world, {a.name, b.name})

    world.endpoints("a", {a: READY, b: NOT_READY})
    await world.settled()
    await _comes_to(world, {a.name})
    world.endpoints("a", [a, b])
    await _comes_to(world, {a.name, b.name})
    b.statuses["/livez"] = BAD
    await _comes_to(world, {a.name})


@pytest.mark.parametrize("where", [{"address": "127.0.0.1"}, {"hostname": "localhost"}], ids=["address", "hostname"])
async def test_endpoints_outside_kubernetes_are_asked_at_the_port_of_the_check(world: World, where: Raw) -> None:
    """Exact: the admin port alone is asked, and it decides; requests go where they went."""
    outside, admin = [await Backend(name, "127.0.0.1").start() for name in ("outside", "admin")]
    try:
        spec = {"endpoints": [{**where, "port": outside.port}]}
        world.apply({"apiVersion": "fairlead.dev/v1alpha1", "kind": "Backend", "metadata": _named("ext"), "spec": spec})
        check = {"active": {"type": "HTTP", "http": {"path": "/up"}, "port": admin.port, **QUICK}}
        only = {"name": "all", "backendRefs": [{"kind": "Backend", "name": "ext"}]}
        world.policy("shop", site(listener(world.port), only, healthCheck=check))
        await world.settled()
        await _comes_to(world, {"outside"})

        admin.status = BAD
        await _comes_to(world, set())
        admin.status = "200 OK"
        await _comes_to(world, {"outside"})
        assert set(admin.paths) == {"/up"}
        (called,) = where.values()
        assert admin.hosts == {f"{called}:{admin.port}"}
        assert set(outside.paths) == {"/"}
    finally:
        await outside.stop()
        await admin.stop()


def _named(name: str) -> Raw:
    return {"name": name, "namespace": NAMESPACE}
