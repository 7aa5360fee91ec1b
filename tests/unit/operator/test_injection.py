"""What is added to a pod, who gets it, and what is said of a pod that cannot have it."""

from __future__ import annotations

import base64
import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead_operator.api.pods import INJECT, read_pod
from fairlead_operator.cli.main import main
from fairlead_operator.injection import pod as pods
from fairlead_operator.injection.manifests import inject_all, selection
from fairlead_operator.injection.review import ReviewError, answer, question
from fairlead_operator.injection.settings import LIMITS, REQUESTS, InjectionError, Settings

Json = dict[str, Any]
SETTINGS = Settings(
    image="fairlead-proxy:test",
    xds_host="fairlead-xds.system.svc",
    requests={"cpu": "50m", "memory": "40Mi"},
    limits={"memory": "128Mi"},
)


def _pod(labels: Json | None = None, annotations: Json | None = None, **spec: Any) -> Json:
    metadata: Json = {"name": "web", "namespace": "shop", "labels": labels or {}}
    if annotations:
        metadata["annotations"] = annotations
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [{"name": "web", "image": "web"}], **spec},
    }


def _sidecar(pod: Json) -> Json:
    return next(one for one in pod["spec"]["initContainers"] if one["name"] == pods.PROXY)


# --- the pod


def test_a_native_sidecar_comes_before_the_applications_init_containers() -> None:
    before = _pod(initContainers=[{"name": "migrate", "image": "web"}])
    untouched = copy.deepcopy(before)

    after = pods.inject(before, SETTINGS)

    assert before == untouched
    assert [one["name"] for one in after["spec"]["initContainers"]] == [pods.PROXY, "migrate"]
    assert _sidecar(after)["restartPolicy"] == "Always"
    assert read_pod(after).injected


def test_it_is_added_once() -> None:
    once = pods.inject(_pod(), SETTINGS)

    assert pods.inject(once, SETTINGS) is once
    assert not pods.wanted(once, selected=True)


