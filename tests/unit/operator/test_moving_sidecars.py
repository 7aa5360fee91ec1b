"""Sidecars of a control plane: which key they get, and that they follow their pod while their stream stays open."""

from __future__ import annotations

from fairlead_operator.api.meta import Ref
from fairlead_operator.loop import ControlPlane
from fairlead_operator.replicas.peers import Peers
from fairlead_operator.replicas.report import FleetReport, Share
from fairlead_operator.sidecars import Group
from fairlead_xds.auth import Identity
from fairlead_xds.snapshot import TypeUrl
from fairlead_xds.store import Store
from fairlead_xds.testing import Client, DeltaClient
from tests.support.manifests import NAMESPACE, Raw, listener, on_sidecars, pod, policy, site
from tests.support.wire import Link, Wire
from tests.support.worlds import backend, policy_ref

FRONT = {"app": "front"}
CDS, LDS = TypeUrl.CLUSTER, TypeUrl.LISTENER


class Scene:
    def __init__(self, *objects: Raw) -> None:
        self.store = Store()
        self.wire = Wire(self.store)
        self.peers = Peers("here", lasting=15)
        self.plane = ControlPlane(self.store, self.wire.proxies, move=self.wire.move, peers=self.peers)
        for raw in (*backend("web"), *backend("users"), *objects):
            self.plane.apply(raw)
        self.plane.synced()

    def connect(self, name: str, client: Client | None = None) -> Link:
        key = self.plane.sidecar_keys.of_subject(NAMESPACE, name, f"uid-{name}")
        assert key is not None
        identity = Identity(NAMESPACE, "default", name, f"uid-{name}")
        link = self.wire.connect(self.plane.answers, client or DeltaClient(name), identity=identity, key=key)
        self.settle()
        return link

    def settle(self) -> None:
        for _ in range(5):
            self.plane.run_endpoints()
            if self.plane._config.due() is not None:
                self.plane.run_config()
            self.wire.deliver()
            self.plane.run_status()

    def programmed(self, name: str) -> str:
        return str(self.plane.statuses[policy_ref(name)]["proxies"]["summary"])


def on(name: str, port: int, service: str = "web", *, age: int = 0, **labels: str) -> Raw:
    return policy(name, on_sidecars(labels or FRONT, listener(port), service), age=age)


def ports(link: Link) -> set[str]:
    return set(link.client.held[LDS])


async def test_a_sidecar_gets_the_policies_that_select_its_pod_and_is_counted() -> None:
    scene = Scene(on("front", 8080), on("other", 9090, app="other"), pod("a", FRONT), pod("b", FRONT))
    links = [scene.connect("a"), scene.connect("b")]

    assert [ports(link) for link in links] == [{"port-8080"}, {"port-8080"}]
    assert (scene.programmed("front"), scene.programmed("other")) == ("2/2", "0/0")


async def test_who_is_no_sidecar_gets_no_key() -> None:
    scene = Scene(on("front", 8080), pod("a", FRONT), pod("bare", FRONT, sidecar=False))

    assert scene.plane.sidecar_keys.of_subject(NAMESPACE, "bare", "uid-bare") is None
    assert scene.plane.sidecar_keys.of_subject(NAMESPACE, "other-name", "uid-a") is None
    assert scene.plane.sidecar_keys.of_subject("elsewhere", "a", "uid-a") is None
    assert scene.plane.sidecar_keys.of_subject(NAMESPACE, "unknown", "uid-unknown") == ""


async def test_a_pod_that_is_not_known_yet_is_served_as_soon_as_it_is() -> None:
    scene = Scene(on("front", 8080), pod("first", FRONT))
    link = scene.connect("late")
    assert (link.proxy.key, ports(link)) == ("", set())

    scene.plane.apply(pod("late", FRONT))
    scene.wire.deliver()

    assert ports(link) == {"port-8080"}


async def test_the_first_pod_of_a_group_is_served_after_its_configuration_is_there() -> None:
    scene = Scene(on("front", 8080))
    link = scene.connect("a")
    scene.plane.apply(pod("a", FRONT))
    assert link.proxy.key == ""
    scene.settle()

    assert ports(link) == {"port-8080"}


