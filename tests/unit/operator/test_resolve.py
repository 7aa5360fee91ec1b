"""What one inline policy becomes, and what is found wrong with its references."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import survey
from fairlead_operator.conditions import Findings
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import World
from fairlead_xds.features.endpoints import Health
from fairlead_xds.model import Host
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.translate import Translator
from tests.support import manifests
from tests.support.key_pairs import pair
from tests.support.manifests import (
    NAMESPACE,
    Raw,
    attached,
    endpoint,
    endpoint_slice,
    listener,
    node,
    placed,
    policy,
    route,
    service,
    site,
)
from tests.support.worlds import (
    backend,
    in_namespace,
    policy_ref,
    reasons,
    service_ref,
    snapshots,
    targets,
    virtual_hosts,
    world_of,
)


def _world(spec: Raw, *others: Raw) -> World:
    return world_of(policy("site", spec), *backend("web"), *others)


def _findings(world: World) -> Findings:
    return reconcile(world).findings[policy_ref("site")]


def _external(name: str, *endpoints: Raw) -> Raw:
    return {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"endpoints": list(endpoints)},
    }


def _refs(*refs: Raw, **fields: Any) -> Raw:
    return {"name": "all", "backendRefs": list(refs), **fields}


# --- references


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ({"name": "gone", "port": 80}, ("BackendNotFound", "spec.routes[0].backendRefs[0].name")),
        ({"name": "web", "port": 81}, ("PortNotFound", "spec.routes[0].backendRefs[0].port")),
        ({"name": "named", "port": 80}, ("UnsupportedService", "spec.routes[0].backendRefs[0].name")),
        ({"kind": "Backend", "name": "gone"}, ("BackendNotFound", "spec.routes[0].backendRefs[0].name")),
        ({"name": "web", "namespace": "data", "port": 80}, ("RefNotPermitted", "spec.routes[0].backendRefs[0]")),
    ],
)
def test_a_reference_that_leads_nowhere_is_named_and_answers_503(ref: Raw, expected: tuple[str, str]) -> None:
    named = service("named") | {"spec": {"type": "ExternalName", "externalName": "a.com"}}
    world = _world(site(listener(80), _refs(ref)), named)

    found = _findings(world)
    assert reasons(found.resolved) == [expected]
    assert found.accepted == ()
    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert only.direct_response.status == 503


def test_what_exists_serves_beside_what_does_not() -> None:
    world = _world(site(listener(80), route("all", {"web": 90, "gone": 10})))

    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert targets(only) == {"shop/web:80": 1}


def test_a_grant_opens_another_namespace() -> None:
    grant = {
        "kind": "ReferenceGrant",
        "metadata": {"name": "open", "namespace": "data"},
        "spec": {
            "from": [{"group": "fairlead.dev", "kind": "LoadBalancerPolicy", "namespace": NAMESPACE}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    users = [in_namespace(raw, "data") for raw in backend("users")]
    spec = site(listener(80), _refs({"name": "users", "namespace": "data", "port": 80}))

    assert reasons(_findings(_world(spec, *users)).resolved) == [("RefNotPermitted", "spec.routes[0].backendRefs[0]")]
    granted = _world(spec, *users, grant)
    assert _findings(granted) == Findings()
    assert [b.name for b in reconcile(granted).proxies["edge"].backends] == ["data/users:80"]


# --- what the schema cannot hold


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"listeners": ["main", "nowhere"]}, "spec.routes[0].listeners[1]"),
        ({"hostnames": ["other.com"]}, "spec.routes[0].hostnames"),
        (
            {"matches": [{"path": {"type": "RegularExpression", "value": "("}}]},
            "spec.routes[0].matches[0].path.value",
        ),
        (
            {"matches": [{}, {"headers": [{"name": "a", "type": "RegularExpression", "value": "(?!b)"}]}]},
            "spec.routes[0].matches[1].headers[0].value",
        ),
    ],
)
def test_a_route_that_cannot_work_makes_the_policy_invalid(fields: Raw, path: str) -> None:
    world = _world(site(listener(80, "shop.com"), route("all", "web", **fields)))

    assert reasons(_findings(world).accepted) == [("Invalid", path)]
    assert snapshots(world)["edge"].by_type == {}


# --- splits


@pytest.mark.parametrize(
    "endpoint",
    [
        {"address": "127.0.0.1"},
        {"address": "169.254.169.254"},
        {"address": "0.0.0.0"},
        {"address": "::1"},
        {"address": "fe80::1"},
        {"hostname": "localhost"},
        {"hostname": "a.localhost"},
    ],
    ids=lambda one: next(iter(one.values())),
)
def test_what_is_on_a_shared_gateways_own_machine_is_no_backend(endpoint: Raw) -> None:
    """Its statistics listen there, and a cloud's metadata answers there."""
    world = _world(
        site(listener(80), _refs({"name": "own", "kind": "Backend"})), _external("own", endpoint | {"port": 19001})
    )
    assert _findings(world).resolved == ()

    world.own_gateways = False
    (problem,) = _findings(world).resolved
    value = next(iter(endpoint.values()))
    assert (problem.reason, problem.path) == ("AddressNotAllowed", "spec.routes[0].backendRefs[0].name")
    assert f"Backend shop/own: spec.endpoints[0]: {value} is the gateway's own machine" in problem.message
    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert only.direct_response.status == 503


