"""Text of a manifest file -> raw objects. Pure; errors name the line, so that people find it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from fairlead_operator.api.core import read_grant, read_secret, read_service, read_slice
from fairlead_operator.api.meta import DecodeError, ref_of
from fairlead_operator.api.objects import InvalidPolicy, read_backend, read_policy

KINDS = frozenset({"LoadBalancerPolicy", "Backend", "Service", "EndpointSlice", "Pod", "Secret", "ReferenceGrant"})
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ManifestError(Exception):
    """A file that cannot be used; the message begins with the line: ``line 7: …``."""


def parse(text: str) -> list[dict[str, Any]]:
    """The objects of a file, checked. Raises ManifestError on the first error: a file is taken whole or not at all."""
    objects = []
    for line, raw in _documents(text):
        for entry in raw.get("items", []) if raw.get("kind") == "List" else [raw]:
            try:
                _check(entry)
            except DecodeError as error:
                raise ManifestError(f"line {line}: {error}") from None
            objects.append(entry)
    return objects


def _documents(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(first line, object)`` of each document that is not empty."""
    try:
        nodes = list(yaml.compose_all(text, Loader=_LOADER))
        documents = list(yaml.load_all(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ManifestError(f"{where}not YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ManifestError(f"line 1: not YAML: {str(error).splitlines()[0]}") from None
    for node, document in zip(nodes, documents, strict=True):
        if document is None:
            continue
        line = node.start_mark.line + 1
        if not isinstance(document, dict):
            raise ManifestError(f"line {line}: an object was expected, not {type(document).__name__}")
        yield line, _plain(document)


def _plain(value: Any) -> Any:
    """YAML makes dates of unquoted timestamps; objects hold strings."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value.isoformat() if hasattr(value, "isoformat") else value


def _check(raw: Any) -> None:
    ref = ref_of(raw)
    match ref.kind:
        case "LoadBalancerPolicy":
            policy = read_policy(raw)
            if isinstance(policy, InvalidPolicy):
                path, reason = policy.errors[0]
                raise DecodeError(ref, path, reason)
        case "Backend":
            read_backend(raw)
        case "Service":
            read_service(raw)
        case "EndpointSlice":
            read_slice(raw)
        case "Secret":
            read_secret(raw)
        case "ReferenceGrant":
            read_grant(raw)
        case _:
            if ref.kind not in KINDS:
                raise DecodeError(ref, "kind", f"is none of {', '.join(sorted(KINDS))}")
