"""What becomes of the endpoints of lost nodes, by the lanes of a control plane, as sources tell of nodes and slices."""

from __future__ import annotations

import datetime

from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import rows
from fairlead_operator.health import Row
from fairlead_operator.loop import ControlPlane
from fairlead_operator.world import CONFIG, NOTHING, Lane
from fairlead_xds.features.endpoints import Health
from fairlead_xds.store import Store
from tests.support.manifests import (
    NAMESPACE,
    Raw,
    endpoint,
    endpoint_slice,
    listener,
    node,
    placed,
    policy,
    running_pod,
    service,
    site,
)
from tests.support.worlds import policy_ref, world_of

NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)
NODES = ("n1", "n2", "n3")


def _slice(*names: str, of: str = "web") -> Raw:
    """An endpoint on each of these nodes."""
    return endpoint_slice(of, 8080, [placed(endpoint(f"10.0.0.{name[1:]}"), pod=name, node=name) for name in names])


def _plane(*objects: Raw, now: list[datetime.datetime] | None = None) -> ControlPlane:
    """Of a policy with one Service, that has listed *objects*; the last of *now* is what its clock says."""
    times = now or [NOW]
    plane = ControlPlane(Store(), list, now=lambda: times[-1])
    for raw in (service("web"), policy("shop", site(listener(80), "web")), *objects):
        plane.apply(raw)
    plane.synced()
    return plane


def _excluded(plane: ControlPlane) -> dict[str, Row]:
    """By node, as the config lane has it."""
    plane.run_config()
    found = rows(plane.world, plane.reconciled.clusters[policy_ref("shop")])
    return {one.row.node: one.row for one in found if one.row.health is Health.EXCLUDED}


def _doubted(plane: ControlPlane) -> list[str]:
    found = plane.reconciled.findings[policy_ref("shop")].degraded
    return [problem.message for problem in found if problem.reason == "NodesInDoubt"]


async def test_the_endpoints_of_a_deleted_node_are_out_since_it_was_seen() -> None:
    times = [NOW]
    plane = _plane(*map(node, NODES), _slice(*NODES), now=times)
    times.append(NOW + datetime.timedelta(seconds=7))
    plane.delete(Ref("Node", "", "n2"))

    (row,) = _excluded(plane).values()
    assert (row.node, row.reason, row.since) == ("n2", "node n2 was deleted", NOW.timestamp() + 7)


async def test_the_endpoints_of_a_node_that_was_lost_before_it_was_deleted_are_out_since_then() -> None:
    plane = _plane(*map(node, NODES), _slice(*NODES))
    plane.apply(node("n2", ready="Unknown", since="2026-01-01T10:00:00Z"))
    plane.apply(node("n1", ready="Unknown", since=NOW.isoformat()))
    plane.delete(Ref("Node", "", "n2"))

    found = _excluded(plane)
    assert set(found) == {"n1", "n2"}
    assert (found["n2"].reason, found["n2"].since) == ("node n2 was deleted", NOW.timestamp() - 7200)


async def test_two_of_three_at_once_are_kept_and_it_is_said_but_not_an_hour_apart() -> None:
    plane = _plane(*map(node, NODES), _slice(*NODES))
    plane.apply(node("n1", ready="Unknown", since="2026-01-01T10:00:00Z"))
    plane.apply(node("n2", ready="Unknown", since="2026-01-01T10:00:40Z"))
    assert _excluded(plane) == {}
    assert _doubted(plane) == [
        "spec.endpoints.nodeLost: 2 of 3 nodes are lost at the same moment: their endpoints are kept"
    ]

    plane.apply(node("n2", ready="Unknown", since="2026-01-01T11:00:00Z"))
    assert set(_excluded(plane)) == {"n1", "n2"}
    assert _doubted(plane) == []


def test_what_counts_for_the_others_is_a_change_and_a_heartbeat_is_none() -> None:
    """A node that is new makes the lost ones fewer of all; when one was lost decides who was lost with it."""
    fine, lost = node("n1"), node("n2", ready="Unknown")
    world = world_of(fine)
    assert world.apply(node("n3")) is NOTHING
    assert world.apply(lost) is CONFIG

    assert world.apply(fine | {"status": {**fine["status"], "images": []}}) is NOTHING
    assert world.apply(lost) is NOTHING
    assert world.apply(node("n4")) is CONFIG
    assert world.apply(node("n2", ready="Unknown", since="2026-01-01T11:00:00Z")) is CONFIG


async def test_a_slice_that_names_a_deleted_node_only_later_is_judged_as_well() -> None:
    plane = _plane(*map(node, NODES), _slice("n1", "n3"))
    plane.delete(Ref("Node", "", "n2"))
    assert _excluded(plane) == {}

    plane.apply(_slice(*NODES))
    assert set(_excluded(plane)) == {"n2"}


def test_the_first_and_the_last_endpoint_of_a_deleted_node_concern_everybody() -> None:
    """With them the share of nodes that are lost is another one; what comes between is its own Service's business."""
    world = world_of(service("web"), service("shop"), *map(node, NODES), _slice("n1"), _slice("n1", of="shop"))
    world.delete(Ref("Node", "", "n2"))

    assert world.apply(_slice("n1", "n3")).lane is Lane.ENDPOINTS
    assert world.apply(_slice("n1", "n2")) is CONFIG
    assert world.apply(_slice("n1", "n2", of="shop")).lane is Lane.ENDPOINTS
    assert world.delete(Ref("EndpointSlice", NAMESPACE, "web")).lane is Lane.ENDPOINTS
    assert world.apply(_slice("n1", of="shop")) is CONFIG


async def test_a_node_that_was_deleted_before_anybody_looked_is_known_by_what_names_it() -> None:
    """After a restart of the operator: nobody knows since when, least of all the pod, which was ready once."""
    pod = running_pod("n2")
    pod["status"]["conditions"] = [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]
    plane = _plane(_slice(*NODES), pod, node("n1"), node("n3"))

    (row,) = _excluded(plane).values()
    assert (row.node, row.reason, row.since) == ("n2", "node n2 does not exist", 0.0)
    plane.apply(node("n2"))
    assert _excluded(plane) == {}


async def test_more_nodes_that_do_not_exist_than_the_share_are_kept() -> None:
    plane = _plane(_slice(*NODES), node("n1"))

    assert _excluded(plane) == {}
    assert _doubted(plane) == [
        "spec.endpoints.nodeLost: 2 of 3 nodes are lost at the same moment: their endpoints are kept"
    ]


async def test_a_node_is_not_missed_where_none_is_known_nor_an_endpoint_that_names_none() -> None:
    assert _excluded(_plane(_slice(*NODES))) == {}
    nowhere = endpoint_slice("web", 8080, [placed(endpoint("10.0.0.9"), pod="x"), endpoint("10.0.0.8")])
    assert _excluded(_plane(nowhere, node("n1"))) == {}


async def test_a_node_that_is_named_before_it_is_heard_of_is_not_missed() -> None:
    """The watches of nodes and of slices are two: new capacity does not wait for the slower one."""
    plane = _plane(*map(node, NODES), _slice("n1"))
    plane.apply(_slice("n1", "n4"))
    assert _excluded(plane) == {}


async def test_nothing_is_missed_before_everything_was_listed() -> None:
    plane = ControlPlane(Store(), list, now=lambda: NOW)
    for raw in (service("web"), policy("shop", site(listener(80), "web")), _slice(*NODES), node("n1"), node("n2")):
        plane.apply(raw)
    assert _excluded(plane) == {}

    plane.apply(node("n3"))
    plane.synced()
    assert _excluded(plane) == {}
