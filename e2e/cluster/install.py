"""Fairlead in the cluster: the chart, the sample application, one policy; and what to try."""

from __future__ import annotations

import copy
import json
import os
import pathlib
import time
import urllib.request

import yaml

from e2e.cluster import kind, places
from e2e.cluster.shell import ClusterError, run, say, step
from tools import build

HERE = pathlib.Path(__file__).parent
NAMESPACE, RELEASE = "fairlead-system", "fairlead"


def helm(*words: str | pathlib.Path, kubeconfig: pathlib.Path) -> str:
    return run(build.folder_of("helm") / "helm", "--kubeconfig", kubeconfig, *words)


def install(kubeconfig: pathlib.Path, *more: str | pathlib.Path) -> None:
    """``helm upgrade --install`` with *more* flags, and wait until operator and gateway are ready."""
    with step("helm install fairlead helm/fairlead"):
        helm(
            *("upgrade", "--install", RELEASE, places.ROOT / "helm/fairlead", "--namespace", NAMESPACE),
            *("--create-namespace", "--values", HERE / "values.yaml", *more),
            kubeconfig=kubeconfig,
        )
        for workload in ("deployment/fairlead-operator", "deployment/fairlead-gateway-edge"):
            _rollout(workload, NAMESPACE, kubeconfig)


def sample(kubeconfig: pathlib.Path) -> None:
    """The sample application in two versions, and a policy that splits between them."""
    with step("sample application and policy"):
        text = yaml.safe_dump_all(manifests())
        (places.STATE / "sample.yaml").write_text(text)
        kind.kubectl("apply", "--server-side", "-f", places.STATE / "sample.yaml", kubeconfig=kubeconfig)
        for name in ("hello-v1", "hello-v2"):
            _rollout(f"deployment/{name}", "sample", kubeconfig)


def manifests() -> list[dict[str, object]]:
    """``sample.yaml`` with the second version added: the same Deployment, but for the version and one replica."""
    found = list(yaml.safe_load_all((HERE / "sample.yaml").read_text()))
    second = copy.deepcopy(next(one for one in found if one["kind"] == "Deployment"))
    second["metadata"]["name"] = "hello-v2"
    second["spec"]["replicas"] = 1
    second["spec"]["selector"]["matchLabels"]["version"] = "v2"
    second["spec"]["template"]["metadata"]["labels"]["version"] = "v2"
    return [*found, second]


def _rollout(workload: str, namespace: str, kubeconfig: pathlib.Path) -> None:
    """Wait until *workload* is ready. What is known about why it is not is in the error."""

    def kubectl(*words: str, check: bool = False) -> str:
        return kind.kubectl("-n", namespace, *words, kubeconfig=kubeconfig, check=check)

    try:
        kubectl("rollout", "status", workload, "--timeout=180s", check=True)
    except ClusterError as error:
        pods = kubectl("get", "pods", "-o", "wide")
        events = kubectl("get", "events", "--sort-by=.lastTimestamp", "--field-selector=type=Warning").splitlines()
        logs = kubectl("logs", workload, "--all-containers", "--tail=10")
        parts = (f"{workload} does not become ready: {error}", pods, "\n".join(events[-8:]), logs)
        raise ClusterError("\n\n".join(parts)) from None


def first_answer(seconds: float = 30) -> str:
    """What the gateway's port on this machine answers; proves the whole way. Raises ClusterError."""
    url = f"http://127.0.0.1:{host_port()}/"
    deadline, problem = time.monotonic() + seconds, ""
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return str(json.loads(response.read())["pod"])
        except OSError as error:
            problem = str(error)
            time.sleep(0.2)
    raise ClusterError(f"no answer from {url} within {seconds:.0f} s: {problem}")


def host_port() -> str:
    return os.environ.get("HOST_PORT", kind.HOST_PORT)


def what_to_try() -> None:
    say(f"""ready. Try:

  export KUBECONFIG=$PWD/.cluster/kubeconfig
  curl http://127.0.0.1:{host_port()}/                      # the gateway `edge`: a pod of hello-v1 or, one in ten, of hello-v2
  kubectl get lbp -A                               # the policy and its status
  kubectl -n sample edit lbp hello                 # move the weights, then curl again
  kubectl -n sample scale deployment hello-v1 --replicas=4
  kubectl -n sample get pods -o wide
  image of the sample application: {_sample_image()} (in both workers)

`make cluster-down` ends it.""")


def _sample_image() -> str:
    return "fairlead-sample:0.1.0"
