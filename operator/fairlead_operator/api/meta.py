"""Names of objects, and the one error of reading them."""

from __future__ import annotations

import functools
import re
from typing import Any, NamedTuple

GROUP = "fairlead.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
#: Names of namespaces and of objects (RFC 1123). They become parts of Envoy's names: no other character may get there.
_NAMESPACE = re.compile(rf"(?=.{{1,63}}\Z){_LABEL}")
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*")


class Ref(NamedTuple):
    """An object: its kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class DecodeError(Exception):
    """An object that cannot be read.

    Attributes:
        ref: which object; its parts are empty where the object does not even tell them.
        path: the field at fault, as ``spec.routes[0].matches``; empty for the object itself.
        reason: what is wrong with it, for people.
    """

    def __init__(self, ref: Ref, path: str, reason: str) -> None:
        super().__init__(f"{ref}: {path}: {reason}" if path else f"{ref}: {reason}")
        self.ref, self.path, self.reason = ref, path, reason


def ref_of(raw: Any) -> Ref:
    """The name of a raw object. Raises DecodeError where it has none."""
    if not isinstance(raw, dict):
        raise DecodeError(Ref("?", "", ""), "", f"an object was expected, not {type(raw).__name__}")
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    said = raw.get("kind"), metadata.get("namespace") or "default", metadata.get("name")
    try:
        return _ref(*said)
    except TypeError:  # a list or a mapping, of which nothing can be remembered
        return _ref.__wrapped__(*said)


@functools.lru_cache(maxsize=4096)
def _ref(kind: Any, namespace: Any, name: Any) -> Ref:
    """Remembered, as the same objects change again and again. Raises DecodeError."""
    ref = Ref(_text(kind) or "?", _text(namespace), _text(name))
    for path, value in (("kind", kind), ("metadata.name", name)):
        if not isinstance(value, str) or not value:
            raise DecodeError(ref, path, "is missing" if value in (None, "") else "must be a string")
    if not isinstance(namespace, str):
        raise DecodeError(ref, "metadata.namespace", "must be a string")
    if not _NAME.fullmatch(name):
        raise DecodeError(ref, "metadata.name", "must be lower case letters, digits, - and . (RFC 1123)")
    if not _NAMESPACE.fullmatch(namespace):
        raise DecodeError(ref, "metadata.namespace", "must be lower case letters, digits and - (RFC 1123)")
    return ref


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
