"""What the world remembers of what it is told, and what it says has changed."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest

from fairlead_operator.api.meta import DecodeError, Ref
from fairlead_operator.api.objects import InvalidPolicy
from fairlead_operator.world import CONFIG, NOTHING, Changed, Lane, World
from tests.support import manifests
from tests.support.key_pairs import pair
from tests.support.manifests import NAMESPACE, Raw, endpoint, endpoint_slice, listener, policy, service, site
from tests.support.worlds import backend, in_namespace, policy_ref, service_ref, world_of

WEB = service_ref("web")


def _slice(name: str, of: str, *addresses: str) -> Raw:
    raw = endpoint_slice(of, 8080, [endpoint(address) for address in addresses])
    raw["metadata"]["name"] = name
    return raw


def _addresses(world: World, of: str) -> list[str]:
    return [entry.address for part in world.slices(service_ref(of)) for entry in part.endpoints]


@pytest.mark.parametrize(
    "raw",
    [
        service("web"),
        endpoint_slice("web", 8080, [endpoint("10.0.0.1")]),
        policy("web", site(listener(80), "web")),
        manifests.secret("tls", *pair("a.example.com")),
    ],
    ids=lambda raw: raw["kind"],
)
def test_equal_content_is_no_change(raw: Raw) -> None:
    """Watches repeat objects whose status or annotations moved: nothing is computed for that."""
    world = world_of(raw)

    assert world.apply(copy.deepcopy(raw)) is NOTHING


def test_kinds_that_nobody_reads_are_ignored() -> None:
    assert World().apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}) is NOTHING


def test_an_endpoint_slice_touches_its_service_only() -> None:
    assert World().apply(_slice("a", "web", "10.0.0.1")) == Changed(Lane.ENDPOINTS, (WEB,))


def test_everything_else_touches_the_configuration() -> None:
    world = World()

    assert world.apply(service("web")) == CONFIG
    assert world.delete(WEB) == CONFIG
    assert world.delete(WEB) is NOTHING


def test_the_slices_of_a_service_come_in_the_order_of_their_names() -> None:
    """Whatever the order in which they arrived: equal worlds give equal bytes."""
    world = world_of(_slice("b", "web", "10.0.0.2"), _slice("a", "web", "10.0.0.1"), _slice("c", "other", "10.0.0.3"))

    assert _addresses(world, "web") == ["10.0.0.1", "10.0.0.2"]


def test_a_slice_can_move_to_another_service() -> None:
    """Both Services are touched; the old one loses its endpoints."""
    world = world_of(_slice("a", "web", "10.0.0.1"))

    assert world.apply(_slice("a", "other", "10.0.0.1")) == CONFIG
    assert _addresses(world, "web") == []
    assert _addresses(world, "other") == ["10.0.0.1"]


def test_a_deleted_slice_takes_its_endpoints_along() -> None:
    world = world_of(_slice("a", "web", "10.0.0.1"), _slice("b", "web", "10.0.0.2"))

    assert world.delete(Ref("EndpointSlice", NAMESPACE, "a")) == Changed(Lane.ENDPOINTS, (WEB,))
    assert _addresses(world, "web") == ["10.0.0.2"]
    assert world.delete(Ref("EndpointSlice", NAMESPACE, "a")) is NOTHING


def test_refs_are_what_is_known_of_a_kind() -> None:
    world = world_of(*backend("web"), service("other"), policy("bad", {"colour": "red"}))

    assert world.refs("Service") == {WEB, service_ref("other")}
    assert world.refs("EndpointSlice") == {Ref("EndpointSlice", NAMESPACE, "web")}
    assert world.refs("LoadBalancerPolicy") == {policy_ref("bad")}
    assert world.refs("Pod") == set()


BAD_OBJECTS: dict[str, tuple[Raw, dict[str, Any], str]] = {
    "service port": (service("web"), {"spec": {"ports": [{"port": "http"}]}}, "spec.ports[0].port"),
    "slice address": (_slice("a", "web", "10.0.0.1"), {"endpoints": [{"addresses": ["nowhere"]}]}, "endpoints[0]"),
    "slice address as number": (_slice("a", "web", "10.0.0.1"), {"endpoints": [{"addresses": [1]}]}, "endpoints[0]"),
    "slice address with zone": (
        _slice("a", "web", "10.0.0.1"),
        {"endpoints": [{"addresses": ["fe80::1%eth0"]}]},
        "endpoints[0].addresses[0]",
    ),
    "slice zone that UTF-8 cannot hold": (
        _slice("a", "web", "10.0.0.1"),
        {"endpoints": [{"addresses": ["10.0.0.2"], "zone": "\ud800"}]},
        "endpoints[0].zone",
    ),
    "slice condition": (
        _slice("a", "web", "10.0.0.1"),
        {"endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": "yes"}}]},
        "endpoints[0].conditions.ready",
    ),
    "policy of another version": (
        policy("web", site(listener(80), "web")),
        {"apiVersion": "fairlead.dev/v9"},
        "apiVersion",
    ),
}


@pytest.mark.parametrize(("good", "change", "path"), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
def test_what_cannot_be_read_leaves_the_world_as_it_was(good: Raw, change: dict[str, Any], path: str) -> None:
    """DecodeError names the field; what worked before keeps working."""
    world, same = world_of(good), world_of(good)

    with pytest.raises(DecodeError) as refused:
        world.apply(good | change)

    assert refused.value.path.startswith(path)
    assert _everything(world) == _everything(same)


def _everything(world: World) -> dict[str, Any]:
    return {**vars(world), "pods": vars(world.pods), "nodes": vars(world.nodes), "_flaps": vars(world._flaps)}


@pytest.mark.parametrize("address_type", [[], {}, 4, None, "FQDN"], ids=repr)
def test_a_slice_of_no_address_type_that_we_know_has_no_endpoints(address_type: Any) -> None:
    world = world_of(_slice("a", "web", "10.0.0.1") | {"addressType": address_type})

    assert _addresses(world, "web") == []


@pytest.mark.parametrize(
    ("metadata", "path"),
    [
        ({"name": "Shop"}, "metadata.name"),
        ({"name": "a/b"}, "metadata.name"),
        ({"name": "a", "namespace": "a/b"}, "metadata.namespace"),
        ({"name": "a" * 254}, "metadata.name"),
        ({"name": "a\n"}, "metadata.name"),
        ({}, "metadata.name"),
    ],
)
def test_names_are_those_that_kubernetes_allows(metadata: dict[str, str], path: str) -> None:
    """They become parts of Envoy's names: a slash would let one object pose as another."""
    with pytest.raises(DecodeError) as refused:
        World().apply({"kind": "Service", "metadata": metadata})

    assert refused.value.path == path


