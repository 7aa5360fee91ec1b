"""An AdmissionReview (admission.k8s.io/v1) about a new pod -> the answer. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fairlead_operator.api.pods import INJECT
from fairlead_operator.injection import pod as pods
from fairlead_operator.injection import shape
from fairlead_operator.injection.settings import InjectionError, Settings

#: (namespace, labels of a pod) -> whether a policy selects it.
Selected = Callable[[str, Mapping[str, str]], bool]
#: namespace -> ``IP:port`` of the Services that are captured there.
Captured = Callable[[str], Sequence[str]]


#: Of a namespace (RFC 1123 label).
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ReviewError(Exception):
    """This is no AdmissionReview about a pod."""


def question(body: Any) -> dict[str, Any]:
    """The ``request`` of an AdmissionReview. Raises ReviewError."""
    request = body.get("request") if isinstance(body, dict) else None
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise ReviewError("an AdmissionReview (admission.k8s.io/v1) with a request and its uid was expected")
    if not isinstance(request.get("object"), dict) or not isinstance(request.get("namespace"), str):
        raise ReviewError("request.object must be a pod in a namespace")
    if not _NAME.fullmatch(request["namespace"]):
        raise ReviewError("request.namespace must be the name of a namespace")
    try:
        shape.check(request["object"], "request.object")
    except InjectionError as error:
        raise ReviewError(str(error)) from None
    return request


def answer(request: Mapping[str, Any], settings: Settings, selected: Selected, captured: Captured) -> dict[str, Any]:
    """The whole AdmissionReview that goes back: the pod with its sidecar, the pod as it is, or why it is refused.

    A pod that asks for a sidecar and cannot have one is refused. One that only a policy selected is let through with a
    warning, so that a policy never keeps a pod from running.
    """
    pod, namespace = request["object"], request["namespace"]
    labels = (pod.get("metadata") or {}).get("labels") or {}
    response: dict[str, Any] = {"uid": request["uid"], "allowed": True}
    chosen = selected(namespace, labels)
    if pods.wanted(pod, selected=chosen):
        try:
            after = pods.inject(pod, settings, captured=captured(namespace))
            operations = json.dumps(pods.patch(pod, after)).encode()
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(operations).decode()}
        except InjectionError as error:
            asked = labels.get(INJECT) == "true" or not pods.obstacle(pod)
            if asked:
                response |= {"allowed": False, "status": {"code": 400, "message": f"no sidecar: {error}"}}
            else:
                response["warnings"] = [f"fairlead: no sidecar, although a policy selects this pod: {error}"]
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
