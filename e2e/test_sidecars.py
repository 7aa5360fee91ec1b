"""What is special about sidecars that the webhook injects: Jobs that end, pods that are older than their policy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.site import CALLER, Site


def _injected(site: Site, name: str) -> bool:
    found = site.cluster.request("GET", f"/api/v1/namespaces/{site.namespace}/pods/{name}")
    return any(one["name"] == "fairlead-proxy" for one in found["spec"].get("initContainers", []))


@pytest.mark.timeout(240)
def test_a_job_with_a_sidecar_ends_and_an_older_pod_is_named(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web")
    older = objects.load(site.namespace, "older", ["--url", "http://127.0.0.1/", "--rate", "1"], labels=CALLER)
    site.cluster.apply(older)
    policy = objects.for_sidecars(objects.policy(site.namespace, {"web": 1}), CALLER)
    site.cluster.apply(policy)
    site.injected()

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
