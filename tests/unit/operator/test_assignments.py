"""The endpoint lane's shortcuts, change after change, against everything from nothing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead_operator import bindings
from fairlead_operator.api.meta import Ref
from fairlead_operator.assignments import Assignments
from fairlead_operator.reconcile import reconcile
from fairlead_operator.world import World
from fairlead_xds.runs import common_ends
from fairlead_xds.translate import Translator
from fairlead_xds.translate.endpoints import cluster_load_assignment
from tests.support import manifests

Raw = dict[str, Any]
CONDITIONS: list[dict[str, bool]] = [
    {"ready": True, "serving": True, "terminating": False},
    {"ready": False, "serving": False, "terminating": False},
    {"ready": False, "serving": True, "terminating": True},
    {"ready": False, "serving": False, "terminating": True},
]
ONE = st.tuples(st.integers(1, 40), st.sampled_from(CONDITIONS), st.sampled_from(["", "zone-a", "zone-b"]))
#: Single changes of a list of endpoints: where, and what comes there.
CHANGES = st.lists(st.tuples(st.sampled_from(["replace", "insert", "remove", "port"]), st.integers(0, 50), ONE))
SETTINGS = st.sampled_from(
    [
        {},
        {"endpoints": {"notReady": "Degrade"}},
        {"endpoints": {"terminating": "Exclude", "allTerminating": "Fail"}},
        {"healthCheck": {"active": {"type": "HTTP", "http": {}, "port": 9000}}},
    ]
)


def _entry(one: tuple[int, dict[str, bool], str]) -> Raw:
    host, conditions, zone = one
    return {
        "addresses": [f"10.0.0.{host}"],
        "conditions": conditions,
        "zone": zone,
        "nodeName": "",
        "targetRef": {"kind": "Pod", "name": f"web-{host}"},
    }


def _world(spec: Raw) -> World:
    world = World()
    whole = {
        "proxies": {"gateway": "edge"},
        "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
        "routes": [{"name": "all", "backendRefs": [{"name": "a", "port": 80}]}],
        **spec,
    }
    for raw in (manifests.service("a"), manifests.policy("shop", whole)):
        world.apply(raw)
    return world


@settings(max_examples=150, deadline=None)
@given(st.lists(ONE, max_size=40), CHANGES, SETTINGS)
def test_change_after_change_it_says_what_everything_from_nothing_says(
    first: list[tuple[int, dict[str, bool], str]], changes: list[Any], spec: Raw
) -> None:
    world, entries, port = _world(spec), [_entry(one) for one in first], 8080
    world.apply(manifests.endpoint_slice("a", port, entries))
    done = reconcile(world)
    ((binding, _),) = done.bindings[Ref("Service", manifests.NAMESPACE, "a")].values()
    assignments, translator = Assignments(world), Translator()
    assignments.of(binding)

    for what, where, one in changes:
        if what == "port":
            port += 1
        elif what == "insert" or not entries:
            entries.insert(where, _entry(one))
        elif what == "remove":
            del entries[where % len(entries)]
        else:
            entries[where % len(entries)] = _entry(one)
        world.now += 100_000.0  # no endpoint flaps
        world.apply(manifests.endpoint_slice("a", port, entries))
        found, reference = assignments.of(binding), bindings.load_assignment(world, binding)
        assert found.endpoints == reference.endpoints
        assert translator.load_assignment(found).body == cluster_load_assignment(reference)


@given(st.lists(st.integers(0, 3)), st.lists(st.integers(0, 3)))
def test_common_ends_do_not_overlap(old: list[int], new: list[int]) -> None:
    things = [object() for _ in range(4)]
    one, other = [things[number] for number in old], [things[number] for number in new]
    start, end = common_ends(one, other)
    assert start + end <= min(len(one), len(other))
    assert one[:start] == other[:start]
    assert one[len(one) - end :] == other[len(other) - end :]
    assert one[start : len(one) - end] + one[len(one) - end :] == one[start:]


def test_one_change_of_a_hundred_judges_one() -> None:
    """What the shortcut is for: the other endpoints are the same objects as before."""
    world, entries = _world({}), [_entry((host, CONDITIONS[0], "")) for host in range(1, 101)]
    world.apply(manifests.endpoint_slice("a", 8080, entries))
    ((binding, _),) = reconcile(world).bindings[Ref("Service", manifests.NAMESPACE, "a")].values()
    assignments = Assignments(world)
    before = assignments.of(binding).endpoints
    entries[50] = _entry((51, CONDITIONS[1], ""))
    world.apply(manifests.endpoint_slice("a", 8080, entries))
    after = assignments.of(binding).endpoints

    assert len(after) == 99
    assert common_ends(before, after) == (50, 49)
