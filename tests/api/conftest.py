"""One API server for all tests of this folder, and a namespace for each."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.api_proxy import ApiProxy, api_proxy
from tests.support.kube import Cluster
from tests.support.operating import Site

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def kube() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
def namespace(kube: Cluster) -> Iterator[str]:
    with kube.namespace(f"test-{next(_numbers)}") as name:
        yield name


@pytest.fixture
def site(kube: Cluster, namespace: str) -> Iterator[Site]:
    site = Site(kube, namespace)
    yield site
    site.clean()


@pytest.fixture
async def proxy(kube: Cluster, tmp_path: Path) -> AsyncIterator[ApiProxy]:
    """A way to the API server on which faults can be made."""
    async with api_proxy(kube, tmp_path) as made:
        yield made
