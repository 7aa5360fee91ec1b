"""Sidecars for the pods of manifests: pods, and the workloads that make pods. Pure; called by ``fairlead inject``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy, read_policy
from fairlead_operator.api.pods import CAPTURE, INJECT, MODE, Pod
from fairlead_operator.injection import pod as pods
from fairlead_operator.injection import shape
from fairlead_operator.injection.settings import InjectionError, Settings, of_pod
from fairlead_operator.sidecars import Pods

Json = dict[str, Any]
Selected = Callable[[str, Mapping[str, str]], bool]

#: (API group, kind) -> where its pod stands.
TEMPLATES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "Pod"): (),
    ("", "PodTemplate"): ("template",),
    ("", "ReplicationController"): ("spec", "template"),
    ("apps", "Deployment"): ("spec", "template"),
    ("apps", "StatefulSet"): ("spec", "template"),
    ("apps", "DaemonSet"): ("spec", "template"),
    ("apps", "ReplicaSet"): ("spec", "template"),
    ("batch", "Job"): ("spec", "template"),
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}


_UNKNOWN: Final = "is not known here: leave them to the webhook"
_NO_CAPTURE: Final = (
    f"annotation {MODE}: {CAPTURE} cannot be injected offline: which addresses the Services have is known in the cluster"
    " only: leave the pod to the webhook, or use Explicit"
)


@dataclass(slots=True)
class Done:
    """The manifests, in their order, and what a person should know."""

    documents: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def selection(documents: Iterable[Any], namespace: str = "default") -> Selected:
    """What the policies among *documents* select; *namespace*: of those that name none. Raises InjectionError."""
    policies = {}
    for document in documents:
        if not isinstance(document, dict) or document.get("kind") != "LoadBalancerPolicy":
            continue
        metadata = document.get("metadata")
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            raise InjectionError("LoadBalancerPolicy: metadata.name: must be set")
        policy = read_policy({**document, "metadata": {"namespace": namespace, **metadata}})
        if not isinstance(policy, LoadBalancerPolicy):
            found = "; ".join(f"{path}: {message}" for path, message in policy.errors)
            raise InjectionError(f"LoadBalancerPolicy {policy.ref.name}: {found}")
        policies[policy.ref] = policy
    known = Pods(policies)
    return lambda namespace, labels: bool(known.selected_by(Pod(Ref("Pod", namespace, "new"), "", labels)))


def inject_all(documents: Sequence[Any], settings: Settings, selected: Selected, *, namespace: str = "default") -> Done:
    """*documents* with sidecars where they are wanted; everything else as it is. Raises InjectionError.

    *namespace*: of the documents that name none.
    """
    done = Done()
    injector = _Injector(settings, selected, namespace, done.warnings)
    done.documents += map(injector.document, documents)
    return done


@dataclass(frozen=True, slots=True)
class _Injector:
    settings: Settings
    selected: Selected
    namespace: str
    warnings: list[str]

    def document(self, document: Any) -> Any:
        if not isinstance(document, dict):
            return document
        # A List, or a list of one kind (DeploymentList).
        if str(document.get("kind", "")).endswith("List") and isinstance(document.get("items"), list):
            return {**document, "items": [self.document(one) for one in document["items"]]}
        what = f"{document.get('kind')} {_below(document, ('metadata', 'name')) or _generated(document)}"
        path = TEMPLATES.get((str(document.get("apiVersion", "")).rpartition("/")[0], str(document.get("kind", ""))))
        if path is None:
            if self._wants(document):
                self.warnings.append(f"{what}: its pods want a sidecar, but {_kind(document)} {_UNKNOWN}")
            return document
        pod = _below(document, path)
        if not isinstance(pod, dict):
            raise InjectionError(f"{what}: {'.'.join(path)}: must be the template of a pod")
        try:
            shape.check(pod, ".".join(path))
            if not self._wanted(document, pod):
                return document
            if (why := pods.obstacle(pod)) and _labels(pod).get(INJECT) != "true":
                self.warnings.append(f"{what}: no sidecar, although a policy selects it: {why}")
                return document
            return _replaced(document, path, self._inject(pod))
        except InjectionError as error:
            raise InjectionError(f"{what}: {error}") from None

    def _inject(self, pod: Json) -> Json:
        done = pods.inject(pod, self.settings)
        if of_pod(self.settings, _below(pod, ("metadata", "annotations")) or {}).mode == CAPTURE:
            raise InjectionError(_NO_CAPTURE)
        return done

    def _wanted(self, document: Json, pod: Json) -> bool:
        namespace = str(_below(document, ("metadata", "namespace")) or self.namespace)
        return pods.wanted(pod, selected=self.selected(namespace, _labels(pod)))

    def _wants(self, document: Json) -> bool:
        """Whether what looks like the template of a pod asks for a sidecar, or a policy selects it."""
        template = _below(document, ("spec", "template"))
        try:
            shape.check(template)
        except InjectionError:
            return False
        return bool(_below(template, ("spec", "containers"))) and self._wanted(document, template)


def _generated(document: Json) -> str:
    return str(_below(document, ("metadata", "generateName")) or "")


def _labels(pod: Json) -> Json:
    return _below(pod, ("metadata", "labels")) or {}


def _kind(document: Json) -> str:
    return f"{document.get('kind')} of {document.get('apiVersion')}"


def _below(document: Any, path: Sequence[str]) -> Any:
    for name in path:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _replaced(document: Json, path: Sequence[str], pod: Json) -> Json:
    if not path:
        return pod
    return {**document, path[0]: _replaced(document[path[0]], path[1:], pod)}