def test_it_meets_pod_security_restricted() -> None:
    security = _sidecar(pods.inject(_pod(), SETTINGS))["securityContext"]

    assert security["runAsNonRoot"]
    assert security["runAsUser"] > 0
    assert not security["allowPrivilegeEscalation"]
    assert security["readOnlyRootFilesystem"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_its_listeners_may_have_ports_below_1024_unless_the_pod_says_otherwise() -> None:
    name = "net.ipv4.ip_unprivileged_port_start"
    own = {"fsGroup": 7, "sysctls": [{"name": name, "value": "1000"}]}

    assert pods.inject(_pod(), SETTINGS)["spec"]["securityContext"]["sysctls"] == [{"name": name, "value": "0"}]
    assert pods.inject(_pod(securityContext={"fsGroup": 7}), SETTINGS)["spec"]["securityContext"]["fsGroup"] == 7
    assert pods.inject(_pod(securityContext=own), SETTINGS)["spec"]["securityContext"] == own


def test_annotations_change_it() -> None:
    annotations = {
        "fairlead.dev/proxy-cpu-request": "100m",
        "fairlead.dev/proxy-memory-limit": "256Mi",
        "fairlead.dev/proxy-start-limit": "5s",
    }

    container = _sidecar(pods.inject(_pod(annotations=annotations), SETTINGS))

    assert container["resources"] == {
        "requests": {"cpu": "100m", "memory": "40Mi"},
        "limits": {"memory": "256Mi"},
    }
    assert container["lifecycle"]["postStart"]["exec"]["command"][-1] == "5s"


@pytest.mark.parametrize(
    ("annotations", "spec", "said"),
    [
        ({"fairlead.dev/proxy-cpu-limit": "much"}, {}, "fairlead.dev/proxy-cpu-limit: 'much' is not a quantity"),
        ({"fairlead.dev/proxy-start-limit": "0s"}, {}, "fairlead.dev/proxy-start-limit: '0s' is not a duration"),
        ({"fairlead.dev/mode": "Magic"}, {}, "fairlead.dev/mode: must be Explicit or Capture"),
        ({}, {"hostNetwork": True}, "spec.hostNetwork"),
        ({}, {"os": {"name": "windows"}}, "spec.os.name"),
        ({}, {"volumes": [{"name": "fairlead-run", "emptyDir": {}}]}, "spec.volumes: fairlead-run"),
        (
            {},
            {"containers": [{"name": "fairlead-proxy"}]},
            "spec.containers: fairlead-proxy is a name of the sidecar's",
        ),
        ({"fairlead.dev/proxy-memory-request": "256Mi"}, {}, "memory-request: 256Mi is above the limit of 128Mi"),
    ],
)
def test_what_cannot_be_is_said(annotations: Json, spec: Json, said: str) -> None:
    with pytest.raises(InjectionError, match=said):
        pods.inject(_pod(annotations=annotations, **spec), SETTINGS)


@pytest.mark.parametrize(
    ("label", "selected", "wanted"),
    [("true", False, True), ("true", True, True), ("false", True, False), (None, True, True), (None, False, False)],
)
def test_the_label_decides_else_the_policy(label: str | None, *, selected: bool, wanted: bool) -> None:
    pod = _pod({INJECT: label} if label else {})

    assert pods.wanted(pod, selected=selected) is wanted


# --- the review


def _review(pod: Json, *, selected: bool = True) -> Json:
    request = question({"request": {"uid": "1", "namespace": "shop", "object": pod}})
    found: Json = answer(request, SETTINGS, lambda _namespace, _labels: selected, lambda _namespace: ())["response"]
    return found


def test_the_patch_makes_the_pod() -> None:
    pod = _pod(volumes=[{"name": "data", "emptyDir": {}}])

    response = _review(pod)

    patched = copy.deepcopy(pod)
    for operation in json.loads(base64.b64decode(response["patch"])):
        _, part, name = operation["path"].split("/")
        patched[part][name] = operation["value"]
    assert patched == pods.inject(pod, SETTINGS)


def test_a_pod_that_nobody_wants_to_have_one_passes() -> None:
    assert _review(_pod(), selected=False) == {"uid": "1", "allowed": True}


def test_a_pod_that_asks_and_cannot_is_refused_one_that_was_selected_passes_with_a_warning() -> None:
    asks = _review(_pod({INJECT: "true"}, hostNetwork=True))
    chosen = _review(_pod(hostNetwork=True))

    assert not asks["allowed"]
    assert "spec.hostNetwork" in asks["status"]["message"]
    assert chosen["allowed"]
    assert "spec.hostNetwork" in chosen["warnings"][0]


ODD: list[tuple[Json, str]] = [
    ({"spec": "x"}, "spec: must be an object"),
    ({"metadata": {"labels": {"a": True}}}, 'metadata.labels[a]: must be text: write it in quotes, as "true"'),
    ({"metadata": {"annotations": ["x"]}}, "metadata.annotations: must be an object"),
    ({"spec": {"securityContext": "x"}}, "spec.securityContext: must be an object"),
    ({"spec": {"volumes": ["x"]}}, "spec.volumes: must be a list of objects"),
]


@pytest.mark.parametrize(("pod", "said"), ODD)
def test_what_is_no_pod_is_refused(pod: Json, said: str) -> None:
    with pytest.raises(ReviewError, match=re.escape(f"request.object.{said}")):
        question({"request": {"uid": "1", "namespace": "shop", "object": pod}})


def test_a_namespace_is_no_path() -> None:
    with pytest.raises(ReviewError, match=r"request\.namespace"):
        question({"request": {"uid": "1", "namespace": "a/../kube-system", "object": {}}})


@pytest.mark.parametrize("body", [None, [], {}, {"request": {}}, {"request": {"uid": "1"}}, {"request": {"uid": 1}}])
def test_what_is_no_review_is_refused(body: Any) -> None:
    with pytest.raises(ReviewError):
        question(body)


# --- manifests

POLICY = {
    "apiVersion": "fairlead.dev/v1alpha1",
    "kind": "LoadBalancerPolicy",
    "metadata": {"name": "web", "namespace": "shop"},
    "spec": {
        "proxies": {"sidecars": {"matchLabels": {"app": "web"}}},
        "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
        "routes": [{"name": "all", "backendRefs": [{"name": "api", "port": 80}]}],
    },
}


def _workload(kind: str, labels: Json, namespace: str = "shop", **spec: Any) -> Json:
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "b"}], **spec}}
    inner: Json = {"template": template}
    if kind == "CronJob":
        inner = {"jobTemplate": {"spec": inner}}
    version = "batch/v1" if kind.endswith("Job") else "apps/v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "w", "namespace": namespace}, "spec": inner}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"])
def test_workloads_that_a_policy_selects(kind: str) -> None:
    (done,) = inject_all([_workload(kind, {"app": "web"})], SETTINGS, selection([POLICY])).documents

    assert pods.PROXY in json.dumps(done)