def test_weights_of_nothing_but_zero_are_told() -> None:
    refs: list[Raw] = [{"name": name, "port": 80, "weight": 0} for name in ("web", "other")]
    world = _world(site(listener(80), _refs(*refs)), *backend("other"))

    assert reasons(_findings(world).degraded) == [("NoBackends", "spec.routes[0].backendRefs")]
    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert only.direct_response.status == 503


def test_a_service_named_twice_gets_both_shares() -> None:
    refs: list[Raw] = [
        {"name": name, "port": 80, "weight": weight} for name, weight in (("web", 6), ("other", 1), ("web", 3))
    ]
    world = _world(site(listener(80), _refs(*refs)), *backend("other"))

    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert targets(only) == {"shop/web:80": 9, "shop/other:80": 1}


@pytest.mark.parametrize("dead", [[], [endpoint("10.0.0.9", ready=False)]], ids=["empty", "not ready"])
def test_the_share_of_a_dead_side_goes_to_the_others(dead: list[Raw]) -> None:
    """Envoy would answer 503 for it. Its cluster stays, so that it comes back at once."""
    other = [service("other"), endpoint_slice("other", 8080, dead)]
    world = _world(site(listener(80), route("all", {"web": 1, "other": 9})), *other)

    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert targets(only) == {"shop/web:80": 1}
    assert {reason for reason, _ in reasons(_findings(world).degraded)} == {"NoEndpoints"}
    assert len(reconcile(world).proxies["edge"].backends) == 2


def test_a_degraded_side_keeps_its_share() -> None:
    other = [service("other"), endpoint_slice("other", 8080, [endpoint("10.0.0.9", ready=False)])]
    spec = site(listener(80), route("all", {"web": 1, "other": 9}), endpoints={"notReady": "Degrade"})
    world = _world(spec, *other)

    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert sorted(targets(only).values()) == [1, 9]


def test_when_all_sides_are_dead_one_of_them_answers() -> None:
    """Envoy's 503 says "no healthy upstream"; a route without a cluster could not say which."""
    world = world_of(policy("site", site(listener(80), route("all", {"a": 1, "b": 1}))), service("a"), service("b"))

    (only,) = virtual_hosts(snapshots(world)["edge"])["*"].routes
    assert targets(only) == {"shop/a:80": 1}


