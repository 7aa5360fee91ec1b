"""Pods come and go under load: a rollout, a kill, a readiness probe that fails."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.site import Site


@pytest.mark.telling
@pytest.mark.timeout(300)
def test_a_rolling_update_of_six_replicas_costs_no_request(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=6)
    site.policy({"web": 1})
    before = set(site.pods("web"))
    running = site.load("--rate", "100", "--clients", "16")
    running.more(200)
    changed = objects.deployment(site.namespace, "web", replicas=6, environment={"VERSION": "second"})
    site.cluster.apply(changed)
    site.cluster.rolled_out(site.namespace, "web")
    running.more(200)
    report = running.stop()
    served = set(report.by_pod())

    assert not report.failed, report.words()
    assert before < served
    assert len(served - before) == 6
    proved(f"rolling update of 6 replicas: all 6 pods replaced, {report.words()}")


@pytest.mark.timeout(240)
def test_a_pod_killed_without_notice_is_left_alone_at_once(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1}, route=objects.RETRY)
    running = site.load("--rate", "100")
    running.more(200)
    victim = min(site.pods("web"))
    site.cluster.kill(site.namespace, [victim])
    site.cluster.wait_for(functools.partial(site.cluster.gone, site.namespace, victim), f"{victim} is gone", seconds=60)
    site.cluster.rolled_out(site.namespace, "web")
    killed = running.now()
    running.more(300)
    report = running.stop()

    assert victim in report.by_pod()
    assert victim not in report.after(killed).by_pod()
    assert not report.failed, report.words()
    proved(f"a pod killed without notice, connect failures retried: {report.words()}")


@pytest.mark.timeout(240)
def test_a_pod_that_is_not_ready_gets_nothing_and_comes_back(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1})
    running = site.load("--rate", "100")
    running.more(200)
    victim = min(site.pods("web"))
    site.call(victim, "fail?what=ready")
    site.cluster.wait_for(lambda: not site.ready(victim), f"{victim} is not ready", seconds=30)
    running.more(100)
    out = running.now()
    running.more(300)
    quiet = running.seen().after(out)
    site.call(victim, "heal")
    site.cluster.wait_for(lambda: site.ready(victim), f"{victim} is ready again", seconds=30)
    healed = running.now()
    running.more(400)
    report = running.stop()

    assert victim not in quiet.by_pod(), quiet.by_pod()
    assert report.after(healed).by_pod()[victim] > 0
    assert not report.failed, report.words()
    proved(f"a pod not ready got 0 of {len(quiet)} requests, and its share again when it was; {report.words()}")
