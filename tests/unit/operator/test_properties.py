"""What holds of the pure core whatever it is told, found by Hypothesis."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

from envoy.config.route.v3 import route_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead_operator.api.meta import DecodeError, Ref
from fairlead_operator.assignments import Assignments
from fairlead_operator.bindings import rows, survey
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import Lane, World
from fairlead_xds import names
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.testing.references import references
from fairlead_xds.translate import Translator, translate
from tests.support import manifests
from tests.support.bad_objects import ATTACHED, BACKEND, BACKEND_BY_NAME, POLICY
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
    running_pod,
    site,
)
from tests.support.worlds import backend, bodies, snapshots, world_of

PROFILE = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

# --- worlds of valid objects

SERVICES = ("a", "b", "c")
HOSTS = ("one.com", "two.com", "*.two.com", "x.two.com")
ADDRESSES = tuple(f"10.0.0.{i}" for i in range(1, 5))
SECRETS = [manifests.secret("tls", *pair("a.example.com"))]

services = st.sampled_from(SERVICES)
hostnames = st.lists(st.sampled_from(HOSTS), max_size=2, unique=True)
balancers = st.sampled_from(
    [
        {"type": "Random"},
        {"type": "ConsistentHash", "consistentHash": {"hashOn": [{"type": "SourceIP"}]}},
        {"type": "ConsistentHash", "consistentHash": {"hashOn": [{"type": "Cookie", "cookie": {"name": "c"}}]}},
    ]
)
settings_of_backends = st.fixed_dictionaries(
    {},
    optional={
        "loadBalancer": balancers,
        "sessionPersistence": st.sampled_from([{}, {"name": "SIDE", "drain": "MoveSessions"}]),
        "endpoints": st.sampled_from(
            [
                {"notReady": "Degrade"},
                {"allTerminating": "Fail"},
                {"nodeLost": {"action": "Keep"}},
                {"restarting": {"action": "Exclude", "threshold": 2}},
            ]
        ),
    },
)
PODS, NODES = ("p1", "p2"), ("n1", "n2", "n3")
endpoints = st.builds(
    lambda address, pod, node, conditions: placed(endpoint(address, **conditions), pod=pod, node=node),
    st.sampled_from(ADDRESSES),
    st.sampled_from(PODS),
    st.sampled_from(NODES),
    st.fixed_dictionaries({name: st.booleans() for name in ("ready", "serving", "terminating")}),
)


@st.composite
def slices(draw: st.DrawFn) -> Raw:
    """One of a few slices, of any Service: so they move."""
    raw = endpoint_slice(draw(services), 8080, draw(st.lists(endpoints, max_size=4)))
    raw["metadata"]["name"] = draw(st.sampled_from(["s1", "s2", "s3", "s4"]))
    return raw


#: A pod restarts, waits, starts, runs; a node is lost and comes back. Times are around that of the world, 100.
pods = st.builds(
    lambda name, restarts, started, state: running_pod(name, restarts=restarts, started=started, **state),
    st.sampled_from(PODS),
    st.sampled_from([0, 2, 3, 5]),
    st.sampled_from([10.0, 95.0]),
    st.sampled_from([{}, {"waiting": "CrashLoopBackOff"}, {"started_probe": False}]),
)
nodes = st.builds(
    lambda name, ready: node(name, ready=ready), st.sampled_from(NODES), st.sampled_from(["True", "Unknown"])
)
#: Objects that may be there, or not.
gone = st.sampled_from(
    [Ref("EndpointSlice", NAMESPACE, name) for name in ("s1", "s2", "s3")] + [Ref("Node", "", name) for name in NODES]
)


@st.composite
def routes(draw: st.DrawFn, names: list[str]) -> Raw:
    weights = draw(st.dictionaries(st.sampled_from([*SERVICES, "gone"]), st.integers(0, 9), min_size=1, max_size=3))
    path = draw(st.sampled_from(["/", "/a", "/a/b"]))
    fields: Raw = {"matches": [{"path": {"value": path}}]}
    if own := draw(hostnames):
        fields["hostnames"] = own
    if draw(st.booleans()):
        fields["listeners"] = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    made = route(draw(st.uuids()).hex[:8].replace("e", "x"), weights, **fields)
    if fallbacks := draw(st.lists(st.sampled_from([*SERVICES, "gone"]), max_size=2, unique=True)):
        made["backendRefs"] += [{"name": name, "port": 80, "fallback": True} for name in fallbacks]
        made["activateBelowHealthyPercent"] = draw(st.sampled_from([1, 70, 100]))
    return made


@st.composite
def policies(draw: st.DrawFn, name: str) -> Raw:
    age, generation = draw(st.integers(0, 3)), draw(st.integers(1, 3))
    common = draw(settings_of_backends)
    if draw(st.integers(0, 3)) == 0:
        over = common or {"loadBalancer": {"type": "Random"}}
        targets = draw(st.lists(services, min_size=1, max_size=2, unique=True))
        return policy(name, attached(*targets, **over), age=age, generation=generation)
    ports = draw(st.lists(st.sampled_from([80, 81, 443]), min_size=1, max_size=2, unique=True))
    listeners = [
        listener(port, *draw(hostnames), name=f"l{port}", secret=draw(st.sampled_from(["tls", "gone"])) * (port == 443))
        for port in ports
    ]
    found = draw(st.lists(routes([entry["name"] for entry in listeners]), min_size=1, max_size=3))
    unique = list({entry["name"]: entry for entry in found}.values())
    gateway = draw(st.sampled_from(["edge", "inner"]))
    return policy(name, site(listeners, unique, gateway=gateway, **common), age=age, generation=generation)


@st.composite
def services_with_addresses(draw: st.DrawFn, name: str) -> Raw:
    """Some share an address, which the API server would not let them."""
    addresses = draw(st.lists(st.sampled_from(["10.96.0.1", "10.96.0.2", "fd00::1"]), max_size=2, unique=True))
    port = {"port": 80, **draw(st.sampled_from([{}, {"appProtocol": "http"}, {"appProtocol": "kubernetes.io/h2c"}]))}
    return manifests.service(name) | {"spec": {"clusterIPs": addresses or ["None"], "ports": [port]}}


capturing = st.builds(
    lambda name, captured: manifests.pod(
        name, {}, annotations={"fairlead.dev/mode": "Capture", "fairlead.dev/captured": ",".join(captured)}
    ),
    st.sampled_from(["caller-1", "caller-2"]),
    st.lists(st.sampled_from(["10.96.0.1:80", "[fd00::1]:80"]), max_size=2, unique=True),
)


@st.composite
def objects(draw: st.DrawFn) -> list[Raw]:
    """Everything that makes a world, each object once."""
    found = [draw(policies(f"p{number}")) for number in range(draw(st.integers(1, 4)))]
    found += [raw for name in SERVICES for raw in [draw(services_with_addresses(name))] if draw(st.integers(0, 4))]
    found += {raw["metadata"]["name"]: raw for raw in draw(st.lists(capturing, max_size=2))}.values()
    found += {raw["metadata"]["name"]: raw for raw in draw(st.lists(slices(), max_size=4))}.values()
    return found + SECRETS


# --- nonsense

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.just(10**4000),  # json and YAML read no number of more than 4,300 digits
    st.floats(),
    st.text(st.characters(), max_size=6),
    st.sampled_from(["\0", "\ud800", "a" * 5000, "*", "10.0.0.1", "80", "(", "::1%eth0", "2026-01-01"]),
)


class Deep(list[Any]):
    """A list in a list in a list, 3,000 times, that can be shown when a test fails."""

    def __init__(self) -> None:
        inner: list[Any] = []
        for _ in range(3000):
            inner = [inner]
        super().__init__(inner)

    def __repr__(self) -> str:
        return "Deep()"


nonsense = st.one_of(
    _scalars,
    st.builds(Deep),
    st.recursive(
        _scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
)
CHAOS = "chaos"
VALID: list[Raw] = [
    POLICY,
    ATTACHED,
    BACKEND,
    BACKEND_BY_NAME,
    *backend("web"),
    *SECRETS,
    {
        "kind": "ReferenceGrant",
        "metadata": {"name": "g"},
        "spec": {
            "from": [{"group": "fairlead.dev", "kind": "LoadBalancerPolicy", "namespace": NAMESPACE}],
            "to": [{"group": "", "kind": "Service", "name": "a"}],
        },
    },
]


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """``(container, key)`` of every value inside of *value*."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield value, key
        yield from _places(inner)


