"""``values.schema.json``: what it refuses, and that it and ``values.yaml`` tell of the same values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio.leaderelection.electionconfig import Config

from fairlead_operator.api.config import Lease, read_config
from fairlead_operator.leader import times
from tests.support import helm

Json = dict[str, Any]

SCHEMA: Json = json.loads((helm.CHART / "values.schema.json").read_text("utf-8"))
VALUES: Json = yaml.safe_load((helm.CHART / "values.yaml").read_text("utf-8"))


def _at(path: str, value: Any) -> Json:
    """``a.b`` -> ``{"a": {"b": value}}``; ``gateways.x`` is ``x`` of a gateway."""
    first, _, rest = path.partition(".")
    if first == "gateways" and rest:
        return {"gateways": [{"name": "edge", **_at(rest, value)}]}
    return {first: _at(rest, value) if rest else value}


REFUSED = [
    # A typo at every level.
    ("operatr", {}, "operatr"),
    ("image.repo", "x", "repo"),
    ("operator.replica", 3, "replica"),
    ("operator.resources.request", {}, "request"),
    ("operator.resources.limits.memori", "1Gi", "memori"),
    ("operator.lease.ttl", "15s", "ttl"),
    ("operator.topologySpread.zone", "Off", "zone"),
    ("operator.affinity.podsAffinity", {}, "podsAffinity"),
    ("operator.shutdown.delay", 5, "delay"),
    ("operator.tolerations", [{"key": "a", "effects": "NoSchedule"}], "effects"),
    ("certificates.certmanager", {}, "certmanager"),
    ("certificates.certManager.issuerRef.nmae", "x", "nmae"),
    ("webhook.failurePolicy", "Ignore", "failurePolicy"),
    ("sidecar.resources.requests.gpu", 1, "gpu"),
    ("crds.enable", True, "enable"),
    ("networkPolicy.egress.apiserver", [], "apiserver"),
    ("networkPolicy.metricsFrom", [{"namespaceSelectors": {}}], "namespaceSelectors"),
    ("monitoring.serviceMonitors", {}, "serviceMonitors"),
    ("monitoring.podMonitor.label", {}, "label"),
    ("gatewayDefaults.name", "edge", "name"),
    ("gateways.replica", 2, "replica"),
    ("gateways.service.kind", "NodePort", "kind"),
    ("gateways.service.ports", [{"name": "http", "port": 80, "nodeport": 30080}], "nodeport"),
    ("gateways.autoscaling.max", 3, "max"),
    ("gateways.autoscaling.behavior.scaleup", {}, "scaleup"),
    ("gateways.pdb.minAvailable", 1, "minAvailable"),
    ("gateways.drain.second", 1, "second"),
    ("gateways.namespaces.selector", {}, "selector"),
    # Values that are not of the set.
    ("image.pullPolicy", "Sometimes", "pullPolicy"),
    ("image.digest", "sha256:abc", "digest"),
    ("operator.topologySpread.zones", "Please", "zones"),
    ("certificates.mode", "self", "mode"),
    ("gateways.kind", "StatefulSet", "kind"),
    ("gateways.namespaces.from", "None", "from"),
    ("gateways.service.type", "ExternalName", "type"),
    ("gateways.service.externalTrafficPolicy", "local", "externalTrafficPolicy"),
    ("gateways.logLevel", "verbose", "logLevel"),
    # Out of range, or of another type.
    ("operator.replicas", 0, "replicas"),
    ("operator.replicas", "2", "replicas"),
    ("operator.lease.duration", "15", "duration"),
    ("operator.lease.duration", 15, "duration"),
    ("operator.resources.requests.cpu", "100 m", "cpu"),
    ("operator.podLabels.a", 1, "podLabels"),
    ("webhook.timeoutSeconds", 31, "timeoutSeconds"),
    ("webhook.timeoutSeconds", 1, "timeoutSeconds"),  # the operator itself answers after 1 s what it cannot look up
    ("sidecar.startLimit", "soon", "startLimit"),
    ("sidecar.startLimit", "100000s", "startLimit"),
    ("certificates.overlap", "1h1h1h1h1h", "overlap"),
    ("gateways.replicas", -1, "replicas"),
    ("gateways.concurrency", 0, "concurrency"),
    ("gateways.hostNetwork", "yes", "hostNetwork"),
    ("gateways.pdb.maxUnavailable", 0, "maxUnavailable"),
    ("gateways.pdb.maxUnavailable", "150%", "maxUnavailable"),
    ("gateways.service.ports", [], "ports"),
    ("gateways.service.ports", [{"name": "http", "port": 70000}], "port"),
    ("gateways.service.ports", [{"port": 80}], "name"),
    ("gateways.service.ports", [{"name": "listener-80", "port": 80}], "name"),  # the operator takes it away
    ("gateways.service.labels", {"app.kubernetes.io/name": "x"}, "labels"),
    ("monitoring.podMonitor.labels", {"helm.sh/chart": "x"}, "labels"),
    ("gateways.service.ports", [{"name": "HTTP", "port": 80}], "name"),
    ("gateways", [{"replicas": 2}], "name"),
    ("gateways", [{"name": "Edge"}], "name"),
    ("gateways", {"edge": {}}, "gateways"),
    ("gateways", [{"name": True}], "name"),
    ("gateways.podLabels", {"app.kubernetes.io/component": "x"}, "podLabels"),
    ("operator.podLabels", {"app.kubernetes.io/name": "x"}, "podLabels"),
    ("gateways.service.loadBalancerSourceRanges", ["everyone"], "loadBalancerSourceRanges"),
    # Nothing where there is a default.
    ("operator.lease", None, "lease"),
    ("certificates.mode", None, "mode"),
    ("gatewayDefaults.namespaces", None, "namespaces"),
    # Together.
    ("gateways", [{"name": "a", "kind": "DaemonSet", "autoscaling": {"enabled": True}}], "autoscaling"),
    ("certificates.certManager.issuerRef", {"kind": "ClusterIssuer"}, "name"),
]


@pytest.mark.parametrize(("path", "value", "says"), REFUSED, ids=[f"{path}={value}"[:60] for path, value, _ in REFUSED])
def test_refused(path: str, value: Any, says: str, tmp_path: Path) -> None:
    """The message names the value at fault."""
    with pytest.raises(helm.HelmError, match="don't meet the specifications of the schema") as caught:
        helm.text(helm.written(_at(path, value), tmp_path))

    assert says in str(caught.value)


PORT_OF_NODES = {"name": "http", "port": 80, "nodePort": 30080}

UNFIT = [
    ({"gateways": [{"name": "a"}, {"name": "a"}]}, "two gateways are called a"),
    (
        {"operator": {"shutdown": {"delaySeconds": 30, "graceSeconds": 36}}},
        "graceSeconds must be at least 7 more than delaySeconds",
    ),
    (
        {"gateways": [{"name": "a", "autoscaling": {"enabled": True, "minReplicas": 9, "maxReplicas": 3}}]},
        "maxReplicas",
    ),
    ({"gateways": [{"name": "a", "hostPrivilegedPorts": True}]}, "hostPrivilegedPorts needs hostNetwork"),
    ({"operator": {"lease": {"duration": "10s"}}}, "operator.lease.duration: must be longer than renew"),
    ({"operator": {"lease": {"renew": "2400ms"}}}, "operator.lease.renew: must be longer than 1.2 times retry"),
    ({"operator": {"lease": {"retry": "999ms"}}}, "operator.lease.retry: must be at least 1s"),
    ({"certificates": {"overlap": "1m59s"}}, "certificates.overlap: must be at least 2m"),
    ({"certificates": {"secretName": "fairlead-ca"}}, "certificates.secretName: fairlead-ca is the Secret of"),
    (
        {"certificates": {"mode": "CertManager", "secretName": "fairlead-authority"}},
        "certificates.secretName: fairlead-authority is the Secret of",
    ),
    ({"sidecar": {"startLimit": "0s"}}, "sidecar.startLimit: must be longer than 0s"),
    ({"sidecar": {"resources": {"requests": {"memory": "0.5Gi"}}}}, "sidecar.resources.requests.memory: must not be"),
    ({"sidecar": {"resources": {"limits": {"cpu": 0.01}}}}, "sidecar.resources.requests.cpu: must not be above"),
    (
        {"gateways": [{"name": "a", "service": {"ports": [{"name": "x", "port": 80}, {"name": "y", "port": 80}]}}]},
        r"gateways a: service.ports: y \(80/TCP\) is there twice",
    ),
    (
        {"gateways": [{"name": "a", "service": {"type": "ClusterIP", "ports": [PORT_OF_NODES]}}]},
        "gateways a: service.ports: nodePort needs service.type",
    ),
    (
        {"gateways": [{"name": "a", "service": {"ports": [{"name": "x", "port": 80, "targetPort": 19001}]}}]},
        "gateways a: service.ports: x: 19001 is the gateway's own port",
    ),
    ({"gatewayDefaults": {"kind": "DaemonSet", "autoscaling": {"enabled": True}}}, "autoscaling"),
]


@pytest.mark.parametrize(("values", "says"), UNFIT, ids=[says for _, says in UNFIT])
def test_what_no_schema_can_say_is_refused_too(values: Json, says: str, tmp_path: Path) -> None:
    with pytest.raises(helm.HelmError, match=says):
        helm.text(helm.written(values, tmp_path))


FIT: list[Json] = [
    {},
    {"sidecar": {"resources": {"requests": {"cpu": 0.5, "memory": 33554432}, "limits": {"cpu": 1}}}},
    {"sidecar": {"resources": {"requests": None, "limits": None}}},
    {"sidecar": {"resources": None}},
    {"sidecar": {"resources": {"requests": {"cpu": 0.00001}}}},
    {"sidecar": {"startLimit": "99999s"}},
    {"operator": {"lease": {"duration": "1m30s", "renew": "1m", "retry": "1500ms"}}},
    {"operator": {"lease": {"duration": "10400ms", "renew": "10s"}}},
    {"operator": {"lease": {"duration": "5s", "renew": "1800ms", "retry": "1499ms"}}},
    {"operator": {"shutdown": {"delaySeconds": 30, "graceSeconds": 37}}},
    {"certificates": {"overlap": "2m"}},
    {"certificates": {"secretName": "123"}},
    {"certificates": {"secretName": "on"}},
    {"gateways": [{"name": "on"}, {"name": "123"}]},
]


@pytest.mark.parametrize("values", FIT, ids=[json.dumps(values)[:60] for values in FIT])
def test_what_the_chart_takes_the_operator_takes(values: Json, tmp_path: Path) -> None:
    """Else helm says yes, and the operator ends again and again."""
    rendered = yaml.safe_load_all(helm.text(helm.written(values, tmp_path), namespace="1234"))
    found: list[Json] = [one for one in rendered if one]

    assert {one["metadata"].get("namespace", "1234") for one in found} == {"1234"}
    (config,) = (one for one in found if one["metadata"]["name"] == "fairlead-config")
    read = read_config(config["data"]["config.yaml"], "config.yaml")
    _elects(read.lease)
    given: list[Json] = values.get("gateways") or VALUES["gateways"]
    assert {one.name for one in read.gateways} == {one["name"] for one in given}
    labels = [value for one in found for value in (one["metadata"].get("labels") or {}).values()]
    assert all(isinstance(value, str) for value in labels)


def _elects(lease: Lease) -> None:
    """The client's election takes it. Raises ValueError."""
    lock: Any = object()  # is not looked at
    Config(lock, **times(lease), onstarted_leading=_nothing, onstopped_leading=_nothing)


