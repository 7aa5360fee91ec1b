"""Who gets what on a shared gateway, and what each policy is told about it."""

from __future__ import annotations

import itertools

import pytest

from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.conditions import Findings
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import World
from fairlead_xds.snapshot import Snapshot, TypeUrl
from fairlead_xds.translate import translate
from tests.support import manifests
from tests.support.key_pairs import pair
from tests.support.manifests import Raw, attached, listener, policy, route, site
from tests.support.worlds import (
    backend,
    bodies,
    policy_ref,
    reasons,
    service_ref,
    snapshots,
    targets,
    virtual_hosts,
    world_of,
)

BACKENDS = [*backend("web"), *backend("other", "10.0.0.9")]
HASH = {"type": "ConsistentHash", "consistentHash": {"hashOn": [{"type": "SourceIP"}]}}


def _findings(world: World, name: str) -> Findings:
    return reconcile(world).findings[policy_ref(name)]


def _tls(port: int, *hostnames: str, secret: str = "tls") -> Raw:
    return listener(port, *hostnames, secret=secret)


SECRETS = [
    manifests.secret("tls", *pair("a.example.com")),
    manifests.secret("tls-b", *pair("b.example.com")),
]


# --- conflicts


@pytest.mark.parametrize(
    ("older", "younger", "path"),
    [
        (listener(80), listener(80), "spec.listeners[0].port"),
        (listener(80, "a.com"), listener(80, "b.com", "a.com"), "spec.listeners[0].hostnames"),
        (listener(443), _tls(443, "a.com"), "spec.listeners[0].port"),
        (_tls(443, "a.com"), listener(443, "b.com"), "spec.listeners[0].port"),
    ],
    ids=["every host", "one host", "HTTP first", "HTTPS first"],
)
def test_the_older_wins_whatever_the_order_of_arrival(older: Raw, younger: Raw, path: str) -> None:
    """The younger gets a condition and nothing else; the older gets byte for byte what it has alone."""
    old, young = policy("old", site(older, "web"), age=5), policy("young", site(younger, "other"), age=1)
    alone = snapshots(world_of(old, *BACKENDS, *SECRETS))["edge"]

    for order in ([old, young], [young, old]):
        world = world_of(*order, *BACKENDS, *SECRETS)
        assert bodies(snapshots(world)["edge"]) == bodies(alone)
        assert _findings(world, "old").accepted == ()
        assert reasons(_findings(world, "young").accepted) == [("Conflicted", path)]


def test_of_the_same_age_the_name_decides() -> None:
    world = world_of(policy("b", site(listener(80), "web")), policy("a", site(listener(80), "other")), *BACKENDS)

    assert _findings(world, "a").accepted == ()
    assert reasons(_findings(world, "b").accepted) == [("Conflicted", "spec.listeners[0].port")]


def test_gateways_do_not_conflict() -> None:
    spec = site(listener(80), "web")
    world = world_of(policy("a", spec), policy("b", spec | {"proxies": {"gateway": "inner"}}), *BACKENDS)

    assert sorted(snapshots(world)) == ["edge", "inner"]
    assert not any(found.accepted for found in reconcile(world).findings.values())


BAD: dict[str, Raw] = {
    "unreadable": {"colour": "red"},
    "no such listener": site(listener(80, "bad.com"), route("all", "web", listeners=["nowhere"])),
    "no RE2": site(
        listener(80, "bad.com"),
        route("all", "web", matches=[{"path": {"type": "RegularExpression", "value": "(?=a)"}}]),
    ),
    "no such host": site(listener(80, "bad.com"), route("all", "web", hostnames=["other.com"])),
    "conflict": site(listener(80, "good.com"), "other"),
    "attached to nothing": attached("nowhere", loadBalancer={"type": "Random"}),
}


@pytest.mark.parametrize("spec", BAD.values(), ids=BAD)
def test_a_bad_object_never_changes_what_another_gets(spec: Raw) -> None:
    good = policy("good", site(listener(80, "good.com"), "web"), age=9)
    alone = snapshots(world_of(good, *BACKENDS))["edge"]
    world = world_of(good, policy("bad", spec), *BACKENDS)

    assert bodies(snapshots(world)["edge"]) == bodies(alone)
    found = _findings(world, "bad")
    assert found.accepted or found.resolved


def test_a_policy_that_is_held_keeps_its_ports() -> None:
    """A younger one does not get them for as long as the older is being mended, only to lose them again."""
    old, young = policy("old", site(listener(80), "web"), age=5), policy("young", site(listener(80), "other"), age=1)
    world = world_of(old, young, *BACKENDS)

    done = reconcile(world, {policy_ref("old"): None})

    assert done.proxies["edge"].listeners == ()
    assert reasons(done.findings[policy_ref("young")].accepted) == [("Conflicted", "spec.listeners[0].port")]


