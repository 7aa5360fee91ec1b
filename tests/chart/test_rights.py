"""What the operator's service account may do in a cluster, as the API server sees it: nothing beyond its work."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.accounts import Account
from tests.support.kube import ApiError, Cluster
from tests.support.rights import Right

OURS = "here"  # stands for the namespace of the installation


@pytest.fixture
def account(kube: Cluster, namespace: str) -> Iterator[Account]:
    made = Account(kube, namespace)
    yield made
    made.withdraw()


def test_the_roles_give_every_right_and_nothing_else_does(account: Account) -> None:
    """Without its bindings the account may do none of it: no default role helps."""
    assert {right for right in account.rights if not account.may(right)} == set()

    account.withdraw()
    # The authorizer follows by a watch of its own.
    account.kube.wait_for(lambda: not any(map(account.may, account.rights)), "the rights are gone")


#: What an operator that was taken over must not be able to do.
FORBIDDEN = [
    # Secrets: read by list and watch (certificates are anywhere); written are its own two only.
    Right("create", "secrets"),
    Right("create", "secrets", namespace=OURS),
    Right("patch", "secrets", "fairlead-xds-tls", "kube-system"),
    Right("patch", "secrets", "someone-elses", OURS),
    Right("update", "secrets", "fairlead-ca", OURS),
    Right("delete", "secrets", "fairlead-ca", OURS),
    # The objects that it serves from are their users'.
    Right("patch", "loadbalancerpolicies.fairlead.dev", "shop", "shop"),
    Right("update", "loadbalancerpolicies.fairlead.dev/status", "shop", "shop"),
    Right("delete", "loadbalancerpolicies.fairlead.dev", "shop", "shop"),
    Right("create", "loadbalancerpolicies.fairlead.dev", namespace="shop"),
    Right("patch", "backends.fairlead.dev", "one", "shop"),
    Right("patch", "endpointslices.discovery.k8s.io", "web-1", "shop"),
    Right("create", "referencegrants.gateway.networking.k8s.io", namespace="shop"),
    # Services: the ports of its own gateways.
    Right("patch", "services", "fairlead-xds", OURS),
    Right("patch", "services", "fairlead-gateway-edge", "shop"),
    Right("create", "services", namespace=OURS),
    Right("delete", "services", "fairlead-gateway-edge", OURS),
    # ConfigMaps: the authority's anywhere, reports in its own namespace.
    Right("list", "configmaps"),
    Right("list", "configmaps", namespace="shop"),
    Right("create", "configmaps", namespace="shop"),
    Right("patch", "configmaps", "coredns", "kube-system"),
    Right("delete", "configmaps", "fairlead-ca", "shop"),
    # Pods are looked at.
    Right("create", "pods", namespace=OURS),
    Right("patch", "pods", "web-1", "shop"),
    Right("delete", "pods", "web-1", "shop"),
    Right("create", "pods/exec", "web-1", "shop"),
    Right("create", "pods/eviction", "web-1", "shop"),
    Right("patch", "deployments.apps", "fairlead-operator", OURS),
    Right("get", "deployments.apps", "web", "shop"),
    Right("patch", "namespaces", "shop"),
    Right("patch", "nodes", "one"),
    Right("get", "nodes/proxy", "one"),
    # One webhook, the leases of its own.
    Right("patch", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "someone-elses"),
    Right("create", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
    Right("list", "mutatingwebhookconfigurations.admissionregistration.k8s.io"),
    Right("delete", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "fairlead-injector"),
    Right("patch", "validatingwebhookconfigurations.admissionregistration.k8s.io", "fairlead-injector"),
    Right("update", "leases.coordination.k8s.io", "kube-scheduler", "kube-system"),
    Right("update", "leases.coordination.k8s.io", "someone-elses", OURS),
    # More rights for itself.
    Right("create", "clusterrolebindings.rbac.authorization.k8s.io"),
    Right("patch", "clusterroles.rbac.authorization.k8s.io", "fairlead-operator"),
    Right("escalate", "clusterroles.rbac.authorization.k8s.io", "fairlead-operator"),
    Right("bind", "clusterroles.rbac.authorization.k8s.io", "cluster-admin"),
    Right("patch", "roles.rbac.authorization.k8s.io", "fairlead-operator", OURS),
    Right("create", "serviceaccounts/token", "default", "shop"),
    Right("impersonate", "users", "admin"),
    Right("impersonate", "serviceaccounts", "default", "kube-system"),
    Right("create", "certificatesigningrequests.certificates.k8s.io"),
    Right("patch", "customresourcedefinitions.apiextensions.k8s.io", "loadbalancerpolicies.fairlead.dev"),
]


def test_what_it_may_not_do(account: Account) -> None:
    here = {right: _here(right, account.namespace) for right in FORBIDDEN}

    assert [str(right) for right, meant in here.items() if account.may(meant)] == []


def test_a_request_is_refused_and_not_just_a_review(account: Account) -> None:
    """Server-side apply makes what is not there: the name binds ``create`` too."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": account.namespace, "name": "other"}}
    path = f"{account.kube.path_of(secret)}?fieldManager=fairlead"

    with pytest.raises(ApiError, match="cannot patch resource") as caught:
        account.kube.request("PATCH", path, secret, token=account.token, content_type="application/apply-patch+yaml")

    assert caught.value.code == 403


def test_server_side_apply_needs_create_by_name_only(account: Account) -> None:
    """Why the roles can bind ``create`` to names at all."""
    authority = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default", "name": "fairlead-ca"}}
    path = f"{account.kube.path_of(authority)}?fieldManager=fairlead"

    made = account.kube.request(
        "PATCH", path, authority, token=account.token, content_type="application/apply-patch+yaml"
    )

    account.kube.delete(authority)
    assert made["metadata"]["name"] == "fairlead-ca"
    with pytest.raises(ApiError, match="cannot create resource") as caught:
        account.kube.request("POST", "/api/v1/namespaces/default/configmaps", authority, token=account.token)
    assert caught.value.code == 403


def _here(right: Right, namespace: str) -> Right:
    return Right(right.verb, right.resource, right.name, namespace) if right.namespace == OURS else right
