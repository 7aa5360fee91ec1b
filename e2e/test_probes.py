"""Readiness and liveness: two probes of one pod, and what each of them means for its requests."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest

from e2e.support import objects, timeline
from e2e.support.site import Site
from e2e.support.timeline import Timeline

HANG = "fail?what=live&hang=1"
BALANCING: dict[str, Any] = {"loadBalancer": {"type": "RoundRobin"}}


@pytest.mark.timeout(240)
def test_what_a_readiness_probe_does(site: Site, proved: Callable[[str], None]) -> None:
    """The pod is left alone and lives on; it gets its share again as soon as the probe passes."""
    site.app("web", replicas=3, liveness=objects.QUICK)
    site.policy({"web": 1}, **BALANCING)
    victim = min(site.pods("web"))
    running = site.load("--rate", "100", ways=("the gateway",))
    running.more(200)
    with Timeline(site.cluster, site.namespace, victim) as seen:
        seen.note("the readiness probe begins to fail")
        site.call(victim, "fail?what=ready")
        site.cluster.wait_for(lambda: not site.ready(victim), f"{victim} is not ready")
        running.more(400)
        seen.note("the readiness probe passes again")
        site.call(victim, "heal")
        site.cluster.wait_for(lambda: site.ready(victim), f"{victim} is ready again")
        running.more(400)
        report = running.stop()
    entries = seen.entries(report)
    out = timeline.after(entries, "EndpointSlice", "not ready")
    last = timeline.after(entries, "requests", "the last one")

    assert not report.failed, report.words()
    assert last < out + 1, timeline.table(entries)
    assert timeline.after(entries, "policy", "Excluded: not ready") > out
    # Not later than the slice: the watch that saw it may be behind the proxies.
    assert timeline.after(entries, "requests", "they come again") > timeline.after(
        entries, "application", "the readiness probe passes again"
    )
    assert site.restarts(victim) == 0
    proved(f"a readiness probe that fails, {report.words()}:\n{timeline.table(entries)}")


@pytest.mark.timeout(420)
def test_what_a_liveness_probe_does(site: Site, proved: Callable[[str], None]) -> None:
    """The kubelet starts the container again. The third time within ten minutes the pod is held back though it is ready."""
    site.app("web", replicas=3, liveness=objects.QUICK)
    site.policy({"web": 1}, route=objects.RETRY, **BALANCING)
    victim = min(site.pods("web"))

    def restarted(times: int) -> bool:
        return site.restarts(victim) >= times

    running = site.load("--rate", "100", ways=("the gateway",))
    running.more(200)
    with Timeline(site.cluster, site.namespace, victim) as seen:
        for number in (1, 2, 3):
            seen.note("the liveness probe begins to fail")
            site.call(victim, "fail?what=live")
            site.cluster.wait_for(functools.partial(restarted, number), f"restart {number}", seconds=120)
            site.cluster.wait_for(lambda: site.ready(victim), f"{victim} is ready again", seconds=120)
            running.more(200)
        healthy = functools.partial(_healthy, site)
        site.cluster.wait_for(healthy, "the hold is over", seconds=90)
        running.more(400)
        report = running.stop()
    entries = seen.entries(report)
    held = timeline.after(entries, "policy", "Degraded: restarted 3 times within 10m")
    over = timeline.after(entries, "policy", "Healthy", since=held)
    during = [one for one in report.requests if one.pod == victim and held + 1 < one.began < over - 1]

    assert not report.failed, report.words()
    assert over - held > 15, timeline.table(entries)
    assert not during, f"{len(during)} requests while it was held back"
    assert report.after(over).by_pod()[victim] > 0
    proved(f"a liveness probe that fails three times, {report.words()}:\n{timeline.table(entries)}")


@pytest.mark.timeout(300)
def test_a_dead_pod_is_out_before_its_kubelet_ends_it(site: Site, proved: Callable[[str], None]) -> None:
    """``LivenessProbe``: proxies ask sooner than the kubelet's threshold, of a pod that answers wrongly and of one that hangs.

    Requests are answered all the time, so the last one at the pod tells when the last proxy had it out.
    """
    site.app("web", replicas=3, liveness=objects.QUICK)
    site.policy({"web": 1}, route=objects.RETRY, healthCheck={"active": {"type": "LivenessProbe"}}, **BALANCING)
    running = site.load("--rate", "100")
    running.more(400)
    sooner: list[str] = []
    for number, (pod, how) in enumerate(itertools.product(sorted(site.pods("web")), ("fail?what=live", HANG)), start=1):
        began, before = running.now(), site.restarts(pod)
        site.call(pod, how)
        restarted = functools.partial(lambda pod, times: site.restarts(pod) > times, pod, before)
        site.cluster.wait_for(restarted, f"{pod} has restarted", seconds=120)
        killed = site.told_to_end(pod)
        last = max(one.began for one in running.seen().requests if one.pod == pod and began <= one.began < killed + 4)
        assert last < killed, f"{number}: {how}: the last request {last - killed:.2f} s after the kubelet ended it"
        sooner.append(f"{killed - last:.1f}")
        site.cluster.wait_for(functools.partial(site.ready, pod), f"{pod} is ready again", seconds=120)
        running.more(400)
    report = running.stop()

    assert not report.failed, report.words()
    proved(f"dead pods were out {', '.join(sooner)} s before their kubelet ended them, {report.words()}")


def _healthy(site: Site) -> bool:
    found = site.cluster.get(site.policies({})[0]).get("status", {})
    return bool(found.get("unhealthyEndpoints") == [])
