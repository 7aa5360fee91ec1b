"""Since when an endpoint gets nothing, whichever of pod and slice is told first."""

from __future__ import annotations

import datetime
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.loop import ControlPlane
from fairlead_xds.store import Store
from tests.support.manifests import (
    NAMESPACE,
    Raw,
    endpoint,
    endpoint_slice,
    listener,
    placed,
    policy,
    running_pod,
    service,
    site,
)

THEN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SITE = Ref("LoadBalancerPolicy", NAMESPACE, "site")
BEGAN, FAILED = "2026-01-01T00:00:05Z", "2026-01-01T00:16:43Z"


class _Clocked(ControlPlane):
    clock = 1000.0

    def _time(self) -> float:  # type: ignore[override]
        return self.clock

    def after(self, seconds: float) -> None:
        """What is due in that time."""
        for _ in range(round(seconds * 10)):
            self.clock += 0.1
            self._run_due()

    @property
    def unhealthy(self) -> list[Any]:
        found = self.statuses[SITE]["unhealthyEndpoints"]
        assert isinstance(found, list)
        return found


def _slice(**conditions: bool) -> Raw:
    return endpoint_slice("web", 8080, [placed(endpoint("10.0.0.1", **conditions), pod="a"), endpoint("10.0.0.2")])


def _pod(*, ready: bool, since: str, deleted: str = "") -> Raw:
    raw = running_pod("a", started=1.0)
    raw["status"]["conditions"] = [{"type": "Ready", "status": str(ready), "lastTransitionTime": since}]
    raw["metadata"] |= {"deletionTimestamp": deleted, "deletionGracePeriodSeconds": 30} if deleted else {}
    return raw


def _plane() -> _Clocked:
    plane = _Clocked(Store(), list, now=lambda: THEN + datetime.timedelta(seconds=plane.clock))
    for raw in (policy("site", site(listener(80), "web")), service("web"), _slice(), _pod(ready=True, since=BEGAN)):
        plane.apply(raw)
    plane.synced()
    plane.after(2)
    assert plane.unhealthy == []
    return plane


@pytest.mark.parametrize(
    ("conditions", "pod", "since"),
    [
        ({"ready": False}, _pod(ready=False, since=FAILED), FAILED),
        (
            {"ready": False, "serving": True, "terminating": True},
            _pod(ready=True, since=BEGAN, deleted="2026-01-01T00:17:13Z"),
            FAILED,
        ),
    ],
)
@pytest.mark.parametrize("slice_first", [True, False])
async def test_since_is_what_the_pod_says_whoever_is_first(
    conditions: dict[str, bool], pod: Raw, since: str, *, slice_first: bool
) -> None:
    plane = _plane()
    told = (_slice(**conditions), pod)
    for raw in told if slice_first else reversed(told):
        plane.apply(raw)
        plane.after(3)

    (one,) = plane.unhealthy
    assert one["since"] == since


async def test_of_a_pod_that_has_just_come_its_status_says_so() -> None:
    plane = _plane()
    pod = _pod(ready=False, since=FAILED)
    pod["status"]["startTime"] = FAILED
    plane.apply(pod)
    plane.apply(_slice(ready=False))
    plane.after(3)

    assert [one["reason"] for one in plane.unhealthy] == ["not ready; it has never been ready"]


async def test_until_the_pod_says_so_nobody_knows_and_never_since_when_it_was_ready() -> None:
    plane = _plane()
    plane.apply(_slice(ready=False))
    plane.after(3)

    (one,) = plane.unhealthy
    assert "since" not in one