@st.composite
def spoiled(draw: st.DrawFn) -> Any:
    """A valid object of a foreign namespace in which some places hold nonsense, or are gone; or nonsense altogether."""
    raw = copy.deepcopy(draw(st.sampled_from(VALID)))
    raw["metadata"] |= {"namespace": CHAOS}
    places = list(_places(raw))
    for index in draw(st.lists(st.integers(0, len(places) - 1), min_size=1, max_size=3, unique=True)):
        container, key = places[index]
        if isinstance(container, dict) and draw(st.integers(0, 4)) == 0:
            del container[key]
        else:
            container[key] = draw(nonsense)
    return raw


def _feed(world: World, raws: list[Any]) -> None:
    for raw in raws:
        try:
            world.apply(raw)
        except DecodeError as error:
            assert str(error)  # noqa: PT017 - that it can be shown is what is tested


GOOD = [
    policy("good", site([listener(80, "good.com"), listener(443, "good.com", name="tls", secret="tls")], "a"), age=9),
    policy("over", attached("a", loadBalancer={"type": "Random"}), age=9),
    *backend("a"),
    *SECRETS,
]
ALONE = snapshots(world_of(*GOOD))["edge"]


@PROFILE
@given(st.lists(spoiled() | nonsense, max_size=6))
def test_nonsense_harms_nobody_else(raws: list[Any]) -> None:
    """Nothing but DecodeError comes out, and what others get stays byte for byte what it is."""
    world = world_of(*GOOD)

    _feed(world, raws)
    done = reconcile(world)
    found = Translator().run(done.proxies)["edge"]

    for ref in world.policies:
        assert ref in done.findings
        survey(world, done.clusters.get(ref, ()))
        rows(world, done.clusters.get(ref, ()))
    for type_url in (TypeUrl.CLUSTER, TypeUrl.ENDPOINT, TypeUrl.SECRET):
        for name, resource in ALONE.resources(type_url).items():
            same = found.get(type_url, name)
            assert same is not None
            assert same.body == resource.body
    for name in ALONE.resources(TypeUrl.ROUTE):
        assert _hosts(ALONE, name).items() <= _hosts(found, name).items()


