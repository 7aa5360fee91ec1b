"""Endpoints as people are told of them: what Kubernetes says, what the proxies found out, and the table of both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.bindings import Placed
from fairlead_operator.endpoints.admin import Seen, read
from fairlead_operator.endpoints.view import answer, table
from fairlead_operator.health import Row
from fairlead_xds.features.endpoints import Health

Json = dict[str, Any]


def host(address: str, *, requests: int = 0, errors: int = 0, **health: bool) -> Json:
    return {
        "address": {"socket_address": {"address": address, "port_value": 80}},
        "health_status": {"eds_health_status": "HEALTHY", **health},
        "stats": [
            {"name": "rq_total", "value": str(requests), "type": "COUNTER"},
            {"name": "rq_error", "value": errors},
        ],
    }


def clusters(*hosts: Json, name: str = "shop/web:80") -> Json:
    return {"cluster_statuses": [{"name": "fairlead"}, {"name": name, "host_statuses": list(hosts)}]}


def test_what_envoy_writes() -> None:
    page = clusters(
        host("10.0.0.1", requests=7, errors=2, failed_outlier_check=True),
        host("fd00::1", failed_active_health_check=True),
    )

    hosts = {"10.0.0.1:80": Seen(False, True, 7, 2, unfit=True), "[fd00::1]:80": Seen(True, False, unfit=True)}
    assert read(page) == {"shop/web:80": hosts}


def test_a_first_check_that_has_no_answer_yet_has_not_failed() -> None:
    """Envoy says both of an endpoint that it has not asked."""
    page = clusters(host("10.0.0.1", failed_active_health_check=True, pending_active_hc=True))

    assert read(page)["shop/web:80"] == {"10.0.0.1:80": Seen(failed_check=False, unfit=True)}


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["cluster_statuses", "host_statuses", "address", "stats", "name", "value"]), inner
            )
        ),
    )
)
def test_nothing_that_it_is_told_makes_it_fail(page: Any) -> None:
    read(page)


def test_a_hostname_has_all_of_its_addresses() -> None:
    page = clusters(
        host("10.0.0.1", requests=1) | {"hostname": "db.example"},
        host("fd00::1", requests=2, failed_outlier_check=True) | {"hostname": "db.example"},
        host("10.0.0.3", failed_active_health_check=True) | {"hostname": "x" * 1000},
    )
    found = read(page)["shop/web:80"]
    assert found.keys() == {"10.0.0.1:80", "[fd00::1]:80", "10.0.0.3:80", "db.example:80"}
    assert found["db.example:80"] == Seen(False, True, 3, unfit=False)
    for one in page["cluster_statuses"][1]["host_statuses"]:
        one["health_status"]["failed_outlier_check"] = True
    assert read(page)["shop/web:80"]["db.example:80"].unfit


def test_what_no_address_can_be_is_left_out() -> None:
    page = clusters(host("1" * 1000), host("10.0.0.1"))
    assert read(page) == {"shop/web:80": {"10.0.0.1:80": Seen()}}


def test_two_of_one_address_are_one() -> None:
    page = clusters(host("10.0.0.1", requests=1), host("10.0.0.1", requests=2, errors=1, failed_outlier_check=True))
    assert read(page) == {"shop/web:80": {"10.0.0.1:80": Seen(False, True, 3, 1)}}


def test_odd_statistics_are_none() -> None:
    page = clusters(host("10.0.0.1"))
    page["cluster_statuses"][1]["host_statuses"][0]["stats"] = [
        {"name": []},
        {"name": "rq_total", "value": "9" * 5000},
        {"name": "rq_error", "value": True},
    ]
    assert read(page) == {"shop/web:80": {"10.0.0.1:80": Seen()}}
    page["cluster_statuses"][1]["host_statuses"][0]["stats"] = [
        {"name": "rq_total", "value": 10**4000},
        {"name": "rq_error", "value": -1},
    ]
    assert read(page) == {"shop/web:80": {"10.0.0.1:80": Seen()}}


def row(address: str, health: Health = Health.HEALTHY, reason: str = "ready", since: float = 0.0) -> Placed:
    of = Row("shop/web:http", f"{address}:80", f"web-{address[-1]}", "node-1", "", 1, health, reason, since)
    return Placed(of, ("shop/web:80",))


ROWS = [row("10.0.0.1"), row("10.0.0.2", Health.EXCLUDED, "not ready", 1_767_225_600.0)]
PROXIES = {
    "edge-1": read(clusters(host("10.0.0.1", requests=5, errors=1, failed_outlier_check=True))),
    "edge-2": read(clusters(host("10.0.0.1", requests=2))),
    "edge-3": None,
}


def test_proxies_are_added_up() -> None:
    said = answer("shop/site", ROWS, PROXIES)

    assert said["proxies"] == {"asked": 3, "answered": 2, "silent": ["edge-3"]}
    first, second = said["endpoints"]
    assert (first["proxies"], first["failedChecks"], first["ejected"]) == (2, 0, 1)
    assert (first["requests"], first["errors"]) == (7, 1)
    assert (second["proxies"], second["since"]) == (0, "2026-01-01T00:00:00Z")
    json.dumps(said)


def test_what_clusters_of_others_found_out_is_not_told() -> None:
    """Two policies over one Service have the same addresses, in clusters of their own."""
    page = clusters(host("10.0.0.1", requests=5))
    page["cluster_statuses"] += clusters(
        host("10.0.0.1", requests=90, errors=9, failed_outlier_check=True), name="shop/web:80~1a2b3c4d5e"
    )["cluster_statuses"]
    said = answer("shop/site", ROWS[:1], {"edge-1": read(page), "edge-2": read(clusters(host("10.0.0.1"), name="x"))})

    (only,) = said["endpoints"]
    assert (only["proxies"], only["ejected"], only["requests"], only["errors"]) == (1, 0, 5, 0)


def test_a_policy_may_have_an_endpoint_in_several_clusters() -> None:
    """With fallbacks, as a fallback, captured: each has its own name."""
    page = clusters(host("10.0.0.1", requests=5))
    page["cluster_statuses"] += clusters(host("10.0.0.1", requests=2, failed_outlier_check=True), name="b")[
        "cluster_statuses"
    ]
    said = answer("shop/site", [ROWS[0]._replace(clusters=("shop/web:80", "b"))], {"edge-1": read(page)})

    (only,) = said["endpoints"]
    assert (only["proxies"], only["ejected"], only["requests"]) == (1, 1, 7)


_NAMED = Row("shop/db", "db.example:80", "", "", "", 1, Health.HEALTHY, "a hostname, which Envoy resolves", 0.0)


@pytest.mark.parametrize(
    ("pages", "health", "why"),
    [
        ([], "Healthy", ""),
        ([None], "Healthy", ""),
        ([{}, {"b": {"db.example:80": Seen(ejected=True)}}], "Healthy", ""),
        ([{}, {"b": {}}], "Excluded", ": no proxy has an address of it"),
        ([{"c": {"db.example:80": Seen()}}], "Excluded", ": no proxy has an address of it"),
        (
            [{"b": {"db.example:80": Seen(ejected=True, unfit=True)}}],
            "Excluded",
            ": every proxy that has addresses of it keeps them out",
        ),
    ],
)
def test_of_a_hostname_the_proxies_alone_know(pages: list[Any], health: str, why: str) -> None:
    proxies = {f"edge-{number}": page for number, page in enumerate(pages)}
    (said,) = answer("shop/site", [Placed(_NAMED, ("b",), by_dns=True)], proxies)["endpoints"]
    assert (said["health"], said["reason"]) == (health, f"a hostname, which Envoy resolves{why}")


def test_the_table_says_it_all() -> None:
    lines = table(answer("shop/site", ROWS, PROXIES)).splitlines()

    assert lines[0].split() == [
        *("BACKEND", "ADDRESS", "POD", "NODE", "ZONE", "WEIGHT"),
        *("KUBERNETES", "CHECKS", "EJECTED", "REQUESTS", "ERRORS", "WHY"),
    ]
    assert lines[1].split() == [
        *("shop/web:http", "10.0.0.1:80", "web-1", "node-1", "-", "1"),
        *("Healthy", "0/2", "1/2", "7", "1", "ready"),
    ]
    assert lines[2].endswith("Excluded    -       -        -         -       not ready since 2026-01-01T00:00:00Z")
    assert lines[3] == "2 of 3 proxies answered; not: edge-3"
    assert lines[4] == "no change of endpoints was measured in the last hour; a preStop sleep of 1 s is a good start"
    assert table(answer("shop/site", ROWS, PROXIES, slowest=0.7)).splitlines()[4] == (
        "the slowest change of the last hour took 0.7 s to reach every proxy: a preStop sleep of 2 s is enough"
    )


def test_of_nothing_there_is_a_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert table(answer("shop/site", [], {})).splitlines()[1] == "0 of 0 proxies answered"
    assert capsys.readouterr().out == ""
