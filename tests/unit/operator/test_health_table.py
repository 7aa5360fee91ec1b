"""The table in ``docs/health.md`` is what ``health.judge`` does: every combination of its words, by the first row that fits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from fairlead_operator import health
from fairlead_operator.api.pod_status import PodState, Restarts
from fairlead_operator.api.slices import SliceEndpoint
from fairlead_operator.nodes import Lost
from fairlead_xds.features.endpoints import Endpoints
from tests.support.health_table import ROWS, Row, policy

NOW = 1_000_000.0
NODES = {"fine": None, "lost": Lost("node a is gone")}
ENDPOINTS = {  # ready, serving, terminating
    "ready": (True, True, False),
    "not ready": (False, False, False),
    "terminating, serving": (False, True, True),
    "terminating, not serving": (False, False, True),
}
#: Three restarts, or turns to not ready, within a minute, the last one a second ago; the same, an hour ago.
TIMES = tuple(NOW - ago for ago in (60.0, 40.0, 20.0))
PODS = {
    "fine": PodState(),
    "a container waits": PodState(waiting="CrashLoopBackOff", restarts=Restarts((("web", 3),), TIMES)),
    "starting": PodState(starting=True),
    "restarting": PodState(restarts=Restarts((("web", 3),), TIMES, NOW - 20)),
    "flapping": PodState(),
    "restarted long ago": PodState(restarts=Restarts((("web", 3),), TIMES, NOW - 3600)),
}
OTHERS = {"some ready": False, "none ready": True}
SETTINGS = [
    {
        "notReady": a,
        "terminating": b,
        "allTerminating": c,
        "restarting.action": d,
        "nodeLost.action": e,
        "flapping.action": f,
    }
    for a, b, c, d, e, f in itertools.product(
        ("Exclude", "Degrade"),
        ("Drain", "Exclude"),
        ("Serve", "Fail"),
        ("Degrade", "Exclude", "Ignore"),
        ("Exclude", "Keep"),
        ("Exclude", "Ignore"),
    )
]


def _applies(row: Row, settings: dict[str, str]) -> bool:
    return all(settings[name] == value for name, value in row.named.items())


def _expected(node: str, endpoint: str, pod: str, others: str, settings: dict[str, str]) -> Row:
    pod = "any" if pod in {"fine", "restarted long ago"} else pod
    for row in ROWS:
        words = zip(row[:4], (node, endpoint, pod, others), strict=True)
        if all(said in ("any", is_) for said, is_ in words) and _applies(row, settings):
            return row
    raise AssertionError("no row fits")


def test_every_combination_is_as_the_first_row_that_fits_says() -> None:
    used = set()
    for node, endpoint, pod, others in itertools.product(NODES, ENDPOINTS, PODS, OTHERS):
        ready, serving, terminating = ENDPOINTS[endpoint]
        seen = SliceEndpoint("10.0.0.1", ready, serving, terminating, "", "a", "web-1")
        for settings in SETTINGS:
            row = _expected(node, endpoint, pod, others, settings)
            verdict = health.judge(
                seen,
                policy(settings),
                last_resort=OTHERS[others],
                pod=PODS[pod],
                lost=NODES[node],
                turns=TIMES if pod == "flapping" else (),
                now=NOW - 19,
            )

            assert verdict.health.value == row.health, (node, endpoint, pod, others, settings, row, verdict)
            assert verdict.reason
            used.add(row)
    assert used == set(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_it_calls_the_default_is_it(row: Row) -> None:
    if row.setting.endswith("(default)"):
        ((name, value),) = row.named.items()
        defaults: Any = Endpoints().model_dump(mode="json", by_alias=True)
        for part in name.split("."):
            defaults = defaults[part]
        assert defaults == value
