"""Capture mode: which addresses are captured, what a sidecar does with them, and who does not capture them yet."""

from __future__ import annotations

import pytest
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2

from fairlead_operator.api.meta import DecodeError
from fairlead_operator.capture import captured_services
from fairlead_operator.reconcile import reconcile
from fairlead_operator.sidecars import Group
from fairlead_operator.world import Lane, World
from fairlead_xds import names
from fairlead_xds.snapshot import Snapshot, TypeUrl
from tests.support import manifests
from tests.support.manifests import NAMESPACE, Raw
from tests.support.worlds import backend, policy_ref, reasons, service_ref, snapshots, world_of

KEY = Group(NAMESPACE, (), capture=True).key


def _service(service: str, *ips: str, **port: object) -> Raw:
    return manifests.service(service) | {"spec": {"clusterIPs": list(ips), "ports": [{"port": 80, **port}]}}


def _pod(name: str, *captured: str) -> Raw:
    annotations = {"fairlead.dev/mode": "Capture", "fairlead.dev/captured": ",".join(captured)}
    return manifests.pod(name, {"app": "caller"}, annotations=annotations)


def _policy(name: str, *services: str, age: int = 0, **fields: object) -> Raw:
    fields = fields or {"loadBalancer": {"type": "RoundRobin"}}
    return manifests.policy(name, manifests.attached(*services, **fields), age=age)


def _listener(snapshot: Snapshot, name: str = "captured") -> listener_pb2.Listener:
    resource = snapshot.get(TypeUrl.LISTENER, name)
    assert resource is not None
    return listener_pb2.Listener.FromString(resource.body)


def _chains(snapshot: Snapshot) -> dict[str, str]:
    """Chain -> its filter."""
    chains = _listener(snapshot).filter_chains
    return {chain.name: chain.filters[0].name.rpartition(".")[2] for chain in chains if chain.filters}


def _world(*more: Raw, **port: object) -> World:
    slices = backend("web")[1]
    return world_of(_service("web", "10.96.0.1", **port), slices, _policy("web", "web"), _pod("caller"), *more)


def test_the_addresses_are_those_of_services_with_a_policy() -> None:
    world = world_of(
        _service("both", "10.96.0.2", "FD00::2"),
        _service("udp", "10.96.0.3", protocol="UDP"),
        _service("headless", "None"),
        _service("taken", "10.96.0.4"),
        _service("without", "10.96.0.5"),
        _policy("old", "both", "udp", "headless", age=2),
        _policy("young", "both", "taken"),  # conflicted: it speaks for none of them
    )

    assert captured_services(world, NAMESPACE) == ["10.96.0.2:80", "[fd00::2]:80"]
    assert captured_services(world, "elsewhere") == []


def test_they_follow_services_and_policies() -> None:
    world = _world()
    assert captured_services(world, NAMESPACE) == ["10.96.0.1:80"]

    world.apply(_service("web", "10.96.0.7"))
    assert captured_services(world, NAMESPACE) == ["10.96.0.7:80"]
    world.delete(policy_ref("web"))
    assert captured_services(world, NAMESPACE) == []


def test_an_address_that_is_none_is_an_error_with_its_field() -> None:
    with pytest.raises(DecodeError, match=r"spec\.clusterIPs\[0\]: must be an IP address"):
        World().apply(_service("web", "nowhere"))


@pytest.mark.parametrize(
    ("port", "filter_"),
    [
        ({}, "tcp_proxy"),
        ({"name": "http"}, "http_connection_manager"),
        ({"name": "http-main"}, "http_connection_manager"),
        ({"name": "https"}, "tcp_proxy"),
        ({"appProtocol": "http"}, "http_connection_manager"),
        ({"appProtocol": "kubernetes.io/h2c"}, "http_connection_manager"),
        ({"appProtocol": "kubernetes.io/ws"}, "http_connection_manager"),
        ({"name": "http", "appProtocol": "mysql"}, "tcp_proxy"),
    ],
)
def test_http_is_what_the_port_says(port: dict[str, str], filter_: str) -> None:
    chains = _chains(snapshots(_world(**port))[KEY])

    assert chains == {"captured/shop/web:80/10.96.0.1": filter_}


