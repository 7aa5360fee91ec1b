"""The operator's service account with exactly the rights that the chart gives it, in a real API server."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from tests.support import helm
from tests.support.kube import ApiError, Cluster
from tests.support.rights import Right, allowed

Json = dict[str, Any]

RBAC = ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


class Account:
    """The service account of an installation in one namespace.

    Attributes:
        rights: what the chart's roles allow.
        token: of the account, by TokenRequest.
    """

    def __init__(self, kube: Cluster, namespace: str, *values: Path) -> None:
        self.kube, self.namespace = kube, namespace
        self.manifests = [one for one in helm.objects(*values, namespace=namespace) if one["kind"] in RBAC]
        self.rights = allowed(self.manifests)
        for one in self.manifests:
            kube.apply(one)
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/fairlead-operator/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        self.token: str = kube.request("POST", path, request)["status"]["token"]

    def may(self, right: Right) -> bool:
        """What the API server says to the account itself."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": right.review()},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.kube.request("POST", path, review, token=self.token)["status"]["allowed"])

    def withdraw(self) -> None:
        """Take the rights away again."""
        for one in self.manifests:
            if one["kind"] != "ServiceAccount":
                with contextlib.suppress(ApiError):  # gone already
                    self.kube.delete(one)
