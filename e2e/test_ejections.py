"""Passive checks: a pod that Kubernetes calls ready and that fails requests is left alone, and said to be."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from e2e.support.installation import NAMESPACE, OPERATOR, SELECTORS
from e2e.support.site import Site


@pytest.mark.timeout(240)
def test_a_pod_that_fails_requests_is_ejected_and_named(site: Site, proved: Callable[[str], None]) -> None:
    """In the status, as an event, and by what ``fairlead endpoints`` asks."""
    site.app("web", replicas=3)
    passive = {"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "20s"}
    site.policy({"web": 1}, healthCheck={"passive": passive})
    victim = min(site.pods("web"))
    running = site.load("--rate", "100")
    running.more(200)
    began = running.now()
    site.call(victim, "fail?what=requests")
    ejected: list[dict[str, Any]] = site.cluster.wait_for(functools.partial(_ejected, site), f"{victim} is ejected")
    page = _endpoints(site)
    site.call(victim, "heal")
    site.cluster.wait_for(lambda: not _ejected(site), f"{victim} is back", seconds=90)
    healed = running.now()
    running.more(400)
    report = running.stop()
    (row,) = [one for one in page["endpoints"] if one["pod"] == victim]
    events = site.cluster.wait_for(functools.partial(_events, site, victim), "both events are there")

    assert [one["pod"] for one in ejected] == [victim]
    assert ejected[0]["proxies"] == 2, "both gateways are asked, whichever replica serves them"
    assert "passive checks" in ejected[0]["reason"]
    assert (row["health"], row["proxies"]) == ("Healthy", 2)
    assert row["ejected"] > 0
    assert row["errors"] >= 3
    assert report.after(healed).by_pod()[victim] > 0
    assert {one.status for one in report.failed} == {503}
    proved(
        f"a pod that answers 503: {len(report.after(began).failed)} requests of {len(report.after(began))} failed before "
        f"and while it was tried again; {ejected[0]['reason']}; events {', '.join(events)}"
    )


def _ejected(site: Site) -> list[dict[str, Any]]:
    return list(site.cluster.get(site.policies({})[0]).get("status", {}).get("ejectedEndpoints", []))


def _endpoints(site: Site) -> Any:
    """What ``fairlead endpoints`` asks an operator, its port reached through the API server."""
    operator = min(site.cluster.names(NAMESPACE, SELECTORS[OPERATOR]))
    path = site.cluster.proxied(NAMESPACE, operator, 18001, f"endpoints/{site.namespace}/site")
    return site.cluster.request("GET", path)


def _events(site: Site, pod: str) -> list[str] | None:
    """Reasons, once the pod has left and come back."""
    found = site.cluster.request("GET", f"/api/v1/namespaces/{site.namespace}/events")["items"]
    mine = [one["reason"] for one in found if one["involvedObject"]["name"] == "site" and pod in one["message"]]
    return sorted(mine) if {"EndpointEjected", "EndpointReturned"} <= set(mine) else None