async def _nothing() -> None:
    pass


def test_the_schema_and_the_defaults_have_the_same_values() -> None:
    """What can be set is in ``values.yaml``, with its default."""
    assert _names(SCHEMA, VALUES) == set()


def test_what_has_a_default_cannot_be_nothing() -> None:
    """``null`` takes a default away: the schema then says which value is missing. What may be empty may be nothing, too."""
    assert _optional(SCHEMA, VALUES) == {f".{one}.resources" for one in ("operator", "sidecar", "gatewayDefaults")}


def _optional(schema: Json, values: Json, path: str = "") -> set[str]:
    schema, found = _resolved(schema), set()
    for name, value in values.items():
        if value not in ("", [], {}) and name not in schema.get("required", ()) and f"{path}.{name}" not in MAY_MISS:
            found.add(f"{path}.{name}")
        elif isinstance(value, dict):
            found |= _optional(schema["properties"][name], value, f"{path}.{name}")
    return found


#: False, or no gateway: nothing is the same.
MAY_MISS = {".gateways", ".gatewayDefaults.hostNetwork", ".gatewayDefaults.hostPrivilegedPorts"}


def _names(schema: Json, values: Any, path: str = "") -> set[str]:
    """Values that are in one of the two only."""
    schema = _resolved(schema)
    known, given = schema.get("properties", {}), values if isinstance(values, dict) else {}
    if path == ".global" or not known or not given:  # what has no default, like an issuer, is told by a comment
        return set()
    result = {f"{path}.{name}" for name in known.keys() ^ given.keys()} - {".global", *SHOWN_ELSEWHERE}
    return result.union(*(_names(known[name], given[name], f"{path}.{name}") for name in known.keys() & given.keys()))


