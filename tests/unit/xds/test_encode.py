"""``encode`` against ``bytes(message)`` byte for byte, and against upb (``xds-protos``) as an independent judge."""

from __future__ import annotations

import datetime as dt
import importlib
from typing import Any

import betterproto2 as bp
import pytest
from envoy_data_plane import validate
from envoy_data_plane.envoy.config.cluster.v3 import (
    CircuitBreakers,
    CircuitBreakersThresholds,
    Cluster,
    ClusterDiscoveryType,
    ClusterEdsClusterConfig,
    OutlierDetection,
)
from envoy_data_plane.envoy.config.core.v3 import (
    AggregatedConfigSource,
    ConfigSource,
    HealthCheck,
    Http1ProtocolOptions,
)
from envoy_data_plane.envoy.config.endpoint.v3 import ClusterLoadAssignment
from envoy_data_plane.envoy.config.listener.v3 import Listener
from envoy_data_plane.envoy.config.route.v3 import (
    Route,
    RouteAction,
    RouteConfiguration,
    RouteMatch,
    VirtualHost,
    WeightedCluster,
    WeightedClusterClusterWeight,
)
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.http.stateful_session.v3 import StatefulSession, StatefulSessionPerRoute
from envoy_data_plane.envoy.extensions.filters.listener.tls_inspector.v3 import TlsInspector
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpConnectionManager
from envoy_data_plane.envoy.extensions.http.stateful_session.cookie.v3 import CookieBasedSessionState
from envoy_data_plane.envoy.extensions.load_balancing_policies.least_request.v3 import LeastRequest
from envoy_data_plane.envoy.extensions.load_balancing_policies.maglev.v3 import Maglev
from envoy_data_plane.envoy.extensions.load_balancing_policies.random.v3 import Random
from envoy_data_plane.envoy.extensions.load_balancing_policies.ring_hash.v3 import RingHash
from envoy_data_plane.envoy.extensions.load_balancing_policies.round_robin.v3 import RoundRobin
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import DownstreamTlsContext, Secret
from envoy_data_plane.envoy.extensions.upstreams.http.v3 import (
    HttpProtocolOptions,
    HttpProtocolOptionsExplicitHttpConfig,
)
from envoy_data_plane.google import protobuf
from google.protobuf import descriptor_pool, message_factory
from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_xds.encode import any_of, encode, field, type_url
from tests.support.messages import messages, one_of_each, reachable

# Deprecated fields are encoded too.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROOTS: dict[type[bp.Message], str] = {
    Cluster: "envoy.config.cluster.v3.cluster",
    ClusterLoadAssignment: "envoy.config.endpoint.v3.endpoint",
    Listener: "envoy.config.listener.v3.listener",
    RouteConfiguration: "envoy.config.route.v3.route",
    VirtualHost: "envoy.config.route.v3.route_components",
    HttpConnectionManager: ("envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager"),
    DownstreamTlsContext: "envoy.extensions.transport_sockets.tls.v3.tls",
    Secret: "envoy.extensions.transport_sockets.tls.v3.secret",
    StatefulSession: "envoy.extensions.filters.http.stateful_session.v3.stateful_session",
    StatefulSessionPerRoute: "envoy.extensions.filters.http.stateful_session.v3.stateful_session",
    CookieBasedSessionState: "envoy.extensions.http.stateful_session.cookie.v3.cookie",
    Router: "envoy.extensions.filters.http.router.v3.router",
    RoundRobin: "envoy.extensions.load_balancing_policies.round_robin.v3.round_robin",
    LeastRequest: "envoy.extensions.load_balancing_policies.least_request.v3.least_request",
    Random: "envoy.extensions.load_balancing_policies.random.v3.random",
    Maglev: "envoy.extensions.load_balancing_policies.maglev.v3.maglev",
    RingHash: "envoy.extensions.load_balancing_policies.ring_hash.v3.ring_hash",
    HttpProtocolOptions: "envoy.extensions.upstreams.http.v3.http_protocol_options",
    HealthCheck: "envoy.config.core.v3.health_check",
    OutlierDetection: "envoy.config.cluster.v3.outlier_detection",
    TlsInspector: "envoy.extensions.filters.listener.tls_inspector.v3.tls_inspector",
    protobuf.Any: "google.protobuf.any",
    protobuf.Struct: "google.protobuf.struct",
}
"""The classes that are encoded -> the module of xds-protos that has the same message."""

