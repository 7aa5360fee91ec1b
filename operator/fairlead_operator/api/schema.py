"""The CRDs, generated from the pydantic models: ``python -m fairlead_operator.api.schema [--check] DIR``.

``make generate`` and ``make check`` call it. Everything but ``main`` is pure: models in, dicts and text out. The
schemas are structural (apiextensions.k8s.io/v1): no ``$ref``, no ``anyOf``, no ``additionalProperties: false``. That an
unknown field is an error is thus not in them: the API server refuses it under ``fieldValidation=Strict``, which
``kubectl`` asks for, and else warns and drops it.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import Any, NamedTuple

import yaml
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from fairlead_operator.api.backend import BackendSpec
from fairlead_operator.api.meta import GROUP, VERSION
from fairlead_operator.api.policy import LoadBalancerPolicySpec
from fairlead_operator.api.reference import TypeSchemas, reference
from fairlead_operator.api.status_types import LoadBalancerPolicyStatus
from fairlead_xds.features.value import Rule, Value

COMMAND = "python -m fairlead_operator.api.schema ."
#: Keywords that a structural schema may hold and that our models use. Another one is a mistake, not to be dropped.
KEPT = frozenset(
    {"type", "format", "description", "default", "enum", "pattern", "minLength", "maxLength"}
    | {"minimum", "maximum", "minItems", "maxItems", "required"}
    | {"minProperties", "maxProperties"}
    | {"x-kubernetes-int-or-string", "x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"}
)
#: Keywords of JSON Schema without a meaning for the API server.
DROPPED = frozenset({"title", "examples", "additionalProperties", "$defs"})


class Column(NamedTuple):
    """A column of ``kubectl get``."""

    name: str
    path: str
    type: str
    description: str


class Kind(NamedTuple):
    """A custom resource: its names, its models and its columns."""

    kind: str
    plural: str
    short_names: tuple[str, ...]
    description: str
    spec: type[Value]
    status: type[Value] | None
    columns: tuple[Column, ...]

    @property
    def file(self) -> str:
        return f"{GROUP}_{self.plural}.yaml"


POLICY = Kind(
    "LoadBalancerPolicy",
    "loadbalancerpolicies",
    ("lbp",),
    "A site on a gateway, or how the requests to some Services are balanced.",
    LoadBalancerPolicySpec,
    LoadBalancerPolicyStatus,
    (
        Column("Type", ".status.type", "string", "Gateway, Sidecar or Attached"),
        Column("Algorithm", ".status.algorithm", "string", "How an endpoint is chosen"),
        Column("Endpoints", ".status.endpoints.summary", "string", "Ready endpoints of all"),
        Column("Proxies", ".status.proxies.summary", "string", "Programmed proxies of all that are connected"),
        Column(
            "Accepted", '.status.conditions[?(@.type=="Accepted")].status', "string", "Valid, and wins its conflicts"
        ),
        Column(
            "Resolved", '.status.conditions[?(@.type=="ResolvedRefs")].status', "string", "All that it refers to exists"
        ),
        Column("Programmed", '.status.conditions[?(@.type=="Programmed")].status', "string", "Every proxy took it"),
        Column(
            "Degraded", '.status.conditions[?(@.type=="Degraded")].status', "string", "Served, and something is wrong"
        ),
        Column("Age", ".metadata.creationTimestamp", "date", "Since its creation"),
    ),
)
BACKEND = Kind("Backend", "backends", (), "Endpoints outside Kubernetes.", BackendSpec, None, ())
KINDS = (POLICY, BACKEND)


class _Generator(GenerateJsonSchema):
    """Pydantic's generator with the API server's view of three things: rules, optional fields and absent defaults."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        result = super().model_schema(schema)
        rules: tuple[Rule, ...] = getattr(schema["cls"], "rules", ())
        if rules:
            result["x-kubernetes-validations"] = [_validation(rule) for rule in rules]
        return result

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """An optional field is one that may be absent: ``null`` is no value of its own."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        result = super().default_schema(schema)
        if "default" not in result:
            return result
        default = _without_none(result.pop("default"))
        return result if default is None else {**result, "default": default}


def _validation(rule: Rule) -> dict[str, str]:
    """``ValidationRule``; ``fieldPath`` is relative to the object that carries it."""
    result = {"rule": rule.cel, "message": rule.message}
    return {**result, "fieldPath": f".{rule.field}"} if rule.field else result


def _without_none(value: Any) -> Any:
    match value:
        case dict():
            return {key: _without_none(item) for key, item in value.items() if item is not None}
        case list() | tuple():
            return [_without_none(item) for item in value]
        case _:
            return value


def types(model: type[Value]) -> TypeSchemas:
    """Schemas by type name, *model* first, each referring to others by ``$ref``; what the field reference shows."""
    root = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return {model.__name__: root, **root.get("$defs", {})}


def structural(model: type[Value]) -> dict[str, Any]:
    """The structural schema of *model*. Raises TypeError for a keyword that the API server does not know."""
    schemas = types(model)
    return _structural(schemas[model.__name__], schemas)


def _structural(node: dict[str, Any], schemas: TypeSchemas) -> dict[str, Any]:
    if "$ref" in node:
        own = {key: value for key, value in node.items() if key != "$ref"}
        return _structural({**schemas[node["$ref"].rpartition("/")[2]], **own}, schemas)
    result: dict[str, Any] = {}
    for key, value in node.items():
        if key == "properties":
            children = {name: _structural(child, schemas) for name, child in value.items()}
            result.update({key: children} if children else {})  # the API server drops an empty map
        elif key == "items" or (key == "additionalProperties" and isinstance(value, dict)):
            result[key] = _structural(value, schemas)
        elif key == "const":
            result["enum"] = [value]
        elif key in KEPT:
            result[key] = value
        elif key not in DROPPED:
            raise TypeError(f"{key} has no place in a structural schema: {node}")
    return result


def crd(kind: Kind) -> dict[str, Any]:
    """``apiextensions.k8s.io/v1`` CustomResourceDefinition of *kind*."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(kind)},
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    if kind.columns:
        version["additionalPrinterColumns"] = [
            {"name": c.name, "type": c.type, "jsonPath": c.path, "description": c.description} for c in kind.columns
        ]
    names: dict[str, Any] = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "categories": ["fairlead"],
    }
    if kind.short_names:
        names["shortNames"] = list(kind.short_names)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def _root(kind: Kind) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": structural(kind.spec),
    }
    if kind.status is not None:
        properties["status"] = structural(kind.status)
    return {"description": kind.description, "type": "object", "required": ["spec"], "properties": properties}