def test_a_policy_that_is_held_takes_nothing_from_who_serves() -> None:
    """It names the host more closely, but would not answer: the older goes on as it did before."""
    wide = site(listener(80), [route("all", "web"), route("shop", "web", hostnames=["shop.com"])])
    close = policy("close", site(listener(80, "shop.com"), "other"), age=1)
    alone = snapshots(world_of(policy("wide", wide, age=9), *BACKENDS))["edge"]

    done = reconcile(world_of(policy("wide", wide, age=9), close, *BACKENDS), {policy_ref("close"): None})

    assert bodies(translate(done.proxies["edge"])) == bodies(alone)
    assert done.findings[policy_ref("wide")] == Findings()


def test_an_edit_that_is_held_is_as_if_it_were_not_made() -> None:
    """The form before stands in, and what it does not claim is free."""
    before = world_of(policy("old", site(listener(80), "web"), age=5))
    good = before.policies[policy_ref("old")]
    assert isinstance(good, LoadBalancerPolicy)
    old = policy("old", site(listener(81), "web"), age=5, generation=2)
    world = world_of(old, policy("young", site(listener(81), "other"), age=1), *BACKENDS)

    done = reconcile(world, {policy_ref("old"): good})

    assert [found.port for found in done.proxies["edge"].listeners] == [80, 81]
    assert done.findings[policy_ref("young")].accepted == ()


def test_a_policy_that_cannot_be_read_is_told_every_error() -> None:
    world = world_of(policy("bad", site(listener(0), "web") | {"colour": "red"}))

    assert reasons(_findings(world, "bad").accepted) == [
        ("Invalid", "spec.listeners[0].port"),
        ("Invalid", "spec.colour"),
    ]


# --- sharing a port


def test_policies_share_a_port_by_hostname() -> None:
    world = world_of(
        policy("a", site(listener(80, "a.com"), "web")), policy("b", site(listener(80, "*.b.com"), "other")), *BACKENDS
    )
    hosts = virtual_hosts(snapshots(world)["edge"])

    assert {host: targets(found.routes[0]) for host, found in hosts.items()} == {
        "a.com": {"shop/web:80": 1},
        "*.b.com": {"shop/other:80": 1},
    }


@pytest.mark.parametrize("ages", [(1, 9), (9, 1)], ids=["younger", "older"])
def test_a_host_belongs_to_the_listener_that_names_it_most_closely(ages: tuple[int, int]) -> None:
    """Envoy refuses a table with a hostname twice: the whole port would stand still. So it is for TLS by SNI, too."""
    wide = site(listener(80), [route("all", "web"), route("shop", "web", hostnames=["shop.com"])])
    close = site(listener(80, "shop.com"), "other")
    world = world_of(policy("wide", wide, age=ages[0]), policy("close", close, age=ages[1]), *BACKENDS)

    hosts = virtual_hosts(snapshots(world)["edge"])

    assert {host: targets(found.routes[0]) for host, found in hosts.items()} == {
        "*": {"shop/web:80": 1},
        "shop.com": {"shop/other:80": 1},
    }
    assert reasons(_findings(world, "wide").degraded) == [("HostnameTaken", "spec.routes")]
    assert _findings(world, "close") == Findings()


def test_no_hostname_stands_twice_in_a_table() -> None:
    """Over all pairs of listeners and routes with overlapping hostnames."""
    names = ["*", "*.com", "*.a.com", "x.a.com"]
    specs = [
        site(
            listener(80, *([own] if own != "*" else [])),
            route("all", "web", **({"hostnames": [asked]} if asked != "*" else {})),
        )
        for own, asked in itertools.product(names, names)
    ]
    for one, two in itertools.product(specs, specs):
        world = world_of(policy("one", one), policy("two", two), *BACKENDS)
        for table in reconcile(world).proxies["edge"].route_tables:
            domains = [host.hostname for host in table.virtual_hosts]
            assert len(domains) == len(set(domains)), (one, two)


def test_each_tls_listener_has_a_chain_of_its_own() -> None:
    """One host's certificate, or its routes, are nobody else's: a change of one drains no connection of another."""
    world = world_of(
        policy("a", site(_tls(443, "a.example.com"), "web")),
        policy("b", site(_tls(443, "b.example.com", secret="tls-b"), "other")),
        *BACKENDS,
        *SECRETS,
    )
    (found,) = reconcile(world).proxies["edge"].listeners

    assert [(c.name, c.server_names, c.certificates) for c in found.chains] == [
        ("shop/a/main", ("a.example.com",), ("shop/tls",)),
        ("shop/b/main", ("b.example.com",), ("shop/tls-b",)),
    ]


# --- attached policies