def test_everything_else_passes_as_it_is() -> None:
    others: list[Any] = [
        POLICY,
        {"kind": "Service"},
        {"kind": ["Pod"], "metadata": 7},
        "text",
        7,
        _workload("Deployment", {"app": "other"}),
    ]
    others.append(_workload("Deployment", {"app": "web"}, namespace="elsewhere"))

    assert inject_all(others, SETTINGS, selection([POLICY])).documents == others


def test_lists_are_looked_into_and_obstacles_told() -> None:
    items = [_workload("Deployment", {"app": "web"}), _workload("Job", {"app": "web"}, hostNetwork=True)]

    done = inject_all([{"kind": "List", "items": items}], SETTINGS, selection([POLICY]))

    assert pods.has_sidecar(done.documents[0]["items"][0]["spec"]["template"])
    assert done.documents[0]["items"][1] == items[1]
    assert done.warnings == [
        "Job w: no sidecar, although a policy selects it: spec.hostNetwork: a sidecar would open its ports on the node:"
        " call a gateway instead"
    ]


def test_a_kind_that_is_not_known_is_told() -> None:
    rollout = {**_workload("Rollout", {"app": "web"}), "apiVersion": "argoproj.io/v1alpha1"}
    job = {**_workload("Job", {"app": "other"}), "apiVersion": "batch.volcano.sh/v1alpha1", "spec": "odd"}

    done = inject_all([rollout, job], SETTINGS, selection([POLICY]))

    assert done.documents == [rollout, job]
    assert done.warnings == [
        "Rollout w: its pods want a sidecar, but Rollout of argoproj.io/v1alpha1 is not known here: leave them to the"
        " webhook"
    ]


def test_a_list_of_one_kind_is_a_list() -> None:
    items = {"kind": "DeploymentList", "apiVersion": "apps/v1", "items": [_workload("Deployment", {"app": "web"})]}

    (done,) = inject_all([items], SETTINGS, selection([POLICY])).documents

    assert pods.has_sidecar(done["items"][0]["spec"]["template"])


def test_a_policy_with_an_error_is_no_policy_that_selects_nothing() -> None:
    policy: Json = copy.deepcopy(POLICY)
    policy["spec"]["proxies"] = {"sidecar": {"matchLabels": {"app": "web"}}}

    with pytest.raises(InjectionError, match=r"LoadBalancerPolicy web: spec\.proxies"):
        selection([policy])


def test_what_names_no_namespace_is_of_the_one_that_is_given() -> None:
    workload = _workload("Deployment", {"app": "web"})
    del workload["metadata"]["namespace"]

    (left,) = inject_all([workload], SETTINGS, selection([POLICY])).documents
    (done,) = inject_all([workload], SETTINGS, selection([POLICY]), namespace="shop").documents

    assert left == workload
    assert pods.has_sidecar(done["spec"]["template"])


def test_the_defaults_are_those_of_the_chart() -> None:
    values = yaml.safe_load((Path(__file__).parents[3] / "helm/fairlead/values.yaml").read_text())

    assert values["sidecar"]["resources"] == {"requests": REQUESTS, "limits": LIMITS}


def test_capture_needs_the_cluster() -> None:
    workload = _workload("Deployment", {"app": "web"})
    workload["spec"]["template"]["metadata"]["annotations"] = {"fairlead.dev/mode": "Capture"}

    with pytest.raises(InjectionError, match=r"Deployment w: annotation .*Capture cannot be injected offline"):
        inject_all([workload], SETTINGS, selection([POLICY]))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(yaml.safe_dump(POLICY))
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(_workload("Deployment", {"app": "web"}))))

    assert main(["inject", "-f", "-", "--policy", str(path)]) == 0

    done = yaml.safe_load(capsys.readouterr().out)
    assert pods.has_sidecar(done["spec"]["template"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}",
            "Deployment w: spec.template: must be the template of a pod",
        ),
        ("a: [", "is not YAML"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: w, labels: {fairlead.dev/inject: true}}",
            'Pod w: metadata.labels[fairlead.dev/inject]: must be text: write it in quotes, as "true"',
        ),
    ],
)
def test_the_command_says_what_is_wrong(
    text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "app.yaml"
    path.write_text(text)

    assert main(["inject", "-f", str(path)]) == 1

    assert said in capsys.readouterr().err