async def test_a_sidecar_of_another_replica_is_counted_as_soon_as_its_pod_is_known() -> None:
    """Whoever leads writes the status, and may serve none of the pods itself."""
    scene = Scene(on("front", 8080))
    key = Group(NAMESPACE, ("front",)).key
    report = FleetReport({key: 1}, {policy_ref("front"): Share(1, 1)})
    scene.plane.doubt(scene.peers.heard("there", report, "once", 0))
    scene.settle()
    assert scene.programmed("front") == "0/0"

    scene.plane.apply(pod("a", FRONT))
    scene.settle()

    assert scene.programmed("front") == "1/1"


async def test_other_labels_move_the_stream_and_what_is_equal_is_not_sent_again() -> None:
    scene = Scene(
        on("front", 8080), on("more", 9090, "users", tier="x"), pod("a", FRONT), pod("b", FRONT | {"tier": "x"})
    )
    link = scene.connect("a")
    before = len(link.client.arrivals)
    scene.plane.apply(pod("a", FRONT | {"tier": "x"}))
    scene.settle()

    assert ports(link) == {"port-8080", "port-9090"}
    names = {name for entry in link.client.arrivals[before:] for name in entry.names}
    assert names == {"shop/users:80", "port-9090", "port-9090/http"}
    assert not any(entry.removed for entry in link.client.arrivals[before:])


async def test_a_new_policy_moves_every_sidecar_that_it_selects() -> None:
    scene = Scene(on("front", 8080), pod("a", FRONT), pod("b", {"app": "other"}))
    a, b = scene.connect("a"), scene.connect("b")
    before, served = a.proxy.key, scene.store.keys()
    scene.plane.apply(on("more", 9090))
    scene.settle()

    assert (ports(a), ports(b)) == ({"port-8080", "port-9090"}, set())
    assert a.proxy.key != before
    assert (before in served, before in set(scene.store.keys())) == (True, False)
    assert scene.programmed("more") == "1/1"


async def test_a_policy_that_goes_takes_only_its_own() -> None:
    scene = Scene(on("front", 8080), on("more", 9090, "users"), pod("a", FRONT))
    link = scene.connect("a")
    before = len(link.client.arrivals)
    scene.plane.delete(policy_ref("more"))
    scene.settle()

    assert ports(link) == {"port-8080"}
    assert not any(entry.names for entry in link.client.arrivals[before:])
    assert link.client.arrivals[-1].removed == ("shop/users:80",)


async def test_a_sidecar_whose_pod_is_gone_keeps_what_it_has() -> None:
    """It may run on, on a node that nobody hears of."""
    scene = Scene(on("front", 8080), pod("a", FRONT))
    link = scene.connect("a")
    scene.plane.delete(Ref("Pod", NAMESPACE, "a"))
    scene.plane.apply(on("more", 9090))
    scene.settle()

    assert ports(link) == {"port-8080"}
    assert scene.programmed("front") == "0/0"


async def test_pods_that_come_and_go_do_not_reconcile() -> None:
    scene = Scene(on("front", 8080), pod("a", FRONT))
    scene.settle()
    done = scene.plane.reconciled
    for i in range(20):
        scene.plane.apply(pod(f"new-{i}", FRONT))
        scene.plane.apply(pod(f"bystander-{i}", {"app": "other"}, sidecar=False))
        scene.plane.delete(Ref("Pod", NAMESPACE, f"new-{i}"))
    scene.settle()

    assert scene.plane.reconciled is done


async def test_a_gateway_in_a_pod_never_moves() -> None:
    scene = Scene(policy("shop", site(listener(80), "web")), on("front", 8080))
    identity = Identity("fairlead-system", "fairlead-gateway-edge", "edge-1", "uid-edge")
    link = scene.wire.connect(scene.plane.answers, DeltaClient("edge-1"), identity=identity, key="edge")
    scene.plane.apply(on("more", 9090))
    scene.settle()

    assert (link.proxy.key, ports(link)) == ("edge", {"port-80"})