def test_only_live_sides_are_hashed_for() -> None:
    """A retry may take another host again when the side that hashes is dead."""
    over = policy(
        "over",
        manifests.attached(
            "other", loadBalancer={"type": "ConsistentHash", "consistentHash": {"hashOn": [{"type": "SourceIP"}]}}
        ),
    )
    spec = site(listener(80), route("all", {"web": 1, "other": 1}))

    (dead,) = virtual_hosts(snapshots(_world(spec, service("other"), over))["edge"])["*"].routes
    (alive,) = virtual_hosts(snapshots(_world(spec, *backend("other"), over))["edge"])["*"].routes
    assert len(dead.route.hash_policy) == 0
    assert len(alive.route.hash_policy) == 1


# --- routes


def test_the_more_specific_match_is_tried_first_whatever_the_order() -> None:
    paths = [("PathPrefix", "/"), ("PathPrefix", "/a"), ("RegularExpression", "/a/[0-9]+"), ("Exact", "/a/b")]
    routes = [
        route(f"r{i}", "web", matches=[{"path": {"type": kind, "value": value}}])
        for i, (kind, value) in enumerate(paths)
    ]
    world = _world(site(listener(80), routes))

    names = [entry.name for entry in virtual_hosts(snapshots(world)["edge"])["*"].routes]
    assert names == ["shop/site/r3", "shop/site/r2", "shop/site/r1", "shop/site/r0"]


def test_a_route_of_a_wildcard_serves_its_hosts_behind_their_own() -> None:
    routes = [route("wide", "web", hostnames=["*.a.com"]), route("close", "web", hostnames=["x.a.com"])]
    hosts = virtual_hosts(snapshots(_world(site(listener(80), routes)))["edge"])

    assert {host: [entry.name for entry in found.routes] for host, found in hosts.items()} == {
        "*.a.com": ["shop/site/wide"],
        "x.a.com": ["shop/site/close", "shop/site/wide"],
    }


def test_a_route_stands_on_its_listeners_only() -> None:
    world = _world(site([listener(80), listener(81, name="more")], [route("a", "web", listeners=["more"])]))
    snapshot = snapshots(world)["edge"]

    assert virtual_hosts(snapshot, "port-80/http") == {}
    assert set(virtual_hosts(snapshot, "port-81/http")) == {"*"}


# --- backends outside Kubernetes


def test_addresses_are_endpoints_and_names_are_resolved_by_the_proxy() -> None:
    refs = [{"kind": "Backend", "name": "by-address"}, {"kind": "Backend", "name": "by-name"}]
    world = _world(
        site(listener(80), _refs(*refs)),
        _external("by-address", {"address": "192.0.2.1", "port": 9000, "weight": 3}),
        _external("by-name", {"hostname": "a.com", "port": 443}),
    )
    config = reconcile(world).proxies["edge"]

    assert {b.name: b.hosts for b in config.backends} == {
        "shop/backend/by-address": (),
        "shop/backend/by-name": (Host("a.com", 443),),
    }
    (assignment,) = config.assignments
    assert [e[:2] for e in assignment.endpoints] == [("192.0.2.1", 9000)]


def test_a_backend_is_never_taken_for_a_service() -> None:
    """Service "backend" on port 80 and Backend "80" are two clusters."""
    refs: list[Raw] = [{"name": "backend", "port": 80}, {"kind": "Backend", "name": "80"}]
    world = _world(
        site(listener(80), _refs(*refs)), *backend("backend"), _external("80", {"address": "192.0.2.1", "port": 9000})
    )

    assert len(reconcile(world).proxies["edge"].backends) == 2


# --- certificates


def test_a_listener_without_any_certificate_is_left_out() -> None:
    world = _world(site([listener(80), listener(443, name="tls", secret="gone")], "web"))

    assert [entry.port for entry in reconcile(world).proxies["edge"].listeners] == [80]
    assert reasons(_findings(world).resolved) == [("CertificateNotFound", "spec.listeners[1].tls.certificateRefs[0]")]


