"""Traffic through sidecars that the webhook injected, with real kubelets: it flows, and changes cost no request."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.site import CALLER, Site


def _injected(site: Site, name: str) -> bool:
    found = site.cluster.request("GET", f"/api/v1/namespaces/{site.namespace}/pods/{name}")
    return any(one["name"] == "fairlead-proxy" for one in found["spec"].get("initContainers", []))


def _asked(site: Site) -> None:
    """Wait until the API server asks about pods of the namespace: the leader has written it into the webhook."""
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/fairlead-injector"

    def asked() -> bool:
        hooks = site.cluster.request("GET", path)["webhooks"]
        return any(site.namespace in str(hook["namespaceSelector"]) for hook in hooks)

    site.cluster.wait_for(asked, "the webhook is for this namespace", seconds=30)


@pytest.mark.timeout(300)
def test_a_canary_and_a_rollout_under_load_through_a_sidecar(site: Site, proved: Callable[[str], None]) -> None:
    site.app("old", replicas=3)
    site.app("new", replicas=3)
    site.sidecar_policy({"old": 90, "new": 10})
    _asked(site)
    running = site.sidecar_load("--rate", "100")
    site.sidecars_programmed(1)
    running.more(300)
    for old in (50, 0):
        site.sidecar_policy({"old": old, "new": 100 - old})
        site.sidecars_programmed(1)
        running.more(200)
    moved = running.now()
    site.restart("new")
    running.more(300)
    report = running.stop()

    assert not report.failed, report.words()
    assert set(report.after(moved).by_app()) == {"new"}
    assert len(report.after(moved).by_pod()) >= 4, "pods of before and after the rollout"
    proved(f"through a sidecar: canary 90/10 -> 0/100 and a rollout of 3 replicas: {report.words()}")


@pytest.mark.timeout(240)
def test_a_job_with_a_sidecar_ends_and_an_older_pod_is_named(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web")
    older = objects.load(site.namespace, "older", ["--url", "http://127.0.0.1/", "--rate", "1"], labels=CALLER)
    site.cluster.apply(older)
    site.sidecar_policy({"web": 1})
    _asked(site)
    policy = objects.sidecar_policy(site.namespace, {}, labels=CALLER)

    def named() -> bool:
        conditions = site.cluster.get(policy).get("status", {}).get("conditions", [])
        return any(one["reason"] == "PodsNotInjected" and "older" in one["message"] for one in conditions)

    site.cluster.wait_for(named, "the pod that is older than the policy is named", seconds=30)
    assert not _injected(site, "older")

    code = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1/', timeout=5).status)"
    template = objects.load(site.namespace, "job", [], labels=CALLER)["spec"]
    template["containers"][0] |= {"args": ["-c", code], "readinessProbe": None}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": site.namespace},
        "spec": {
            "backoffLimit": 0,
            "template": {"metadata": {"labels": CALLER}, "spec": {**template, "restartPolicy": "Never"}},
        },
    }
    site.cluster.apply(job)

    def ended() -> bool:
        return bool(site.cluster.get(job).get("status", {}).get("succeeded"))

    site.cluster.wait_for(ended, "the Job has succeeded, sidecar and all", seconds=90)
    proved("a Job called its sidecar at once and ended with it; the pod without a sidecar is named in the status")