def test_a_policy_that_cannot_be_read_is_kept_with_its_errors() -> None:
    """It has a name, so it gets a condition."""
    world = world_of(policy("web", {"colour": "red"}))

    invalid = world.policies[policy_ref("web")]
    assert isinstance(invalid, InvalidPolicy)
    assert any(path == "spec.colour" for path, _ in invalid.errors)
    assert world.valid_policies() == []


def test_policies_come_the_older_first_then_by_name() -> None:
    spec = site(listener(80), "web")
    old, *young = policy("z", spec, age=9), policy("b", spec), in_namespace(policy("a", spec), "zoo"), policy("a", spec)
    world = world_of(*young, old)

    assert [(p.ref.namespace, p.ref.name) for p in world.valid_policies()] == [
        (NAMESPACE, "z"),
        (NAMESPACE, "a"),
        (NAMESPACE, "b"),
        ("zoo", "a"),
    ]


# --- secrets


def _secret(host: str, **data: Any) -> Raw:
    raw = manifests.secret("tls", *pair(host))
    return raw | {"data": raw["data"] | {key.replace("_", "."): value for key, value in data.items()}}


SECRET = Ref("Secret", NAMESPACE, "tls")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tls_crt": base64.b64encode(b"no certificate").decode()}, "no PEM certificate"),
        ({"tls_key": base64.b64encode(b"no key").decode()}, "no unencrypted PEM private key"),
        ({"tls_key": base64.b64encode(pair("b.example.com")[1]).decode()}, "not the key of"),
        ({"tls_key": "%%%"}, "not base64"),
        ({"tls_key": None}, "missing"),
    ],
)
def test_a_bad_update_of_a_certificate_keeps_the_one_that_served(change: dict[str, Any], words: str) -> None:
    world = world_of(_secret("a.example.com"))

    world.apply(_secret("a.example.com", **change))

    kept = world.secrets[SECRET]
    assert (kept.certificate, kept.key) == pair("a.example.com")
    assert words in kept.error
    assert "BEGIN" not in kept.error