def test_a_certificate_that_went_bad_stays_in_use_and_is_told() -> None:
    good = manifests.secret("tls", *pair("a.com"))
    world = _world(site(listener(443, secret="tls"), "web"), good, good | {"data": {}})

    assert [entry.port for entry in reconcile(world).proxies["edge"].listeners] == [443]
    (problem,) = _findings(world).resolved
    assert problem.reason == "InvalidCertificate"
    assert "stays in use" in problem.message


def test_a_certificate_that_has_ended_is_told_and_stays_in_use() -> None:
    ends = datetime.datetime(2026, 5, 1, 12, tzinfo=datetime.UTC)
    world = _world(site(listener(443, secret="tls"), "web"), manifests.secret("tls", *pair("a.com", ends)))
    world.now = ends.timestamp() - 1
    assert _findings(world).resolved == ()
    assert world.next_expiry() == ends.timestamp()

    world.now += 1
    (problem,) = _findings(world).resolved
    assert (problem.reason, problem.path) == ("CertificateExpired", "spec.listeners[0].tls.certificateRefs[0]")
    assert problem.message == "Secret shop/tls ended at 2026-05-01T12:00:00Z: clients refuse it"
    assert [entry.port for entry in reconcile(world).proxies["edge"].listeners] == [443]
    assert world.next_expiry() == math.inf


def test_a_certificate_of_another_namespace_needs_a_grant() -> None:
    spec = site(listener(443, secret="tls"), "web")
    spec["listeners"][0]["tls"]["certificateRefs"][0]["namespace"] = "data"
    world = _world(spec, in_namespace(manifests.secret("tls", *pair("a.com")), "data"))

    assert reasons(_findings(world).resolved) == [("RefNotPermitted", "spec.listeners[0].tls.certificateRefs[0]")]
    assert reconcile(world).proxies["edge"].secrets == ()


# --- counts


def test_endpoints_are_counted_once_however_often_they_are_referred_to() -> None:
    slices = endpoint_slice("web", 8080, [endpoint("10.0.0.1"), endpoint("10.0.0.2", ready=False)])
    routes = [route("a", "web"), route("b", "web", matches=[{"path": {"value": "/b"}}])]
    world = world_of(policy("site", site(listener(80), routes)), service("web"), slices)

    assert survey(world, reconcile(world).clusters[policy_ref("site")]).counts == {
        Health.HEALTHY: 1,
        Health.EXCLUDED: 1,
    }


def test_bindings_lead_from_a_service_to_its_clusters_and_their_gateways() -> None:
    """The reverse index of the endpoint lane."""
    world = _world(site(listener(80), "web"))
    world.apply(policy("inner", site(listener(80), "web", gateway="inner")))

    bindings = reconcile(world).bindings
    assert {name: keys for name, (_, keys) in bindings[service_ref("web")].items()} == {
        "shop/web:80": {"edge", "inner"}
    }
    assert Ref("Service", NAMESPACE, "other") not in bindings


@pytest.mark.parametrize("kind", ["ReadinessProbe", "LivenessProbe"])
def test_a_backend_has_no_probes_and_that_is_said(kind: str) -> None:
    """Its passive checks stay, and nobody else's policy notices."""
    check = {"active": {"type": kind}, "passive": {}}
    spec = site(listener(80), _refs({"kind": "Backend", "name": "ext"}, {"name": "web", "port": 80}), healthCheck=check)
    world = _world(spec, _external("ext", {"address": "192.0.2.1", "port": 80}))
    done = reconcile(world)
    found = done.findings[policy_ref("site")]

    assert found.accepted == ()
    (problem,) = [one for one in found.degraded if "backendRefs[0]" in one.path]
    assert problem.reason == "ProbeNotUsable"
    assert "a Backend has no pods" in problem.message
    checks = {one.name: one.health_check for config in done.proxies.values() for one in config.backends}
    (external,) = [check for name, check in checks.items() if "backend/" in name]
    assert external is not None
    assert external.active is None
    assert external.passive is not None


