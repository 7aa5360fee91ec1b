"""One API server for all tests of this folder, and a namespace for each that wants one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.kube import Cluster

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kube() -> Iterator[Cluster]:
    with Cluster() as cluster:
        cluster.install(Path(__file__).parent / "stub-crds.yaml")
        yield cluster


@pytest.fixture
def namespace(kube: Cluster) -> Iterator[str]:
    with kube.namespace(f"chart-{next(_numbers)}") as name:
        yield name