def test_a_good_certificate_ends_the_error_of_a_bad_one() -> None:
    world = world_of(_secret("a.example.com"), _secret("a.example.com", tls_key="%%%"), _secret("b.example.com"))

    assert world.secrets[SECRET].error == ""
    assert world.secrets[SECRET].certificate == pair("b.example.com")[0]


def test_a_certificate_that_never_served_has_nothing_to_keep() -> None:
    world = world_of(_secret("a.example.com", tls_key="%%%"))

    assert world.secrets[SECRET].certificate == b""


def test_line_breaks_in_base64_are_no_error() -> None:
    """The API server takes them, and a YAML block scalar ends with one."""
    raw = _secret("a.example.com")
    world = world_of(raw | {"data": {key: value[:40] + "\n" + value[40:] + "\n" for key, value in raw["data"].items()}})

    assert world.secrets[SECRET].error == ""


# --- references


def _grant(kind: str, name: str = "", *, namespace: str = "data") -> Raw:
    target = {"group": "", "kind": kind} | ({"name": name} if name else {})
    return {
        "kind": "ReferenceGrant",
        "metadata": {"name": "grant", "namespace": namespace},
        "spec": {
            "from": [{"group": "fairlead.dev", "kind": "LoadBalancerPolicy", "namespace": NAMESPACE}],
            "to": [target],
        },
    }


@pytest.mark.parametrize(
    ("grant", "allowed"),
    [
        (_grant("Service", "users"), True),
        (_grant("Service"), True),
        (_grant("Service", "orders"), False),
        (_grant("Secret", "users"), False),
        (_grant("Service", "users", namespace="elsewhere"), False),
    ],
)
def test_a_reference_to_another_namespace_needs_a_grant_beside_its_target(grant: Raw, *, allowed: bool) -> None:
    world = world_of(grant)

    assert world.allows(policy_ref("web"), Ref("Service", "data", "users")) is allowed
    assert not world.allows(Ref("LoadBalancerPolicy", "stranger", "web"), Ref("Service", "data", "users"))


def test_a_reference_within_the_namespace_needs_no_grant() -> None:
    assert World().allows(policy_ref("web"), WEB)


@pytest.mark.parametrize("group", [[], {}, 4], ids=repr)
def test_a_grant_with_nonsense_for_a_group_allows_nothing(group: Any) -> None:
    grant = _grant("Service")
    grant["spec"]["to"][0]["group"] = group

    assert not world_of(grant).allows(policy_ref("web"), Ref("Service", "data", "users"))


@pytest.mark.parametrize("name", [[], {}, 0, False], ids=repr)
def test_nonsense_for_a_name_in_a_grant_is_not_taken_for_every_name(name: Any) -> None:
    grant = _grant("Service")
    grant["spec"]["to"][0]["name"] = name

    with pytest.raises(DecodeError):
        world_of(grant)