#: Amounts that have no default.
SHOWN_ELSEWHERE = {
    f".{one}.resources.{kind}.{name}"
    for one in ("operator", "sidecar", "gatewayDefaults")
    for kind in ("requests", "limits")
    for name in ("cpu", "ephemeral-storage")
}


def _resolved(schema: Json) -> Json:
    """With what ``$ref`` points to."""
    if "$ref" not in schema:
        return schema
    return {**_resolved(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]), **schema}


def _schemas(schema: Json, path: str = "") -> Iterator[tuple[str, Json]]:
    yield path, schema
    for name, child in {**schema.get("properties", {}), **schema.get("$defs", {})}.items():
        yield from _schemas(child, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        yield from _schemas(schema["items"], f"{path}[]")


def test_every_object_is_closed_and_every_value_described() -> None:
    """Maps of the user's own, like labels, and what the API server knows better are the only open ones."""
    open_ones = {path for path, one in _schemas(SCHEMA) if one.get("type") == "object" and not _closed(one)}
    known_by_kubernetes = ("Affinity", "scaleUp", "scaleDown", "ipBlock", "namespaceSelector", "podSelector")

    assert {path for path in open_ones if not path.endswith(known_by_kubernetes)} == {".global"}
    for path, one in _schemas(SCHEMA):
        if path and not path.endswith("[]"):
            assert _resolved(one).get("description"), path


def _closed(schema: Json) -> bool:
    return schema.get("additionalProperties") in (False, {"type": "string"})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("service.enabled", False),
        ("drain.seconds", 0),
        ("replicas", 0),
        ("pdb.enabled", False),
        ("service.loadBalancerClass", ""),
    ],
)
def test_a_gateway_may_say_no_to_a_default(path: str, value: Any, tmp_path: Path) -> None:
    """Also where its value is empty: what is merged is what was given, not what is true."""
    defaults = {"drain": {"seconds": 9}, "replicas": 5, "service": {"loadBalancerClass": "a/b"}}
    values = {"gatewayDefaults": defaults, **_at(f"gateways.{path}", value)}
    rendered = helm.objects(helm.written(values, tmp_path))
    found = {one["kind"]: one for one in rendered if one["metadata"]["name"] == "fairlead-gateway-edge"}
    pod = found["Deployment"]["spec"]["template"]["spec"]
    seen = {
        "service.enabled": "Service" in found,
        "drain.seconds": pod["terminationGracePeriodSeconds"] - 15,
        "replicas": found["Deployment"]["spec"]["replicas"],
        "pdb.enabled": "PodDisruptionBudget" in found,
        "service.loadBalancerClass": found.get("Service", {}).get("spec", {}).get("loadBalancerClass", ""),
    }

    assert seen[path] == value
