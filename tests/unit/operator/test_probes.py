"""Active checks as the pods' own probes: what is read of a template, what most pods say, and what cannot be asked."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator import bindings
from fairlead_operator.api.pod_status import PodState
from fairlead_operator.api.probes import Probe, read_probes
from fairlead_operator.api.slices import EndpointSlice, read_slice
from fairlead_operator.bindings import asked_otherwise, turns
from fairlead_operator.probes import Choice, choose
from fairlead_operator.reconcile import reconcile
from fairlead_xds.features.active import ActiveHealthCheck
from fairlead_xds.model import NOT_ASKED
from tests.support.manifests import (
    NAMESPACE,
    endpoint,
    endpoint_slice,
    listener,
    placed,
    policy,
    running_pod,
    service,
    site,
)
from tests.support.worlds import policy_ref, service_ref, world_of

Json = dict[str, Any]
HTTP: Json = {"httpGet": {"path": "/healthz", "port": 8080}}
PORTS = [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9000}]


def spec(readiness: Json | None = None, liveness: Json | None = None, **fields: Any) -> Json:
    container: Json = {"name": "web", "ports": PORTS, **fields}
    if readiness is not None:
        container["readinessProbe"] = readiness
    if liveness is not None:
        container["livenessProbe"] = liveness
    return {"containers": [container]}


def readiness_of(probe: Json) -> Probe:
    (container,) = read_probes(spec(probe))
    assert container.readiness is not None
    return container.readiness


@pytest.mark.parametrize(
    ("raw", "probe"),
    [
        (HTTP, Probe("HTTP", port=8080, path="/healthz")),
        ({"httpGet": {"port": "admin"}}, Probe("HTTP", port=9000)),
        ({"httpGet": {"port": "9001", "path": "up"}}, Probe("HTTP", port=9001, path="/up")),
        (
            {
                "httpGet": {
                    "port": 443,
                    "scheme": "HTTPS",
                    "httpHeaders": [{"name": "host", "value": "shop"}, {"name": "x-probe", "value": "1"}],
                },
                "periodSeconds": 3,
                "timeoutSeconds": 2,
                "successThreshold": 4,
                "failureThreshold": 5,
            },
            Probe("HTTP", "", 443, "/", "HTTPS", "shop", (("x-probe", "1"),), "", 3, 2, 5, 4),
        ),
        ({"grpc": {"port": 8080, "service": "shop.Users"}}, Probe("GRPC", port=8080, service="shop.Users")),
        ({"tcpSocket": {"port": "http"}}, Probe("TCP", port=8080)),
        ({"exec": {"command": ["true"]}}, Probe(problem="it is a command in the container (exec)")),
        ({"httpGet": {"port": 80, "host": "elsewhere"}}, Probe(problem="its host is not the pod")),
        ({"tcpSocket": {"port": 80, "host": "elsewhere"}}, Probe(problem="its host is not the pod")),
        ({"httpGet": {"port": "nowhere"}}, Probe(problem="it names no port of its container")),
        ({"httpGet": {"port": 99999}}, Probe(problem="it names no port of its container")),
        ({"httpGet": {"port": "99999"}}, Probe(problem="it names no port of its container")),
        ({"tcpSocket": {"port": "9" * 5000}}, Probe(problem="it names no port of its container")),
        ({"tcpSocket": {"port": "0"}}, Probe(problem="it names no port of its container")),
        (
            {"httpGet": {"port": 80, "path": "/café au lait?a=ä#b"}},
            Probe("HTTP", port=80, path="/caf%C3%A9%20au%20lait?a=%C3%A4"),
        ),
        ({"httpGet": {"port": 80, "path": "/caf%C3%A9"}}, Probe("HTTP", port=80, path="/caf%C3%A9")),
        ({"httpGet": {"port": 80, "path": "/\ud800"}}, Probe("HTTP", port=80, path="/?")),
    ],
)
def test_a_probe(raw: Json, probe: Probe) -> None:
    assert readiness_of(raw) == probe


def test_pods_of_one_template_have_one_object() -> None:
    assert read_probes(spec(HTTP)) is read_probes(spec(HTTP))
    assert read_probes(spec()) == ()


FIELDS = ["containers", "readinessProbe", "httpGet", "grpc", "tcpSocket", "port", "ports", "httpHeaders"]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=25,
)


@given(json_values)
def test_nothing_that_it_is_told_makes_it_fail(containers: Any) -> None:
    read_probes({"containers": containers})


# --- what is asked


def _slices(*pods: str) -> list[EndpointSlice]:
    entries = [placed(endpoint(f"10.0.0.{number}"), pod=pod) for number, pod in enumerate(pods, start=1)]
    return [read_slice(endpoint_slice("web", 8080, entries))]


def _chosen(probes: dict[str, Json], kind: str = "ReadinessProbe", **fields: Any) -> Choice:
    states = {name: PodState(probes=read_probes(raw)) for name, raw in probes.items()}
    return choose(ActiveHealthCheck(type=kind, **fields), _slices(*probes), "", states)


def test_everything_comes_from_the_probe() -> None:
    probe = HTTP | {"periodSeconds": 3, "timeoutSeconds": 2, "failureThreshold": 4, "successThreshold": 5}

    check, problem, ports, _ = _chosen({"a": spec(probe)})

    assert check is not None
    assert (check.type, check.interval, check.timeout) == ("HTTP", "3s", "2s")
    assert (check.unhealthy_threshold, check.healthy_threshold) == (4, 5)
    assert check.http is not None
    assert check.http.path == "/healthz"
    assert not problem
    assert ports == {"a": 8080}


def test_a_path_is_asked_for_as_a_kubelet_writes_it() -> None:
    check = _chosen({"a": spec({"httpGet": {"port": 8080, "path": "/à propos"}})}).check

    assert check is not None
    assert check.http is not None
    assert check.http.path == "/%C3%A0%20propos"


def test_what_the_policy_says_comes_first() -> None:
    check = _chosen({"a": spec(HTTP)}, interval="1m", timeout="12s", unhealthy_threshold=1, healthy_threshold=7).check

    assert check is not None
    assert (check.interval, check.timeout, check.unhealthy_threshold, check.healthy_threshold) == ("1m", "12s", 1, 7)


@pytest.mark.parametrize(
    ("kind", "raw", "wanted", "jitter"),
    [
        ("ReadinessProbe", {"periodSeconds": 10}, {}, "1000ms"),
        ("ReadinessProbe", {"periodSeconds": 1}, {}, "500ms"),
        ("ReadinessProbe", {"periodSeconds": 10}, {"interval": "200ms"}, "100ms"),
        ("ReadinessProbe", {"periodSeconds": 1}, {"jitter": "7s"}, "7s"),
        ("LivenessProbe", {"periodSeconds": 1, "failureThreshold": 2}, {}, "90ms"),
        ("LivenessProbe", {"periodSeconds": 10, "failureThreshold": 3}, {}, "897ms"),
        ("LivenessProbe", {"periodSeconds": 10, "failureThreshold": 3}, {"jitter": "1s"}, "1000ms"),
    ],
)
def test_proxies_drift_apart(kind: str, raw: Json, wanted: Json, jitter: str) -> None:
    check = _chosen({"a": spec(HTTP | raw, HTTP | raw)}, kind, **wanted).check

    assert check is not None
    assert check.jitter == jitter


def _asked_before_it_is_killed(raw: Json, **wanted: Any) -> tuple[str | None, str | None, int | None]:
    check = _chosen({"a": spec(liveness=HTTP | raw)}, "LivenessProbe", **wanted).check
    assert check is not None
    return check.interval, check.timeout, check.unhealthy_threshold


def test_life_is_asked_for_sooner_than_the_kubelet_does() -> None:
    """A check that hangs takes its timeout, which the interval between them may be shorter than."""
    assert _asked_before_it_is_killed({}) == ("8078ms", "1s", 2)
    assert _asked_before_it_is_killed({"failureThreshold": 1}) == ("3600ms", "1s", 1)
    assert _asked_before_it_is_killed({"periodSeconds": 1}) == ("383ms", "1s", 2)
    assert _asked_before_it_is_killed({"periodSeconds": 1, "failureThreshold": 10}) == ("525ms", "1s", 6)


def test_what_the_policy_says_of_life_comes_first() -> None:
    """An interval of its own is kept, with one failure less than the kubelet waits for."""
    assert _asked_before_it_is_killed({}, interval="1m") == ("1m", "1s", 2)
    assert _asked_before_it_is_killed({}, interval="1m", unhealthyThreshold=7) == ("1m", "1s", 7)
    assert _asked_before_it_is_killed({}, unhealthyThreshold=1) == ("9000ms", "1s", 1)
    assert _asked_before_it_is_killed({}, timeout="3s")[1:] == ("3s", 2)


@pytest.mark.parametrize(
    ("wanted", "interval", "timeout"),
    [
        ({}, "5s", "5s"),
        ({"interval": "2s"}, "2s", "2s"),
        ({"timeout": "6s"}, "6s", "6s"),
        ({"interval": "10s"}, "10s", "5s"),
        ({"interval": "9s", "timeout": "1s"}, "9s", "1s"),
    ],
)
def test_what_the_policy_does_not_say_gives_way(wanted: Json, interval: str, timeout: str) -> None:
    """A probe every 3 s that may take 5 s: no check of Envoy may take longer than its interval."""
    slow = HTTP | {"periodSeconds": 3, "timeoutSeconds": 5}
    check = _chosen({"web-1": spec(slow)}, maxChecksPerSecond=7, **wanted).check
    assert check is not None
    assert (check.interval, check.timeout, check.max_checks_per_second) == (interval, timeout, 7)


def test_a_probe_that_takes_its_time_is_asked_for_as_long_as_the_policy_says() -> None:
    check = _chosen({"web-1": spec(HTTP | {"timeoutSeconds": 60})}, timeout="15s").check
    assert check is not None
    assert (check.interval, check.timeout) == ("15s", "15s")


def test_a_period_of_years_is_a_day() -> None:
    for kind in ("ReadinessProbe", "LivenessProbe"):
        raw = HTTP | {"periodSeconds": 2**31 - 1}
        check = _chosen({"web-1": spec(raw, raw)}, kind).check
        assert check is not None
        assert check.every <= 86400


def test_a_port_that_differs_is_asked_where_it_is() -> None:
    moved = {"httpGet": {"path": "/healthz", "port": "admin"}}

    check, problem, ports, _ = _chosen({"a": spec(HTTP), "b": spec(moved), "c": spec(HTTP)})

    assert check is not None
    assert not problem
    assert ports == {"a": 8080, "b": 9000, "c": 8080}


def test_a_probe_that_differs_otherwise_is_not_asked_until_most_pods_have_it() -> None:
    new = {"httpGet": {"path": "/up", "port": 8080}}

    before = _chosen({"a": spec(HTTP), "b": spec(new), "c": spec(HTTP), "d": spec()})
    after = _chosen({"a": spec(HTTP), "b": spec(new), "c": spec(new)})

    assert before.check is not None
    assert before.check.http is not None
    assert before.check.http.path == "/healthz"
    assert before.ports == {"a": 8080, "b": NOT_ASKED, "c": 8080, "d": NOT_ASKED}
    assert after.check is not None
    assert after.check.http is not None
    assert after.check.http.path == "/up"
    assert after.ports == {"a": NOT_ASKED, "b": 8080, "c": 8080}


@pytest.mark.parametrize(
    ("leaving", "staying", "path"),
    [
        ({"ready": False, "serving": False, "terminating": True}, {}, "/new"),
        ({"ready": False, "serving": True, "terminating": True}, {}, "/new"),
        ({"ready": False}, {}, "/new"),
        ({"ready": False}, {"ready": False, "serving": True, "terminating": True}, "/new"),
        ({"ready": False}, {"ready": False}, "/old"),
    ],
    ids=["ended", "ends", "not ready", "all that serves ends", "none serves"],
)
def test_pods_that_get_traffic_say_how_they_are_asked_however_many_others_there_are(
    leaving: Json, staying: Json, path: str
) -> None:
    old, new = ({"httpGet": {"path": path, "port": 8080}} for path in ("/old", "/new"))
    entries = [
        placed(endpoint("10.0.0.1", **leaving), pod="a"),
        placed(endpoint("10.0.0.2", **leaving), pod="b"),
        placed(endpoint("10.0.0.3", **staying), pod="c"),
    ]
    states = {name: PodState(probes=read_probes(spec(probe))) for name, probe in (("a", old), ("b", old), ("c", new))}

    check = choose(AS_READY, [read_slice(endpoint_slice("web", 8080, entries))], "", states).check

    assert check is not None
    assert check.http is not None
    assert check.http.path == path


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ({"exec": {"command": ["true"]}}, "no proxy can ask as the readiness probe does: it is a command"),
        (None, "the pods have no readiness probe; nobody asks these endpoints, what Kubernetes says"),
        ({"grpc": {"port": 9000}}, "it is gRPC on another port than requests"),
        ({"httpGet": {"port": 8080, "path": "/" + "a" * 1024}}, "does: its path; nobody"),
        ({"grpc": {"port": 8080, "service": "a" * 254}}, "does: its gRPC service; nobody"),
        ({"httpGet": {"port": 8080, "httpHeaders": [{"name": "a b", "value": "c"}]}}, "does: a header's name; nobody"),
        (HTTP | {"timeoutSeconds": 16}, "an answer may take 16 s, and proxies wait for 15s at most"),
        ({"httpGet": {"port": "65536"}}, "it names no port of its container"),
    ],
)
def test_what_cannot_be_asked_is_said(raw: Json | None, why: str) -> None:
    check, problem, ports, _ = _chosen({"a": spec(raw)})

    assert check is None
    assert why in problem
    assert ports == {}


def test_the_container_of_the_port_is_the_one_that_counts() -> None:
    side = {"name": "side", "ports": [{"containerPort": 1}], "readinessProbe": {"tcpSocket": {"port": 1}}}
    containers = {"containers": [side, *spec(HTTP)["containers"]]}

    assert _chosen({"a": containers}).ports == {"a": 8080}


def _container(port: int, *names: int, path: str = "/") -> Json:
    probe = {"httpGet": {"port": port, "path": path}}
    return {"name": f"c{port}", "readinessProbe": probe, "ports": [{"containerPort": name} for name in names]}


ALWAYS = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("containers", "init", "asked"),
    [
        ([_container(15021), _container(8080)], [], 8080),
        ([_container(15021), _container(9000, 8080), _container(8080)], [], 9000),
        ([_container(15021), _container(9000)], [], 15021),
        ([{"name": "web"}], [_container(8080) | ALWAYS], 8080),
        ([{"name": "web"}], [_container(9000, 8080) | ALWAYS], 9000),
        ([_container(9000)], [_container(8080) | ALWAYS], 8080),
        ([_container(9000)], [_container(15021) | ALWAYS], 9000),
        ([{"name": "web"}], [_container(15021) | ALWAYS], None),
        ([{"name": "web"}], [_container(8080)], None),
    ],
    ids=[
        "who probes the port",
        "who names the port, which is said",
        "the first",
        "a sidecar that probes it",
        "a sidecar that names it",
        "a sidecar that serves it before another container",
        "another container before a sidecar that does not",
        "no sidecar that does not",
        "none that has ended",
    ],
)
def test_who_serves_the_port_of_the_endpoint_is_asked(
    containers: list[Json], init: list[Json], asked: int | None
) -> None:
    choice = _chosen({"a": {"containers": containers, "initContainers": init}})

    assert (choice.check is None) == (asked is None)
    assert choice.ports == ({} if asked is None else {"a": asked})


AS_READY = ActiveHealthCheck(type="ReadinessProbe")
COMMAND: Json = {"exec": {"command": ["true"]}}


@pytest.mark.parametrize(
    ("some", "told"),
    [
        ({"a": (HTTP, 0), "b": (COMMAND, 0), "c": (HTTP, 0)}, "1 of 3 endpoints is not asked: no proxy can ask as the"),
        ({"a": (HTTP, 0), "b": (COMMAND, 0), "c": (COMMAND, 0)}, "2 of 3 endpoints are not asked: no proxy can ask as"),
        ({"a": (HTTP, 0), "b": (None, 0)}, "1 of 2 endpoints is not asked: their pods have no readiness probe; what K"),
        ({"a": (HTTP, 0), "b": (HTTP, 0), "c": ({"tcpSocket": {"port": 1}}, 0)}, "most pods have another readiness pr"),
        ({"a": (HTTP, 0), "b": (HTTP, 0)}, ""),
        ({"a": (HTTP, 0), "b": (COMMAND, 9401), "c": (COMMAND, 9500)}, ""),
        ({"a": (HTTP, 0), "b": (COMMAND, 9400), "c": (COMMAND, 9500)}, "1 of 3 endpoints is not asked"),
        ({"a": (HTTP, 9500), "b": (COMMAND, 0)}, ""),
    ],
)
def test_where_some_are_not_asked_it_is_said_once_it_is_no_moment_of_a_rollout(
    some: dict[str, tuple[Json | None, float]], told: str
) -> None:
    """The time is 10000; a pod that has been ready for less than ten minutes tells nothing."""
    states = {
        name: PodState(ready=True, ready_since=since, probes=read_probes(spec(raw)))
        for name, (raw, since) in some.items()
    }

    choice = choose(AS_READY, _slices(*some), "", states, 10_000.0)

    assert choice.check is not None
    assert told in choice.problem
    assert bool(told) == bool(choice.problem)
    late = [since + 600 for _, since in some.values() if since + 600 > 10_000]
    assert choice.until == min(late, default=math.inf)


def test_a_policy_is_told_when_the_moment_has_passed() -> None:
    """Nothing is heard by then: the turn of the Service says when to look again."""
    entries = [placed(endpoint("10.0.0.1"), pod="a"), placed(endpoint("10.0.0.2"), pod="b")]
    since = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
    pods = [running_pod("a") | {"spec": spec(HTTP)}, running_pod("b") | {"spec": spec(COMMAND), "status": since}]
    asks = site(listener(80), "web", healthCheck={"active": {"type": "ReadinessProbe"}})
    world = world_of(service("web"), endpoint_slice("web", 8080, entries), *pods, policy("site", asks))
    ready = world.pod_states(NAMESPACE)["b"].ready_since
    assert ready
    world.now = ready + 1
    before = reconcile(world)
    ((binding, _),) = before.bindings[service_ref("web")].values()

    assert before.findings[policy_ref("site")].degraded == ()
    assert turns(world, binding) == ready + 600
    assert not asked_otherwise(world, binding)
    world.now = ready + 600
    assert asked_otherwise(world, binding)
    (problem,) = reconcile(world).findings[policy_ref("site")].degraded
    assert problem.reason == "ProbeNotUsable"
    assert "Service shop/web: 1 of 2 endpoints is not asked" in problem.message


def test_an_endpoint_without_a_pod_beside_others_is_said_not_to_be_asked() -> None:
    entries = [placed(endpoint("10.0.0.1"), pod="a"), endpoint("192.0.2.1"), placed(endpoint("10.0.0.2"), pod="late")]
    slices = [read_slice(endpoint_slice("web", 8080, entries))]

    choice = choose(AS_READY, slices, "", {"a": PodState(probes=read_probes(spec(HTTP)))})

    assert choice.problem.startswith("1 of 3 endpoints is not asked: no pod of it is known")


def test_a_pod_that_is_told_of_later_than_its_endpoint_is_nothing_to_worry_about() -> None:
    assert choose(AS_READY, _slices("a"), "", {"b": PodState()}) == Choice(None, "", {})


def test_where_there_is_no_endpoint_nobody_is_to_be_asked() -> None:
    assert choose(AS_READY, _slices(), "", {}) == choose(AS_READY, [], "", {}) == Choice(None, "", {})


@pytest.mark.parametrize(
    ("slices", "pods"),
    [
        ([read_slice(endpoint_slice("web", 8080, [endpoint("192.0.2.1")]))], {}),  # a Service without a selector
        ([read_slice(endpoint_slice("web", 8080, [endpoint("192.0.2.1")]))], {"b": PodState()}),
        (_slices("a"), {}),  # manifests without the pods
    ],
    ids=["no selector", "no selector, other pods", "no pods"],
)
def test_endpoints_without_a_pod_that_is_known_are_said_to_have_no_probe(
    slices: list[EndpointSlice], pods: dict[str, PodState]
) -> None:
    check, problem, ports, _ = choose(AS_READY, slices, "", pods)

    assert (check, ports) == (None, {})
    assert problem.startswith("no pod of it is known, so there is no probe to take; nobody asks these endpoints")
    assert problem.endswith("or use type HTTP, GRPC or TCP")


def _slice_of(ready: int, of: int) -> Json:
    some = [placed(endpoint(f"10.0.0.{n}", ready=n < ready, serving=n < ready), pod=f"p{n}") for n in range(of)]
    return endpoint_slice("web", 8080, some)


def _running(name: str, probe: Json, *, ready: str = "True") -> Json:
    at = {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    return running_pod(name) | {"spec": spec(probe), "status": {"conditions": [at]}}


def test_how_many_are_not_asked_is_nothing_to_compute_everything_anew_for() -> None:
    pods = [_running(f"p{n}", HTTP if n else COMMAND) for n in range(6)]
    asks = site(listener(80), "web", healthCheck={"active": {"type": "ReadinessProbe"}})
    world = world_of(service("web"), _slice_of(6, 6), *pods, policy("site", asks))
    world.now = 1_800_000_000
    ((binding, _),) = reconcile(world).bindings[service_ref("web")].values()
    assert binding.problem.startswith("1 of 6 endpoints is not asked")

    world.apply(_slice_of(5, 6))
    assert bindings.choose(world, binding).problem.startswith("1 of 5 endpoints is not asked")
    assert not asked_otherwise(world, binding)
    world.apply(_running("p0", HTTP))
    assert asked_otherwise(world, binding)


def test_a_pod_whose_slice_is_ahead_of_it_is_as_one_that_has_just_become_ready() -> None:
    """It was not ready for long, and says so still: in a moment it will say otherwise, and not be looked at again."""
    pods = [_running("p0", COMMAND, ready="False"), _running("p1", HTTP), _running("p2", HTTP)]
    asks = site(listener(80), "web", healthCheck={"active": {"type": "ReadinessProbe"}})
    world = world_of(service("web"), _slice_of(3, 3), *pods, policy("site", asks))
    world.now = 1_800_000_000
    ((binding, _),) = reconcile(world).bindings[service_ref("web")].values()

    assert binding.problem == ""
    assert bindings.choose(world, binding).until > world.now
