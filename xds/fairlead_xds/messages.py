"""Envoy's message classes without a validator each: a third of the memory of a fresh process, and a second of its start.

``envoy-data-plane`` makes every message a pydantic dataclass: for hundreds of classes, most of which are never used, types
are resolved, schemas and validators built. Fairlead makes messages only of values that it has validated itself. So the
classes are made as plain dataclasses, with the same fields and the same bytes; the tests keep the validators, to find
mistakes in our own translation, and hold the two against each other.

Imported by the package itself, before anything else of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
from collections.abc import Iterator
from typing import Any

import pydantic.dataclasses

VALIDATED = "FAIRLEAD_VALIDATE_MESSAGES"
"""The environment variable that keeps the validators; read when the package is imported."""


@contextlib.contextmanager
def _plain_dataclasses() -> Iterator[None]:
    """While this lasts, who asks pydantic for a dataclass gets a plain one."""

    def dataclass(*classes: type, config: Any = None, **options: Any) -> Any:  # noqa: ARG001 - it is pydantic's
        return dataclasses.dataclass(*classes, **options)

    original = pydantic.dataclasses.dataclass
    pydantic.dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        pydantic.dataclasses.dataclass = original


def load() -> None:
    """Import all message classes that translation uses."""
    if os.environ.get(VALIDATED):
        return
    with _plain_dataclasses():
        importlib.import_module("fairlead_xds.translate")
