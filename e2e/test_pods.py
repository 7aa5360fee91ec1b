"""Pods come and go under load: a rollout, a kill, a readiness probe that fails."""

from __future__ import annotations

import functools
from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.gates import GATE, Gatekeeper
from e2e.support.site import Site

#: Longer than all need to hear that a pod ends, on a machine that has no time.
DRAIN = 25


@pytest.mark.telling
@pytest.mark.timeout(300)
def test_a_rolling_update_of_six_replicas_with_readiness_gates_costs_no_request(
    site: Site, proved: Callable[[str], None]
) -> None:
    with Gatekeeper(site.cluster, site.namespace, "web", seconds=1) as gatekeeper:
        site.app("web", replicas=6, drain=DRAIN, gates=[GATE])
        site.policy({"web": 1})
        before = site.living("web")
        running = site.load("--rate", "100", "--clients", "16")
        running.answered_by(before)
        running.more(200)
        second = {"VERSION": "second"}
        changed = objects.deployment(site.namespace, "web", replicas=6, drain=DRAIN, environment=second, gates=[GATE])
        site.cluster.apply(changed)
        site.cluster.rolled_out(site.namespace, "web")
        after = site.living("web")
        running.answered_by(after)
        running.more(200)
        report = running.stop()
    served = set(report.by_pod())
    early = [request for request in report.requests if request.began < gatekeeper.opened.get(request.pod, 0.0)]

    assert not report.failed, report.words()
    assert len(after - before) == 6
    assert before | after <= served <= gatekeeper.opened.keys()
    assert not early, f"{len(early)} requests went to pods whose gate was closed"
    proved(
        f"rolling update of 6 replicas with readiness gates: all 6 pods replaced, "
        f"none of the 12 got a request before its gate was open, {report.words()}"
    )


@pytest.mark.timeout(240)
def test_a_pod_killed_without_notice_is_left_alone_at_once(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=4)
    site.policy({"web": 1}, route=objects.RETRY)
    running = site.load("--rate", "100")
    running.more(200)
    victim = min(site.pods("web"))
    site.cluster.kill(site.namespace, [victim])
    site.cluster.wait_for(functools.partial(site.cluster.gone, site.namespace, victim), f"{victim} is gone", seconds=60)
    # The object is gone before its slice says so, and before the kubelet has ended it.
    site.cluster.wait_for(lambda: victim not in site.endpoints("web"), f"{victim} is in no slice")
    site.cluster.rolled_out(site.namespace, "web")
    running.more(50)
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
