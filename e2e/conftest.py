"""What the scenarios share. `make e2e` makes the cluster first; by hand: `make cluster`, then `.venv/bin/pytest e2e`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from e2e.support import objects
from e2e.support.running import RunningCluster, kubeconfig
from e2e.support.site import Site


@pytest.fixture(scope="session")
def cluster() -> RunningCluster:
    file = kubeconfig()
    if not file.exists():
        pytest.exit(f"no cluster: {file} does not exist; `make e2e` makes one, `make cluster` too", returncode=2)
    return RunningCluster(file)


@pytest.fixture
def site(cluster: RunningCluster) -> Iterator[Site]:
    """A namespace of the test's own, whose policies the gateway takes; everything in it goes with it."""
    name = f"e2e-{secrets.token_hex(3)}"
    labels = {objects.ACCESS: "edge"}
    with cluster.namespace(name):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        yield Site(cluster, name)


@pytest.fixture
def proved(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """``proved("…")``: every scenario says in one line what it has shown, with the numbers; one that does not fails."""
    said: list[str] = []
    yield said.append
    failed = getattr(request.node, "failed", False)
    assert said or failed, "the scenario says nothing about what it proved"
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    capture = request.config.pluginmanager.get_plugin("capturemanager")
    if reporter and capture and not failed:
        with capture.global_and_fixture_disabled():
            for line in said:
                reporter.write_line("")
                reporter.write_line(f"proved: {line}", green=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined] # pluggy's result
    if report.when == "call" and report.failed:
        item.failed = True  # type: ignore[attr-defined]
