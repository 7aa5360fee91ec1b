"""How long a pod has to serve after it was told to end, from what was measured; and who has less time than that."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.api.meta import Ref, ref_of
from fairlead_operator.loop import ControlPlane
from fairlead_operator.progress import Report
from fairlead_operator.propagation import WINDOW, Slowest, pre_stop, too_short
from fairlead_xds.store import Store
from tests.support import manifests
from tests.support.manifests import endpoint, placed


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 3 * WINDOW)), max_size=30), st.floats(0, WINDOW))
def test_the_slowest_of_the_last_hour_and_at_most_a_step_more(seen: list[tuple[float, float]], wait: float) -> None:
    slowest, now = Slowest(), 0.0
    for seconds, at in sorted(seen, key=lambda one: one[1]):
        slowest.observe(seconds, at)
        now = at
    now += wait
    found = slowest.seconds(now)
    assert found >= max((seconds for seconds, at in seen if at > now - WINDOW), default=0.0)
    assert found <= max((seconds for seconds, at in seen if at > now - WINDOW - 600), default=0.0)


@pytest.mark.parametrize(("slowest", "sleep"), [(0.0, 1), (0.004, 1), (0.5, 1), (0.51, 2), (4.0, 8), (1e9, 20)])
def test_the_advice_is_twice_what_was_measured_in_whole_seconds(slowest: float, sleep: int) -> None:
    assert pre_stop(slowest) == sleep


def test_who_has_just_the_time_of_the_sleep_has_none_for_requests() -> None:
    found = too_short([("a", 0), ("b", 1), ("c", 2), ("d", 29)], 0.2)
    assert found is not None
    assert found.reason == "GracePeriodTooShort"
    assert found.message == (
        "pods are killed before every proxy knows that they end (2): a, b: give them a preStop sleep of 1 s and a "
        "terminationGracePeriodSeconds of that and what their requests take (the slowest change of the last hour took 0.20 s)"
    )
    assert too_short([("c", 2)], 0.2) is None
    assert too_short([(str(number), 0) for number in range(9)], 0.0) is not None


def pod(name: str, grace: int, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": manifests.NAMESPACE, "uid": name, **metadata},
        "spec": {"terminationGracePeriodSeconds": grace},
    }


async def test_the_status_names_such_pods_until_they_are_gone() -> None:
    plane = ControlPlane(Store(), list)
    spec = {
        "proxies": {"gateway": "edge"},
        "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
        "routes": [{"name": "all", "backendRefs": [{"name": "a", "port": 80}]}],
    }
    ends = [placed(endpoint(f"10.0.0.{number}"), pod=f"web-{number}") for number in (1, 2)]
    for raw in (manifests.service("a"), manifests.endpoint_slice("a", 8080, ends), manifests.policy("shop", spec)):
        plane.apply(raw)
    plane.synced()

    def degraded() -> tuple[str, str]:
        plane.run_endpoints()
        plane.run_status()
        status = plane.statuses[Ref("LoadBalancerPolicy", manifests.NAMESPACE, "shop")]
        (found,) = (one for one in status["conditions"] if one["type"] == "Degraded")
        return found["reason"], found["message"]

    assert degraded()[0] == "Unused"
    plane.apply(pod("web-1", 1))  # after its endpoint
    plane.apply(pod("web-2", 30))
    plane.apply(pod("other", 0))
    assert degraded()[0] == "GracePeriodTooShort"
    assert "(1): web-1:" in degraded()[1]

    plane.apply(pod("web-1", 3))
    assert degraded()[0] == "Unused"
    plane._publisher._reported(Report("edge", ("x",), {"ClusterLoadAssignment": 1}, ("edge-1",), 1.6))
    plane.doubt(None)
    assert degraded()[0] == "GracePeriodTooShort"

    # Told to end with less time: that was asked for.
    plane.apply(pod("web-1", 3, deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=1))
    assert degraded()[0] == "Unused"
    plane.delete(ref_of(pod("web-1", 3)))
    assert degraded()[0] == "Unused"