@pytest.mark.parametrize("fallback", [False, True])
def test_endpoints_of_a_backend_are_asked_at_the_port_of_the_check(*, fallback: bool) -> None:
    ref = {"kind": "Backend", "name": "ext", **({"fallback": True} if fallback else {})}
    refs = [{"name": "web", "port": 80}, ref] if fallback else [ref]
    check = {"active": {"type": "TCP", "tcp": {}, "port": 9000}}
    spec = site(listener(80), _refs(*refs), healthCheck=check)
    world = _world(spec, _external("ext", {"address": "192.0.2.1", "port": 80}))

    (assignment,) = reconcile(world).proxies["edge"].assignments
    assert {one.address: one.check_port for one in assignment.endpoints}["192.0.2.1"] == 9000

    world.apply(_external("ext", {"hostname": "db.example.com", "port": 80}))
    found = [one.hosts for one in reconcile(world).proxies["edge"].backends]
    assert found == ([()] if fallback else [(Host("db.example.com", 80, check_port=9000),)])


@pytest.mark.parametrize(
    ("entry", "active", "called"),
    [
        ({"hostname": "db.example.com", "port": 80}, {"type": "HTTP", "http": {}}, "db.example.com"),
        ({"hostname": "db.example.com", "port": 443}, {"type": "HTTP", "http": {}}, "db.example.com:443"),
        ({"hostname": "db.example.com", "port": 443}, {"type": "HTTP", "http": {"scheme": "HTTPS"}}, "db.example.com"),
        ({"hostname": "db.example.com", "port": 80}, {"type": "GRPC", "grpc": {}, "port": 81}, "db.example.com:81"),
        ({"hostname": "db.example.com", "port": 80}, {"type": "HTTP", "http": {"host": "db"}}, ""),
        ({"hostname": "db.example.com", "port": 80}, {"type": "TCP", "tcp": {}}, ""),
        ({"address": "192.0.2.1", "port": 80}, {"type": "HTTP", "http": {}, "port": 81}, "192.0.2.1:81"),
        ({"address": "2001:db8::1", "port": 80}, {"type": "GRPC", "grpc": {}}, "[2001:db8::1]:80"),
        ({"address": "192.0.2.1", "port": 80}, {"type": "HTTP", "http": {"host": "db"}}, ""),
        ({"address": "192.0.2.1", "port": 80}, {"type": "TCP", "tcp": {}}, ""),
    ],
)
def test_who_is_asked_is_called_by_a_valid_host(entry: dict[str, Any], active: dict[str, Any], called: str) -> None:
    """Envoy's own default is the name of the cluster, which has a slash."""
    spec = site(listener(80), _refs({"kind": "Backend", "name": "ext"}), healthCheck={"active": active})
    snapshot = Translator().run(reconcile(_world(spec, _external("ext", entry))).proxies)["edge"]
    kind = TypeUrl.CLUSTER if "hostname" in entry else TypeUrl.ENDPOINT
    (resource,) = snapshot.resources(kind).values()
    if kind is TypeUrl.CLUSTER:
        assignment = cluster_pb2.Cluster.FromString(resource.body).load_assignment
    else:
        assignment = endpoint_pb2.ClusterLoadAssignment.FromString(resource.body)
    assert assignment.endpoints[0].lb_endpoints[0].endpoint.health_check_config.hostname == called


COMMAND = {"spec": {"containers": [{"name": "web", "readinessProbe": {"exec": {"command": ["true"]}}}]}}
PROBED = [
    service("web"),
    endpoint_slice("web", 8080, [placed(endpoint("10.0.0.1"), pod="web-1")]),
    manifests.pod("web-1", {}, sidecar=False) | COMMAND,
]
AS_PROBED = {"active": {"type": "ReadinessProbe"}}


