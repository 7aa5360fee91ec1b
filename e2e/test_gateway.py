"""Traffic flows through a gateway and through sidecars, and weights move under load without a failed request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support.site import Site


@pytest.mark.timeout(180)
def test_traffic_flows(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1})
    running = site.load("--rate", "100")
    running.more(400)
    report = running.stop()
    pods = site.pods("web")

    assert not report.failed, report.words()
    for part in report.ways().values():
        assert set(part.by_pod()) == set(pods)
    assert len(set(pods.values())) > 1
    proved(f"all {len(pods)} pods on {len(set(pods.values()))} nodes are served: {report.words()}")


@pytest.mark.telling
@pytest.mark.timeout(240)
def test_a_canary_moves_from_90_10_to_0_100(site: Site, proved: Callable[[str], None]) -> None:
    for name in ("old", "new"):
        site.app(name)
    site.policy({"old": 90, "new": 10})
    running = site.load("--rate", "100")
    running.more(600)
    before = running.seen()
    for old in (50, 0):
        site.policy({"old": old, "new": 100 - old})
        running.more(200)
    moved = running.now()
    running.more(300)
    report = running.stop()
    shares = {way: part.by_app()["new"] / len(part) for way, part in before.ways().items()}

    assert not report.failed, report.words()
    assert all(0.05 < share < 0.16 for share in shares.values()), shares
    assert set(report.after(moved).by_app()) == {"new"}, report.after(moved).by_app()
    proved(
        f"canary 90/10 ({', '.join(f'{share:.0%}' for share in shares.values())} at the new version) -> 0/100: "
        f"nothing at the old one afterwards; {report.words()}"
    )