class _Dumper(yaml.SafeDumper):
    """Writes equal parts out instead of pointing to the first by an anchor."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def generated() -> dict[str, str]:
    """Every generated file: path below the repository -> text."""
    header = f"# Generated by `{COMMAND}` from the models in operator/fairlead_operator/api: do not edit.\n"
    files = {
        f"{folder}/{kind.file}": header + yaml.dump(crd(kind), Dumper=_Dumper, sort_keys=False, width=120)
        for kind in KINDS
        for folder in ("crds", "helm/fairlead/files/crds")  # a chart cannot read what is outside it
    }
    sections = [
        (f"{kind.kind} {part}", types(model))
        for kind in KINDS
        for part, model in (("spec", kind.spec), ("status", kind.status))
        if model is not None
    ]
    files["docs/reference.md"] = reference(f"{GROUP}/{VERSION}", COMMAND, sections)
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write the files below DIR; with ``--check`` only name those that differ, and return 1."""
    parser = argparse.ArgumentParser(prog="python -m fairlead_operator.api.schema", description="Generate the CRDs.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    parser.add_argument("directory", metavar="DIR", type=pathlib.Path, help="the repository's root")
    options = parser.parse_args(arguments)
    files = {options.directory / path: text for path, text in generated().items()}
    stale = [path for path, text in files.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if options.check:
            print(f"{path} is not up to date: run `{COMMAND}`", file=sys.stderr)  # noqa: T201 - a command's output
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], "utf-8")
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