def test_what_is_wrong_with_a_probe_names_the_field_that_asks_for_it() -> None:
    world = world_of(policy("site", site(listener(80), "web", healthCheck=AS_PROBED)), *PROBED)

    (problem,) = _findings(world).degraded
    assert problem.path == "spec.routes[0].backendRefs[0]"
    assert problem.message.startswith("spec.healthCheck.active: Service shop/web: no proxy can ask as the readiness")


def test_the_attached_policy_that_asks_for_it_is_named_and_told_too() -> None:
    over = policy("over", attached("web", healthCheck=AS_PROBED))
    done = reconcile(world_of(policy("site", site(listener(80), "web")), over, *PROBED))

    (problem,) = done.findings[policy_ref("site")].degraded
    assert problem.message.startswith("spec.healthCheck.active of LoadBalancerPolicy shop/over: Service shop/web: no")
    (told,) = done.findings[policy_ref("over")].degraded
    assert (told.reason, told.path) == ("ProbeNotUsable", "spec.healthCheck.active")
    assert told.message.startswith("Service shop/web: no proxy can ask as the readiness probe does")


def test_an_attached_policy_is_not_told_of_what_another_asks_for() -> None:
    inline = policy("site", site(listener(80), "web", healthCheck=AS_PROBED))
    over = policy("over", attached("web", loadBalancer={"type": "Random"}))
    done = reconcile(world_of(inline, over, *PROBED))

    assert done.findings[policy_ref("over")].degraded == ()
    (problem,) = done.findings[policy_ref("site")].degraded
    assert problem.message.startswith("spec.healthCheck.active: Service")


@pytest.mark.parametrize(
    ("inline", "over", "where"),
    [
        ({}, {"loadBalancer": {"type": "Random"}}, "spec.endpoints.nodeLost"),
        ({"endpoints": {"nodeLost": {"maxPercent": 40}}}, None, "spec.endpoints.nodeLost"),
        ({}, {"endpoints": {}}, "spec.endpoints.nodeLost of LoadBalancerPolicy shop/over"),
    ],
    ids=["default", "inline", "attached"],
)
def test_nodes_in_doubt_name_the_field_that_says_how_many_may_be_lost(
    inline: Raw, over: Raw | None, where: str
) -> None:
    ends = endpoint_slice("web", 8080, [placed(endpoint("10.0.0.1"), pod="web-1", node="a")])
    world = world_of(
        policy("site", site(listener(80), "web", **inline)), service("web"), ends, node("a", ready="False")
    )
    if over is not None:
        world.apply(policy("over", attached("web", **over)))

    (problem,) = _findings(world).degraded
    assert problem.reason == "NodesInDoubt"
    assert problem.message == f"{where}: 1 of 1 nodes are lost at the same moment: their endpoints are kept"


@pytest.mark.parametrize("ready", [False, True])
def test_a_fallback_over_the_same_pods_serves_where_they_are_not_ready(*, ready: bool) -> None:
    """It publishes addresses that are not ready: they are there once, as what gets more."""
    anyway = service("anyway") | {"spec": {"publishNotReadyAddresses": True, "ports": [{"port": 80}]}}
    refs = _refs({"name": "web", "port": 80}, {"name": "anyway", "port": 80, "fallback": True})
    world = world_of(
        policy("site", site(listener(80), refs)),
        service("web"),
        anyway,
        endpoint_slice("web", 8080, [endpoint("10.0.0.1", ready=ready), endpoint("10.0.0.2", ready=False)]),
        endpoint_slice("anyway", 8080, [endpoint("10.0.0.1"), endpoint("10.0.0.2")]),
    )

    (assignment,) = reconcile(world).proxies["edge"].assignments

    found = {one.address: (one.priority, one.health) for one in assignment.endpoints}
    assert len(assignment.endpoints) == 2
    assert found["10.0.0.1"] == (0 if ready else 1, Health.HEALTHY)
    assert found["10.0.0.2"] == (1, Health.HEALTHY)