def test_an_attached_policy_wins_field_by_field() -> None:
    inline = site(listener(80), "web", loadBalancer={"type": "Random"}, sessionPersistence={"name": "SIDE"})
    world = world_of(policy("site", inline), policy("over", attached("web", loadBalancer=HASH)), *BACKENDS)

    (found,) = reconcile(world).proxies["edge"].backends
    assert found.load_balancer.type == "ConsistentHash"
    assert found.persistence is not None
    assert found.persistence.name == "SIDE"


def test_an_attached_policy_reaches_every_gateway_that_uses_its_service() -> None:
    world = world_of(
        policy("a", site(listener(80), "web")),
        policy("b", site(listener(80), "web", gateway="inner")),
        policy("c", site(listener(80), "other", gateway="third")),
        policy("over", attached("web", loadBalancer={"type": "Random"})),
        *BACKENDS,
    )

    assert reconcile(world).gateways[policy_ref("over")] == {"edge", "inner"}


def test_of_two_attached_policies_the_older_speaks_for_the_service() -> None:
    """The younger is not accepted, and then does nothing for its other Services either."""
    world = world_of(
        policy("site", site(listener(80), route("all", {"web": 1, "other": 1}))),
        policy("old", attached("web", loadBalancer={"type": "Random"}), age=9),
        policy("young", attached("other", "web", loadBalancer={"type": "RoundRobin"})),
        *BACKENDS,
    )

    kinds = {b.name.partition("~")[0]: b.load_balancer.type for b in reconcile(world).proxies["edge"].backends}
    assert kinds == {"shop/other:80": "LeastRequest", "shop/web:80": "Random"}
    assert reasons(_findings(world, "young").accepted) == [("Conflicted", "spec.targetRefs[1]")]


def test_an_attached_policy_names_the_services_that_do_not_exist() -> None:
    world = world_of(policy("over", attached("web", "gone", loadBalancer={"type": "Random"})), *BACKENDS)

    assert reasons(_findings(world, "over").resolved) == [("TargetNotFound", "spec.targetRefs[1]")]


def _owners(snapshot: Snapshot, type_url: TypeUrl, name: str) -> set[str]:
    resource = snapshot.get(type_url, name)
    assert resource is not None
    return {origin.name for origin in resource.origins}


def test_an_attached_policy_is_an_origin_of_what_it_changes() -> None:
    """Its cluster, and the tables with a route to it (session, hash policy): else it is programmed without any ACK."""
    world = world_of(
        policy(
            "site",
            site(
                [listener(80), listener(81, name="more")],
                [
                    route("users", "web", listeners=["main"]),
                    route("rest", "other", listeners=["more"]),
                ],
            ),
        ),
        policy("over", attached("web", loadBalancer=HASH), generation=7),
        *BACKENDS,
    )
    done = reconcile(world)
    snapshot = translate(done.proxies["edge"])
    (over,) = done.bindings[service_ref("web")]

    assert _owners(snapshot, TypeUrl.CLUSTER, over) == {"site", "over"}
    assert _owners(snapshot, TypeUrl.CLUSTER, "shop/other:80") == {"site"}
    assert _owners(snapshot, TypeUrl.ROUTE, "port-80/http") == {"site", "over"}
    assert _owners(snapshot, TypeUrl.ROUTE, "port-81/http") == {"site"}
    assert _owners(snapshot, TypeUrl.LISTENER, "port-80") == {"site"}
    cluster = snapshot.get(TypeUrl.CLUSTER, over)
    assert cluster is not None
    assert [o.generation for o in cluster.origins if o.name == "over"] == [7]


# --- held policies (quarantine)


def test_a_held_policy_is_served_in_its_last_good_form() -> None:
    old = world_of(policy("site", site(listener(80), "web"), generation=1), *BACKENDS)
    new = world_of(policy("site", site(listener(80), "other"), generation=2), *BACKENDS)
    (good,) = old.valid_policies()

    done = reconcile(new, {policy_ref("site"): good})

    assert bodies(translate(done.proxies["edge"])) == bodies(snapshots(old)["edge"])


def test_a_held_policy_that_never_was_good_is_not_served() -> None:
    world = world_of(policy("site", site(listener(80), "web")), *BACKENDS)

    assert bodies(translate(reconcile(world, {policy_ref("site"): None}).proxies["edge"])) == {}


@pytest.mark.parametrize("known_good", [True, False])
def test_a_held_attached_policy_gives_way_to_its_last_good_form(*, known_good: bool) -> None:
    inline = policy("site", site(listener(80), "web"))
    before = world_of(inline, policy("over", attached("web", loadBalancer={"type": "Random"})), *BACKENDS)
    world = world_of(inline, policy("over", attached("web", loadBalancer=HASH), generation=2), *BACKENDS)
    good = next(p for p in before.valid_policies() if p.ref.name == "over") if known_good else None

    (found,) = reconcile(world, {policy_ref("over"): good}).proxies["edge"].backends

    assert found.load_balancer.type == ("Random" if known_good else "LeastRequest")
