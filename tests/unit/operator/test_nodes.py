"""Which nodes are lost, and when that is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.nodes import Node, read_node
from fairlead_operator.api.pod_status import seconds_of
from fairlead_operator.nodes import NOTHING, Lost, Nodes
from fairlead_operator.status import rfc3339

Json = dict[str, Any]
NOW = 1_770_000_000.0


def node(name: str, ready: str = "True", *taints: str, **spec: Any) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"taints": [{"key": key, "effect": "NoExecute"} for key in taints], **spec},
        "status": {
            "conditions": [
                {"type": "MemoryPressure", "status": "False"},
                {"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:10Z"},
            ]
        },
    }


@pytest.mark.parametrize(
    ("raw", "lost", "dated"),
    [
        (node("a"), "", False),
        (node("a", unschedulable=True), "", False),
        (node("a", "True", "node.kubernetes.io/unschedulable", "dedicated"), "", False),
        (node("a", "False"), "is not ready", True),
        (node("a", "Unknown"), "is unreachable: its kubelet has not been heard of", True),
        (
            node("a", "True", "node.kubernetes.io/unreachable"),
            "is unreachable: its kubelet has not been heard of",
            False,
        ),
        (node("a", "True", "node.kubernetes.io/out-of-service"), "is out of service", False),
        ({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}}, "", False),
        (
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "spec": {"taints": [{"key": ["a"]}]}},
            "",
            False,
        ),
        (
            {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}, "spec": 7, "status": {"conditions": ["x"]}},
            "",
            False,
        ),
    ],
)
def test_a_node(raw: Json, lost: str, dated: bool) -> None:
    found = read_node(raw)

    assert found.lost == lost
    assert found.since == (seconds_of("2026-01-01T00:00:10Z") if dated else 0)


def registered(seconds: int, ready: str = "False", reason: str = "KubeletNotReady", *taints: str) -> Json:
    """A node that was created this long before its condition Ready last changed."""
    raw = node("a", ready, *taints)
    raw["metadata"]["creationTimestamp"] = rfc3339(seconds_of("2026-01-01T00:00:10Z") - seconds)
    raw["status"]["conditions"][1]["reason"] = reason
    return raw


@pytest.mark.parametrize(
    ("raw", "joining"),
    [
        (registered(0), True),
        (registered(-3), True),
        (registered(20), True),
        (registered(0, "False", "KubeletNotReady", "node.kubernetes.io/not-ready"), True),
        (registered(61), False),
        (registered(86400), False),
        (registered(0, "True", "KubeletReady"), False),
        (registered(40, "Unknown", "NodeStatusUnknown"), False),
        (registered(60, "Unknown", "NodeStatusNeverUpdated", "node.kubernetes.io/unreachable"), True),
        (registered(900, "Unknown", "NodeStatusNeverUpdated"), True),
        (registered(0, "False", "KubeletNotReady", "node.kubernetes.io/out-of-service"), False),
        (node("a", "False"), False),
    ],
)
def test_a_node_that_has_never_been_ready_is_not_lost(raw: Json, joining: bool) -> None:
    found = read_node(raw)

    assert found.joining is joining
    assert not (found.joining and (found.lost or found.since))
    assert found.lost or joining or raw["status"]["conditions"][1]["status"] == "True"


def test_a_taint_says_itself_since_when() -> None:
    """The condition of a node that is ready changed when it became that."""
    tainted = node("a", "True", "node.kubernetes.io/out-of-service")
    assert read_node(tainted).since == 0

    tainted["spec"]["taints"][0]["timeAdded"] = "2026-01-01T00:01:00Z"
    tainted["spec"]["taints"].append({"key": "node.kubernetes.io/out-of-service", "effect": "NoSchedule"})
    assert read_node(tainted).since == seconds_of("2026-01-01T00:01:00Z")


def test_nodes_that_join_count_on_neither_side() -> None:
    """Ten that come at once are no broken view, and do not make one that is lost believable."""
    found = nodes("n1", of=2)
    for number in range(10):
        found.put(f"new{number}", Node(Ref("Node", "", f"new{number}"), joining=True), NOW)
    assert set(found.judged((), 50).lost) == {"n1"}
    assert found.judged((), 49).doubted == "1 of 2 nodes are lost at the same moment: their endpoints are kept"

    assert found.put("new0", Node(Ref("Node", "", "new0")), NOW)
    assert set(found.judged((), 49).lost) == {"n1"}


def test_a_node_that_was_seen_ready_is_lost_also_in_its_first_minute() -> None:
    """Its condition alone looks like that of a node that joins, again and again, until it is ready."""
    found, joining = nodes(of=3), Node(Ref("Node", "", "n1"), joining=True)
    for later in range(3):
        assert found.put("n1", joining, NOW + later) is (later == 0)
    assert found.judged((), 50).lost == {"n1": Lost("node n1 is not ready", NOW)}
    assert found.put("n1", Node(Ref("Node", "", "n1")), NOW + 3)
    assert not found.judged((), 50).lost


def nodes(*lost: str, of: int = 4) -> Nodes:
    made = Nodes()
    for number in range(of):
        name = f"n{number}"
        made.put(name, Node(Ref("Node", "", name), "is not ready" if name in lost else "", NOW), NOW)
    return made


def test_one_of_four_is_lost() -> None:
    found = nodes("n1").judged((), 50)

    assert found == ({"n1": Lost("node n1 is not ready", NOW)}, "")


def test_more_than_so_many_are_not_believed() -> None:
    found = nodes("n0", "n1", "n2")

    assert found.judged((), 50) == ({}, "3 of 4 nodes are lost at the same moment: their endpoints are kept")
    assert len(found.judged((), 75).lost) == 3


def test_a_deleted_node_is_lost_while_endpoints_name_it_and_until_it_is_back() -> None:
    found = nodes()
    assert found.put("n2", None, NOW)
    assert not found.put("n2", None, NOW)

    assert found.judged({"n1", "n2"}, 50).lost == {"n2": Lost("node n2 was deleted", NOW)}
    assert found.judged({"n1"}, 50).lost == {}
    assert found.put("n2", Node(Ref("Node", "", "n2")), NOW)
    assert found.judged({"n2"}, 50).lost == {}


def test_all_deleted_is_not_believed() -> None:
    found = nodes()
    for name in sorted(found.names()):
        found.put(name, None, NOW)

    lost, doubted = found.judged({"n0", "n1", "n2", "n3"}, 50)
    assert lost == {}
    assert "4 of 4" in doubted


def test_deleting_some_of_a_moment_confirms_it() -> None:
    """Three of five stay doubtful for as long as nothing is heard of them; an hour later somebody deletes one."""
    found = nodes("n0", "n1", "n2", of=5)
    used = found.names()
    assert found.judged(used, 50).lost == {}

    found.put("n1", None, NOW + 3600)
    assert set(found.judged(used, 50).lost) == {"n0", "n1", "n2"}


def test_where_no_node_is_known_none_is_lost() -> None:
    assert Nodes().judged({"n1"}, 0) == NOTHING
