"""What lists and watches mean for the set of known objects of one kind. Pure; ``reflector`` does the reading.

A watch tells every change after a version; a list tells everything, but not what vanished since the last one: that is
the difference to what is known. https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from fairlead_operator.api.meta import DecodeError, Ref, ref_of


class Kind(NamedTuple):
    """A kind of object to be mirrored.

    Attributes:
        selector: a field selector that narrows lists and watches.
        optional: the cluster may not have this kind at all, which then counts as having no object of it.
        namespace: the only one that is looked at; empty: all.
        labels: a label selector.
        metadata: only the metadata of the objects is asked for, with annotations.
        annotations: they are read too.
        page: how many objects one answer to a list has at most; fewer where they are large.
    """

    kind: str
    api_version: str
    plural: str
    selector: str = ""
    optional: bool = False
    namespace: str = ""
    labels: str = ""
    metadata: bool = False
    annotations: bool = False
    page: int = 500

    @property
    def path(self) -> str:
        """URL path of the objects."""
        root = "apis" if "/" in self.api_version else "api"
        within = f"namespaces/{self.namespace}/" if self.namespace else ""
        return f"/{root}/{self.api_version}/{within}{self.plural}"

    @property
    def query(self) -> dict[str, str]:
        """What narrows lists and watches."""
        given = {"fieldSelector": self.selector, "labelSelector": self.labels}
        return {name: selector for name, selector in given.items() if selector}


class Apply(NamedTuple):
    """An object as it is now."""

    raw: dict[str, Any]


class Delete(NamedTuple):
    """An object that is gone."""

    ref: Ref


class ExpiredError(Exception):
    """The version is too old to watch from (410): list again."""


class UnexpectedError(Exception):
    """An event that means nothing that we know: list again, to be sure."""


class Mirror:
    """The names of one kind's objects, and the version up to which they are known.

    Attributes:
        version: the ``resourceVersion`` to watch from; empty: list first.
    """

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.version = ""
        self._known: set[Ref] = set()
        self._listed: set[Ref] = set()

    def start_list(self) -> None:
        """A list begins: what is not on any of its pages is gone."""
        self.version = ""
        self._listed = set()

    def page(self, body: dict[str, Any]) -> Iterator[Apply]:
        """The objects of one page of a list."""
        for item in body.get("items") or []:
            raw = self._trim(item)
            ref = ref_of(raw)
            self._listed.add(ref)
            self._known.add(ref)
            yield Apply(raw)

    def end_list(self, version: str) -> list[Delete]:
        """The last page has come; *version* is the list's."""
        gone = self._known - self._listed
        self._known, self._listed = self._listed, set()
        self.version = version
        return [Delete(ref) for ref in sorted(gone)]

    def event(self, event: Any) -> Apply | Delete | None:
        """What one watch event changes; None for a bookmark. Raises ExpiredError or UnexpectedError."""
        try:
            kind, raw = event["type"], event["object"]
            match kind:
                case "ERROR":
                    raise self._error(raw)
                case "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK":
                    version = str(raw["metadata"]["resourceVersion"])
                case _:
                    raise UnexpectedError(f"an event of type {kind}")
            step = None if kind == "BOOKMARK" else self._step(kind, self._trim(raw))
        except (TypeError, LookupError, AttributeError, DecodeError) as error:
            raise UnexpectedError(f"an event that cannot be read: {error!r}") from None
        self.version = version
        return step

    def _step(self, kind: str, raw: dict[str, Any]) -> Apply | Delete:
        ref = ref_of(raw)
        if kind == "DELETED":
            self._known.discard(ref)
            return Delete(ref)
        self._known.add(ref)
        return Apply(raw)

    @staticmethod
    def _error(status: Any) -> Exception:
        if isinstance(status, dict) and status.get("code") == 410:
            return ExpiredError(str(status.get("message", "")))
        return UnexpectedError(f"an error: {status.get('message') if isinstance(status, dict) else status}")

    def _trim(self, raw: dict[str, Any]) -> dict[str, Any]:
        """Without what nobody reads; with the kind, which the items of built-in lists lack."""
        unread = {"managedFields"} if self.kind.metadata or self.kind.annotations else {"managedFields", "annotations"}
        metadata = {key: value for key, value in raw["metadata"].items() if key not in unread}
        return {**raw, "kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
