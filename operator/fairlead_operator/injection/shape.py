"""Whether a pod has the types of the API where injection looks at it or changes it. Pure.

The API server has judged what comes to the webhook; manifests offline, and whoever else calls the webhook, nobody has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fairlead_operator.injection.settings import InjectionError

#: Path -> type; a list is of objects.
_PARTS: Final = (
    (("metadata",), dict),
    (("metadata", "labels"), dict),
    (("metadata", "annotations"), dict),
    (("spec",), dict),
    (("spec", "os"), dict),
    (("spec", "securityContext"), dict),
    (("spec", "securityContext", "sysctls"), list),
    (("spec", "containers"), list),
    (("spec", "initContainers"), list),
    (("spec", "volumes"), list),
)
_NAMES: Final = {dict: "an object", list: "a list of objects"}


def check(pod: Any, root: str = "") -> None:
    """Raises InjectionError with the path below *root* of what is not as it must be."""
    for path, kind in _PARTS:
        where = ".".join((root, *path)).lstrip(".")
        value = _at(pod, path)
        if value is None:
            continue
        if not isinstance(value, kind) or (
            isinstance(value, list) and not all(isinstance(one, Mapping) for one in value)
        ):
            raise InjectionError(f"{where}: must be {_NAMES[kind]}")
        if isinstance(value, dict) and path[-1] in {"labels", "annotations"}:
            _check_texts(where, value)


def _at(pod: Any, path: Sequence[str]) -> Any:
    for name in path:
        pod = pod.get(name) if isinstance(pod, Mapping) else None
    return pod


def _check_texts(where: str, values: Mapping[Any, Any]) -> None:
    for key, value in values.items():
        if not isinstance(key, str) or not isinstance(value, str):
            written = str(value).lower() if isinstance(value, bool) else value
            raise InjectionError(f'{where}[{key}]: must be text: write it in quotes, as "{written}"')