roots = pytest.mark.parametrize("cls", ROOTS, ids=lambda cls: cls.__name__)
few = settings(max_examples=40, deadline=None, suppress_health_check=[Check.function_scoped_fixture, Check.too_slow])


@pytest.fixture
def unvalidated(monkeypatch: pytest.MonkeyPatch) -> None:
    """``bytes(message)`` without its validator, which is most of its cost and writes nothing."""
    monkeypatch.setattr(bp.Message, "_is_pydantic", lambda _self: False)


def upb(message: bp.Message) -> Any:
    """*message*, encoded by us, as read by upb."""
    name = type_url(type(message)).rpartition("/")[2]
    found = descriptor_pool.Default().FindMessageTypeByName(name)
    return message_factory.GetMessageClass(found).FromString(encode(message))


@roots
@few
@given(data=st.data())
@pytest.mark.usefixtures("unvalidated")
def test_any_message_gives_the_same_bytes_as_betterproto(cls: type[bp.Message], data: st.DataObject) -> None:
    message = data.draw(messages(cls, depth=3))
    assert encode(message) == bytes(message)


@roots
@few
@given(data=st.data())
@pytest.mark.usefixtures("unvalidated")
def test_upb_reads_what_was_meant(cls: type[bp.Message], data: st.DataObject) -> None:
    message = data.draw(messages(cls, depth=3))
    importlib.import_module(f"{ROOTS[cls]}_pb2")
    assert cls.parse(upb(message).SerializeToString()) == message


@roots
@pytest.mark.usefixtures("unvalidated")
def test_every_field_of_every_class_in_reach_gives_the_same_bytes(cls: type[bp.Message]) -> None:
    for held in reachable(cls):
        for message in one_of_each(held):
            assert encode(message) == bytes(message), message


def typical_cluster() -> Cluster:
    options = HttpProtocolOptions(
        explicit_http_config=HttpProtocolOptionsExplicitHttpConfig(http_protocol_options=Http1ProtocolOptions()),
    )
    return Cluster(
        name="shop/users-v1:80",
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=ConfigSource(ads=AggregatedConfigSource())),
        connect_timeout=dt.timedelta(seconds=2, milliseconds=500),
        circuit_breakers=CircuitBreakers(thresholds=[CircuitBreakersThresholds(max_connections=2**32 - 1)]),
        typed_extension_protocol_options={"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": any_of(options)},
    )


def virtual_host(name: str) -> VirtualHost:
    clusters = [
        WeightedClusterClusterWeight(name="users-v1", weight=90),
        WeightedClusterClusterWeight(name="users-v2", weight=0),
    ]
    return VirtualHost(
        name=name,
        domains=[name],
        routes=[
            Route(
                name="users",
                match=RouteMatch(path_separated_prefix="/api/users"),
                route=RouteAction(weighted_clusters=WeightedCluster(clusters=clusters), timeout=dt.timedelta(0)),
            )
        ],
    )


def test_with_validation_left_on() -> None:
    for message in (typical_cluster(), virtual_host("shop.example.com"), protobuf.Struct()):
        assert encode(message) == bytes(message)


