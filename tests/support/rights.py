"""Rights in a cluster: what roles allow, and what requests ask for, in the words of RBAC."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

ANY: Final = "*"

_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """One verb on one resource.

    Attributes:
        resource: with its group and subresource: ``loadbalancerpolicies.fairlead.dev/status``.
        name: of the one object; ``*``: any.
        namespace: ``*``: all of them, or the cluster itself.
    """

    verb: str
    resource: str
    name: str = ANY
    namespace: str = ANY

    def covers(self, asked: Right) -> bool:
        return (
            (self.verb, self.resource) == (asked.verb, asked.resource)
            and self.name in {ANY, asked.name}
            and self.namespace in {ANY, asked.namespace}
        )

    def review(self) -> dict[str, Any]:
        """``resourceAttributes`` of a SelfSubjectAccessReview."""
        resource, _, subresource = self.resource.partition("/")
        plural, _, group = resource.partition(".")
        found = {"verb": self.verb, "group": group, "resource": plural, "subresource": subresource}
        found |= {"name": self.name, "namespace": self.namespace}
        return {key: value for key, value in found.items() if value not in {"", ANY}}

    def __str__(self) -> str:
        name = "" if self.name == ANY else f" {self.name}"
        where = "" if self.namespace == ANY else f" in {self.namespace}"
        return f"{self.verb} {self.resource}{name}{where}"


def allowed(manifests: Iterable[dict[str, Any]]) -> set[Right]:
    """What the ClusterRoles and Roles among *manifests* allow. A star in a role is refused: nobody needs everything."""
    return {
        right
        for one in manifests
        if one["kind"] in {"ClusterRole", "Role"}
        for rule in one["rules"]
        for right in _of(rule, one["metadata"].get("namespace", ANY))
    }


def _of(rule: dict[str, Any], namespace: str) -> Iterator[Right]:
    for group in rule["apiGroups"]:
        for resource in rule["resources"]:
            plural, slash, subresource = resource.partition("/")
            full = f"{plural}.{group}{slash}{subresource}" if group else resource
            for verb in rule["verbs"]:
                if ANY in (group, resource, verb):
                    raise ValueError(f"a star in a role: {rule}")
                for name in rule.get("resourceNames") or [ANY]:
                    yield Right(verb, full, name, namespace)


def asked(method: str, url: str) -> Right | None:
    """What a request asks for, as the API server reads it (RequestInfoFactory); None: it is about no resource."""
    parts = urlsplit(url)
    steps = [part for part in parts.path.split("/") if part]
    if steps[:1] == ["api"] and len(steps) > 2:
        group, rest = "", steps[2:]
    elif steps[:1] == ["apis"] and len(steps) > 3:
        group, rest = steps[1], steps[3:]
    else:
        return None
    namespace = ANY
    if rest[0] == "namespaces" and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource = rest[0], (rest[1:2] or [""])[0], "/".join(rest[2:])
    query = parse_qs(parts.query)
    verb = _VERBS.get(method, "get")
    if not name and verb == "get":
        verb = "watch" if query.get("watch", ["0"])[0] in {"1", "true"} else "list"
    if not name:
        for field in query.get("fieldSelector", [""])[0].split(","):
            if field.startswith("metadata.name="):
                name = field.removeprefix("metadata.name=").removeprefix("=")
    resource = f"{plural}.{group}" if group else plural
    return Right(verb, f"{resource}/{subresource}" if subresource else resource, name or ANY, namespace)
