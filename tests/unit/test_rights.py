"""What a request asks for, in the words of RBAC: the measure of the tests of the chart's roles."""

from __future__ import annotations

import pytest

from tests.support.rights import ANY, Right, allowed, asked


@pytest.mark.parametrize(
    ("method", "url", "right"),
    [
        ("GET", "/api/v1/services", Right("list", "services")),
        ("GET", "/api/v1/services?watch=1&resourceVersion=3", Right("watch", "services")),
        ("GET", "/api/v1/namespaces", Right("list", "namespaces")),
        ("GET", "/api/v1/namespaces/a", Right("get", "namespaces", "a")),
        ("GET", "/api/v1/namespaces/a/pods/b", Right("get", "pods", "b", "a")),
        ("POST", "/api/v1/namespaces/a/configmaps", Right("create", "configmaps", ANY, "a")),
        ("PATCH", "/api/v1/namespaces/a/configmaps/b?fieldManager=x", Right("patch", "configmaps", "b", "a")),
        ("PUT", "/apis/coordination.k8s.io/v1/namespaces/a/leases/b", Right("update", "leases.coordination.k8s.io", "b", "a")),
        ("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Db&watch=true", Right("watch", "configmaps", "b")),
        ("GET", "/api/v1/secrets?fieldSelector=type%3Dkubernetes.io%2Ftls", Right("list", "secrets")),
        ("PATCH", "/apis/fairlead.dev/v1alpha1/namespaces/a/x/b/status", Right("patch", "x.fairlead.dev/status", "b", "a")),
        ("POST", "/apis/authentication.k8s.io/v1/tokenreviews", Right("create", "tokenreviews.authentication.k8s.io")),
        ("GET", "/apis/fairlead.dev/v1alpha1", None),
        ("GET", "/version", None),
        ("GET", "/api/v1", None),
    ],
)  # fmt: skip
def test_asked(method: str, url: str, right: Right | None) -> None:
    assert asked(method, url) == right


def test_roles_are_read() -> None:
    rule = {"apiGroups": ["", "b.c"], "resources": ["a", "a/status"], "verbs": ["get"], "resourceNames": ["x"]}
    role = {"kind": "Role", "metadata": {"name": "r", "namespace": "n"}, "rules": [rule]}

    found = {str(right) for right in allowed([role, {"kind": "Service"}])}

    assert found == {f"get {resource} x in n" for resource in ("a", "a/status", "a.b.c", "a.b.c/status")}


def test_a_star_is_refused() -> None:
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]}

    with pytest.raises(ValueError, match="star"):
        allowed([{"kind": "ClusterRole", "metadata": {}, "rules": [rule]}])


@pytest.mark.parametrize(
    ("right", "covers"),
    [
        (Right("get", "pods"), True),
        (Right("get", "pods", "a", "n"), True),
        (Right("get", "pods", "b"), False),
        (Right("get", "pods", ANY, "m"), False),
        (Right("list", "pods"), False),
        (Right("get", "pods/status"), False),
    ],
)
def test_covers(right: Right, covers: bool) -> None:
    assert right.covers(Right("get", "pods", "a", "n")) is covers