def test_upb_sees_each_value_of_a_cluster() -> None:
    importlib.import_module("envoy.config.cluster.v3.cluster_pb2")
    importlib.import_module("envoy.extensions.upstreams.http.v3.http_protocol_options_pb2")
    read = upb(typical_cluster())
    assert read.name == "shop/users-v1:80"
    assert read.type == 3
    assert read.eds_cluster_config.eds_config.HasField("ads")
    assert read.connect_timeout.ToTimedelta() == dt.timedelta(seconds=2.5)
    assert read.circuit_breakers.thresholds[0].max_connections.value == 2**32 - 1
    (key, options), *rest = read.typed_extension_protocol_options.items()
    assert options.type_url == f"type.googleapis.com/{key}"
    assert not rest
    unpacked = HttpProtocolOptions.parse(options.value)
    assert unpacked.explicit_http_config is not None
    assert unpacked.explicit_http_config.http_protocol_options == Http1ProtocolOptions()


def test_presence_is_kept_for_zero_and_dropped_for_none() -> None:
    assert encode(CircuitBreakersThresholds(max_connections=None)) == b""
    assert encode(CircuitBreakersThresholds(max_connections=0)) == b"\x12\x00"
    assert encode(RouteAction(timeout=dt.timedelta(0))) == b"\x42\x00"


def test_an_empty_message_in_a_list_is_an_entry() -> None:
    assert encode(CircuitBreakers(thresholds=[CircuitBreakersThresholds()] * 2)) == b"\x0a\x00\x0a\x00"


def test_maps_keep_the_order_that_they_are_given() -> None:
    one, two = protobuf.Value(bool_value=True), protobuf.Value(number_value=2)
    forward = encode(protobuf.Struct(fields={"a": one, "b": two}))
    backward = encode(protobuf.Struct(fields={"b": two, "a": one}))
    assert forward == bytes.fromhex("0a070a0161120220010a0e0a01621209110000000000000040")
    assert backward == forward[9:] + forward[:9]


def test_unknown_fields_of_a_parsed_message_are_kept() -> None:
    known = encode(virtual_host("a"))
    assert encode(VirtualHost.parse(b"\xfa\x7f\x01a" + known)) == known + b"\xfa\x7f\x01a"


@pytest.mark.parametrize("value", [0, 1, -1, 2**31 - 1, -(2**31)])
def test_signed_and_fixed_numbers_are_read_back_by_upb(value: int) -> None:
    importlib.import_module("validate.validate_pb2")
    for rules in (validate.SInt32Rules, validate.Int32Rules, validate.SFixed32Rules, validate.SFixed64Rules):
        read = upb(rules(const=value, in_=[value, 7]))
        assert (read.const, list(getattr(read, "in"))) == (value, [value, 7])


@given(st.timedeltas(dt.timedelta(days=-3_652_500), dt.timedelta(days=3_652_500)))
@settings(deadline=None)
def test_upb_reads_every_duration_exactly_negative_and_long_ones_too(value: dt.timedelta) -> None:
    importlib.import_module("envoy.config.route.v3.route_components_pb2")
    timeout = upb(RouteAction(timeout=value)).timeout
    assert timeout.ToTimedelta() == value
    assert timeout.seconds * timeout.nanos >= 0


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (CircuitBreakersThresholds, "envoy.config.cluster.v3.CircuitBreakers.Thresholds"),
        (Router, "envoy.extensions.filters.http.router.v3.Router"),
        (protobuf.UInt32Value, "google.protobuf.UInt32Value"),
    ],
)
def test_type_url_is_the_full_protobuf_name(cls: type[bp.Message], name: str) -> None:
    assert type_url(cls) == f"type.googleapis.com/{name}"


def test_type_url_of_no_generated_class() -> None:
    with pytest.raises(KeyError):
        type_url(bp.Message)


def test_any_of_unpacks_to_the_message() -> None:
    packed = any_of(virtual_host("a"))
    assert packed.unpack() == virtual_host("a")
    assert packed == protobuf.Any.pack(virtual_host("a"))


def test_a_message_put_together_from_encoded_parts_is_the_message() -> None:
    hosts = [virtual_host("a"), virtual_host("b" * 300)]
    parts = [encode(RouteConfiguration(name="web")), *(field(2, encode(host)) for host in hosts)]
    assert RouteConfiguration.parse(b"".join(parts)) == RouteConfiguration(name="web", virtual_hosts=hosts)