def test_http_goes_by_a_route_with_the_policys_session_and_without_a_timeout() -> None:
    session = {"type": "Cookie", "name": "SERVERID"}
    snapshot = snapshots(_world(_policy("web", "web", sessionPersistence=session), name="http"))[KEY]

    resource = snapshot.get(TypeUrl.ROUTE, "captured/shop/web:80")
    assert resource is not None
    (host,) = route_pb2.RouteConfiguration.FromString(resource.body).virtual_hosts
    (route,) = host.routes
    assert list(host.domains) == ["*"]
    assert route.route.cluster in snapshot.resources(TypeUrl.CLUSTER)
    assert route.route.cluster in snapshot.resources(TypeUrl.ENDPOINT)
    assert route.route.timeout.ToTimedelta().total_seconds() == 0
    assert "envoy.filters.http.stateful_session" in route.typed_per_filter_config


def test_a_service_more_changes_no_other_chain() -> None:
    before = _listener(snapshots(_world())[KEY])
    after = _listener(snapshots(_world(_service("a", "10.96.0.9"), _policy("a", "a")))[KEY])

    added = [chain for chain in after.filter_chains if chain not in before.filter_chains]
    assert [chain.name for chain in added] == ["captured/shop/a:80/10.96.0.9"]
    assert all(chain in after.filter_chains for chain in before.filter_chains)
    assert after.default_filter_chain == before.default_filter_chain


def test_without_any_policy_what_is_redirected_is_passed_through_on_both_families() -> None:
    snapshot = snapshots(world_of(_pod("caller", "10.96.0.1:80", "[fd00::1]:80")))[KEY]

    assert set(snapshot.resources(TypeUrl.LISTENER)) == {"captured", "captured-6"}
    assert set(snapshot.resources(TypeUrl.CLUSTER)) == {names.PASSTHROUGH}
    assert _chains(snapshot) == {}
    assert _listener(snapshot, "captured-6").address.socket_address.address == "::1"


def test_an_address_has_one_owner_whatever_the_objects_say() -> None:
    """Envoy refuses a listener with two chains for the same."""
    chains = _chains(snapshots(_world(_service("a", "10.96.0.1"), _policy("a", "a")))[KEY])

    assert list(chains) == ["captured/shop/a:80/10.96.0.1"]


def test_the_policy_counts_these_proxies_and_the_endpoint_lane_knows_the_cluster() -> None:
    world = _world()
    done = reconcile(world)

    assert done.gateways[policy_ref("web")] == {KEY}
    (binding,) = done.clusters[policy_ref("web")]
    assert done.bindings[service_ref("web")] == {binding.cluster: (binding, {KEY})}
    assert world.apply(backend("web", "10.0.0.1", "10.0.0.2")[1]).lane is Lane.ENDPOINTS


def test_pods_that_are_older_than_the_policy_are_named_until_they_are_gone() -> None:
    world = _world()  # its pod captures nothing
    (problem,) = reconcile(world).findings[policy_ref("web")].degraded
    assert problem.reason == "PodsNotCapturing"
    assert "(1): caller: restart them" in problem.message
    assert "kubectl rollout restart -n shop" in problem.message

    assert world.apply(_pod("caller-new", "10.96.0.1:80")).lane is Lane.PODS
    assert world.apply(_pod("caller", "10.96.0.1:80")).lane is Lane.CONFIG
    assert reasons(reconcile(world).findings[policy_ref("web")].degraded) == []


def test_a_pod_in_explicit_mode_has_nothing_of_it() -> None:
    world = _world()
    world.delete(next(iter(world.refs("Pod"))))
    world.apply(manifests.pod("explicit", {"app": "caller"}))

    assert reconcile(world).proxies == {}
    assert reconcile(world).findings[policy_ref("web")].degraded == ()
