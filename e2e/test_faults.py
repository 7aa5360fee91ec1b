"""What goes wrong beside the traffic: probes that fail again and again, bad policies."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.site import Site


@pytest.mark.timeout(300)
def test_a_liveness_probe_that_fails_again_and_again(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=3, liveness=objects.QUICK)
    site.policy({"web": 1}, route=objects.RETRY)
    victim = min(site.pods("web"))

    def restarted(times: int) -> bool:
        return site.restarts(victim) >= times

    running = site.load("--rate", "100")
    running.more(200)
    for number in (1, 2, 3):
        site.call(victim, "fail?what=live")
        site.cluster.wait_for(functools.partial(restarted, number), f"restart {number}", seconds=90)
        site.cluster.wait_for(lambda: site.ready(victim), f"{victim} is ready again", seconds=90)
    running.more(200)
    report = running.stop()

    assert not report.failed, report.words()
    assert victim in report.by_pod()
    proved(f"a pod restarted 3 times by its liveness probe: {report.words()}")


@pytest.mark.timeout(180)
def test_bad_policies_among_good_ones(site: Site, proved: Callable[[str], None]) -> None:
    site.app("old")
    site.app("new")
    site.policy({"old": 1})
    running = site.load("--rate", "100")
    running.more(100)
    # Of the gateway: two policies of one host are rivals there.
    missing = objects.policy(site.namespace, {"nowhere": 1}, hostname=f"missing.{site.hostname}")
    rival = objects.policy(site.namespace, {"new": 1}, hostname=site.hostname)
    for name, bad in (("missing", missing), ("rival", rival)):
        bad["metadata"]["name"] = name
        site.cluster.apply(bad)
    site.cluster.wait_for(lambda: site.cluster.condition(missing, "ResolvedRefs") == "False", "`missing` is told of")
    site.cluster.wait_for(lambda: site.cluster.condition(rival, "Accepted") == "False", "`rival` is told of")
    site.policy({"new": 1})
    changed = running.now()
    running.more(200)
    report = running.stop()

    assert not report.failed, report.words()
    assert set(report.after(changed).by_app()) == {"new"}
    proved(f"two bad policies are told of, the good one works and changes: {report.words()}")
