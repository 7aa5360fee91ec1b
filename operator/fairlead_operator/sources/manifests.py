"""Text of a manifest file -> raw objects. Pure; errors name the line, so that people find it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from fairlead_operator.api.core import read_grant, read_secret, read_service
from fairlead_operator.api.meta import DecodeError, ref_of
from fairlead_operator.api.objects import InvalidPolicy, read_backend, read_policy
from fairlead_operator.api.slices import read_slice

KINDS = frozenset(
    {"LoadBalancerPolicy", "Backend", "Service", "EndpointSlice", "Pod", "Node", "Secret", "ReferenceGrant"}
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: No object of ours nests a tenth as deep.
DEEPEST = 200
#: Values that a text of any length may have. Without aliases it never has more of them than characters.
FEWEST = 100_000


class ManifestError(Exception):
    """A file that cannot be used; the message begins with the line: ``line 7: …``."""


def parse(text: str) -> list[dict[str, Any]]:
    """The objects of a file, checked. Raises ManifestError on the first error: a file is taken whole or not at all."""
    objects = []
    for line, raw in _documents(text):
        items = raw.get("items") if raw.get("kind") == "List" else [raw]
        if not isinstance(items, list):
            raise ManifestError(f"line {line}: a List needs a list of items")
        for entry in items:
            try:
                _check(entry)
            except DecodeError as error:
                raise ManifestError(f"line {line}: {error}") from None
            objects.append(entry)
    return objects


def _documents(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """``(first line, object)`` of each document that is not empty."""
    try:
        lines = list(_first_lines(text))
        documents = list(yaml.load_all(text, Loader=_LOADER))
        documents = _Plain(most=max(len(text), FEWEST)).of(documents)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"line {mark.line + 1}: " if mark else ""
        raise ManifestError(f"{where}not YAML: {error.problem or error.context}") from None
    except RecursionError:
        raise ManifestError("line 1: an alias (*) stands inside of what it repeats") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError) as error:
        # PyYAML itself fails in all these ways on values that do not fit an explicit tag, as in `!!bool maybe`.
        raise ManifestError(f"line 1: not YAML: {' '.join(str(error).split()) or type(error).__name__}") from None
    for line, document in zip(lines, documents, strict=True):
        if document is None:
            continue
        if not isinstance(document, dict):
            raise ManifestError(f"line {line}: an object was expected, not {type(document).__name__}")
        yield line, document


def _first_lines(text: str) -> Iterator[int]:
    """The line on which each document begins. Raises ManifestError where one nests too deep for the C loader's stack."""
    depth, line = 0, 0
    keys = _Keys()
    for event in yaml.parse(text, Loader=_LOADER):
        keys.see(event)
        if isinstance(event, yaml.DocumentStartEvent):
            line = 0
        elif isinstance(event, yaml.NodeEvent) and not line:
            line = _line(event)
            yield line
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEEPEST:
            raise ManifestError(f"line {_line(event)}: nested more than {DEEPEST} deep")


class _Keys:
    """Sees to it that no mapping has a key twice: YAML takes the last, and nobody sees which that is."""

    def __init__(self) -> None:
        self._open: list[set[str] | None] = []  # keys of each mapping around; None: a sequence
        self._key = [False]  # whether the next node at each level is a key

    def see(self, event: yaml.Event) -> None:
        """The next event. Raises ManifestError."""
        if isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()
            self._key.pop()
            return
        if not isinstance(event, yaml.NodeEvent):
            return
        known = self._open[-1] if self._open else None
        if known is not None:
            if self._key[-1] and isinstance(event, yaml.ScalarEvent):
                if event.value in known and event.value != "<<":
                    raise ManifestError(f"line {_line(event)}: {event.value} is there twice: remove one")
                known.add(event.value)
            self._key[-1] = not self._key[-1]
        if isinstance(event, yaml.CollectionStartEvent):
            self._open.append(set() if isinstance(event, yaml.MappingStartEvent) else None)
            self._key.append(True)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Plain:
    """YAML values as JSON has them: keys are strings, and so are unquoted timestamps, of which YAML makes dates.

    Aliases are written out. Ten short lines can repeat each other to a thousand million values: so many are refused.
    """

    def __init__(self, most: int) -> None:
        self._left = most

    def of(self, value: Any) -> Any:
        self._left -= 1
        if self._left < 0:
            raise ManifestError("line 1: aliases (*) repeat more than can be read: write it out, or leave them out")
        if isinstance(value, dict):
            return {str(key): self.of(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.of(entry) for entry in value]
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