def _hosts(snapshot: Snapshot, table: str) -> dict[str, bytes]:
    resource = snapshot.get(TypeUrl.ROUTE, table)
    assert resource is not None
    hosts = route_pb2.RouteConfiguration.FromString(resource.body).virtual_hosts
    return {host.name: host.SerializeToString(deterministic=True) for host in hosts}


@PROFILE
@given(objects(), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(raws: list[Raw], chance: random.Random) -> None:
    shuffled = list(raws)
    chance.shuffle(shuffled)
    one, two = world_of(*raws), world_of(*shuffled)

    first, second = reconcile(one), reconcile(two)

    assert {key: bodies(translate(config)) for key, config in first.proxies.items()} == {
        key: bodies(translate(config)) for key, config in second.proxies.items()
    }
    assert first.findings == second.findings


@PROFILE
@given(objects())
def test_every_name_exists_and_nothing_unreferenced_is_sent(raws: list[Raw]) -> None:
    """Listener -> table, chain -> secret, EDS cluster -> endpoints, both ways; route -> cluster; cluster <- policy."""
    world = world_of(*raws)
    done = reconcile(world)
    for key, config in done.proxies.items():
        snapshot = translate(config)
        asked: set[tuple[TypeUrl, str]] = set()
        for type_url in (TypeUrl.CLUSTER, TypeUrl.LISTENER):
            for resource in snapshot.resources(type_url).values():
                asked |= references(type_url, resource.body)
        sent = {
            (type_url, name)
            for type_url in (TypeUrl.ENDPOINT, TypeUrl.ROUTE, TypeUrl.SECRET)
            for name in snapshot.resources(type_url)
        }
        clusters = set(snapshot.resources(TypeUrl.CLUSTER))
        named = {name for found in done.bindings.values() for name, (_, keys) in found.items() if key in keys}

        tcp = {chain.tcp for taken in config.captured for chain in taken.chains if chain.tcp}
        named |= {names.PASSTHROUGH} if config.captured else set()

        assert asked == sent
        assert _clusters_of_routes(snapshot) | tcp <= clusters
        # A side of a split that is dead, or has no weight, keeps its cluster: it comes back at once.
        assert clusters == named


def _clusters_of_routes(snapshot: Snapshot) -> set[str]:
    found = set()
    for resource in snapshot.resources(TypeUrl.ROUTE).values():
        for host in route_pb2.RouteConfiguration.FromString(resource.body).virtual_hosts:
            for entry in host.routes:
                found |= {entry.route.cluster} - {""}
                found |= {side.name for side in entry.route.weighted_clusters.clusters}
    return found


@PROFILE
@given(objects())
def test_envoy_would_not_refuse_a_table_for_a_name_that_is_there_twice(raws: list[Raw]) -> None:
    """Hostnames and names of virtual hosts are unique in a table, server names in a listener, chains by name."""
    for config in reconcile(world_of(*raws)).proxies.values():
        for table in config.route_tables:
            assert len({host.hostname for host in table.virtual_hosts}) == len(table.virtual_hosts)
            assert len({host.name for host in table.virtual_hosts}) == len(table.virtual_hosts)
        for found in config.listeners:
            names = [name for chain in found.chains for name in chain.server_names or ("*",)]
            assert len(set(names)) == len(names)
            assert len({chain.name for chain in found.chains}) == len(found.chains)


@PROFILE
@given(objects())
def test_an_unrelated_policy_changes_no_byte_of_what_is_there(raws: list[Raw]) -> None:
    """On the same gateway, for a Service that is used already: only what is its own comes in addition."""
    before = snapshots(world_of(*raws))
    newcomer = policy("zz-newcomer", site(listener(9999), "a", gateway="edge"), age=0)
    after = snapshots(world_of(*raws, newcomer))

    assert bodies(before["edge"]).items() <= bodies(after["edge"]).items() if "edge" in before else True
    assert before.get("inner", Snapshot()) == after.get("inner", Snapshot())


@PROFILE
@given(objects(), st.lists(slices() | pods | nodes | gone, max_size=8))
def test_the_endpoint_lane_does_what_a_full_rebuild_does(raws: list[Raw], events: list[Raw | Ref]) -> None:
    """Load assignments by the reverse index alone, as ControlPlane does it, against everything from nothing."""
    world = world_of(*raws)
    world.now = 100.0
    done = reconcile(world)
    lane = {key: translate(config) for key, config in done.proxies.items()}
    assignments, translator = Assignments(world), Translator()

    for event in events:
        changed = world.delete(event) if isinstance(event, Ref) else world.apply(event)
        if changed.lane is Lane.CONFIG:
            done = reconcile(world)
            lane = {key: translate(config) for key, config in done.proxies.items()}
            assignments.forget()
        for service in changed.services:
            for binding, keys in done.bindings.get(service, {}).values():
                resource = translator.load_assignment(assignments.of(binding))
                for key in keys:
                    lane[key] = lane[key].with_resources([resource])

    world._lost.clear()  # nor what was made of the nodes
    for key, full in snapshots(world).items():
        assert {n: r.body for n, r in lane[key].resources(TypeUrl.ENDPOINT).items()} == {
            n: r.body for n, r in full.resources(TypeUrl.ENDPOINT).items()
        }


@settings(PROFILE, max_examples=15)
@given(st.lists(objects(), min_size=2, max_size=3))
def test_a_translator_with_a_memory_says_the_same_as_one_without(worlds: list[list[Raw]]) -> None:
    translator = Translator()
    for raws in worlds:
        configs = reconcile(world_of(*raws)).proxies
        remembered = translator.run(configs)

        assert {key: bodies(snapshot) for key, snapshot in remembered.items()} == {
            key: bodies(translate(config)) for key, config in configs.items()
        }
