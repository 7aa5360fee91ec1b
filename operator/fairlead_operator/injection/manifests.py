"""Sidecars for the pods of manifests: pods, and the workloads that make pods. Pure; called by ``fairlead inject``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy, read_policy
from fairlead_operator.api.pods import CAPTURE, INJECT, MODE, Pod
from fairlead_operator.injection import pod as pods
from fairlead_operator.injection.settings import InjectionError, Settings, of_pod
from fairlead_operator.sidecars import Pods

Json = dict[str, Any]
Selected = Callable[[str, Mapping[str, str]], bool]

#: Kind -> where its pod stands.
TEMPLATES: Final[dict[str, tuple[str, ...]]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


_NO_CAPTURE: Final = (
    f"annotation {MODE}: {CAPTURE} cannot be injected offline: which addresses the Services have is known in the cluster"
    " only: leave the pod to the webhook, or use Explicit"
)


@dataclass(slots=True)
class Done:
    """The manifests, in their order, and what a person should know."""

    documents: list[Any] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def selection(documents: Iterable[Any]) -> Selected:
    """What the policies among *documents* select."""
    policies = [
        read_policy(document)
        for document in documents
        if isinstance(document, dict) and document.get("kind") == "LoadBalancerPolicy"
    ]
    known = Pods({policy.ref: policy for policy in policies if isinstance(policy, LoadBalancerPolicy)})
    return lambda namespace, labels: bool(known.selected_by(Pod(Ref("Pod", namespace, "new"), "", labels)))


def inject_all(documents: Sequence[Any], settings: Settings, selected: Selected) -> Done:
    """*documents* with sidecars where they are wanted; everything else as it is. Raises InjectionError."""
    done = Done()
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List" and isinstance(document.get("items"), list):
            inner = inject_all(document["items"], settings, selected)
            done.documents.append({**document, "items": inner.documents})
            done.warnings += inner.warnings
        else:
            done.documents.append(_inject(document, settings, selected, done.warnings))
    return done


def _inject(document: Any, settings: Settings, selected: Selected, warnings: list[str]) -> Any:
    path = TEMPLATES.get(document.get("kind", "")) if isinstance(document, dict) else None
    if path is None:
        return document
    pod = document
    for name in path:
        pod = pod.get(name) if isinstance(pod, dict) else None
    metadata = document.get("metadata") or {}
    what = f"{document['kind']} {metadata.get('name') or metadata.get('generateName', '')}"
    if not isinstance(pod, dict):
        raise InjectionError(f"{what}: {'.'.join(path)}: must be the template of a pod")
    labels = (pod.get("metadata") or {}).get("labels") or {}
    chosen = selected(metadata.get("namespace") or "default", labels)
    if not pods.wanted(pod, selected=chosen):
        return document
    if (why := pods.obstacle(pod)) and labels.get(INJECT) != "true":
        warnings.append(f"{what}: no sidecar, although a policy selects it: {why}")
        return document
    try:
        captures = of_pod(settings, (pod.get("metadata") or {}).get("annotations") or {}).mode == CAPTURE
        done = _replaced(document, path, pods.inject(pod, settings))
    except InjectionError as error:
        raise InjectionError(f"{what}: {error}") from None
    if captures:
        raise InjectionError(f"{what}: {_NO_CAPTURE}")
    return done


def _replaced(document: Json, path: Sequence[str], pod: Json) -> Json:
    if not path:
        return pod
    return {**document, path[0]: _replaced(document[path[0]], path[1:], pod)}
