"""What is special about sidecars that the webhook injects: Jobs that end, older pods, connections that are captured."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.load import Load, Loads
from e2e.support.report import Report
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


@pytest.mark.timeout(300)
def test_captured_connections_follow_the_policy_of_their_service(site: Site, proved: Callable[[str], None]) -> None:
    """Clients call the Service by its name, as they always have; each request is a connection of its own.

    kube-proxy would take any pod for each; the policy keeps a client by its cookie.
    """
    site.app("web", replicas=4)
    policy = objects.attached(site.namespace, "web", sessionPersistence={"type": "Cookie", "name": "SERVERID"})
    site.cluster.apply(policy)
    words = ["--url", "http://web/", "--rate", "40", "--clients", "20", "--cookies", "--new-connections"]
    plain = Load(site.cluster, site.namespace, "plain", words, way="kube-proxy")
    labels, annotations = {"fairlead.dev/inject": "true"}, {"fairlead.dev/mode": "Capture"}
    _capturing(site, labels, annotations)
    captured = Load(
        site.cluster, site.namespace, "captured", words, way="Capture", labels=labels, annotations=annotations
    )
    both = Loads([plain, captured])
    both.more(400)
    stayed = captured.seen()
    site.cluster.programmed(objects.attached(site.namespace, "web", loadBalancer={"type": "RoundRobin"}))
    both.more(100)
    # Sessions would follow a pod to its very end, and what it resets then cannot be asked twice of everyone.
    site.restart("web")
    both.more(200)
    without, through = plain.stop(), captured.stop()

    assert _injected(site, "captured")
    assert not through.failed, through.words()
    assert max(_pods_each(without).values()) >= 3, "kube-proxy keeps clients too: the scenario shows nothing"
    assert set(_pods_each(stayed).values()) == {1}
    assert len(stayed.by_pod()) == 4
    assert max(_pods_each(through).values()) > 1, "the change of the policy has not arrived"
    proved(
        f"{through.words()}: every one of 20 clients stayed on its pod for {len(stayed)} requests, "
        f"and after a change of the policy a rollout cost none; "
        f"the same by {without.words()}, up to {max(_pods_each(without).values())} pods a client"
    )


def _pods_each(report: Report) -> dict[str, int]:
    """Client -> how many pods have answered it."""
    found: dict[str, set[str]] = {}
    for request in report.requests:
        if request.good:
            found.setdefault(request.client, set()).add(request.pod)
    return {client: len(pods) for client, pods in found.items()}


def _capturing(site: Site, labels: dict[str, str], annotations: dict[str, str]) -> None:
    """Wait until a new pod would be told to redirect the Service: all operators know of the policy."""
    probe = objects.load(site.namespace, "probe", ["--url", "http://web/"], labels=labels, annotations=annotations)

    def told() -> bool:
        path = f"/api/v1/namespaces/{site.namespace}/pods?dryRun=All"
        made = site.cluster.request("POST", path, probe)
        return bool(made["metadata"]["annotations"].get("fairlead.dev/captured"))

    site.cluster.wait_for(told, "pods are told to redirect the Service", seconds=30)
