"""What the scenarios share. `make e2e` makes the cluster first; by hand: `make cluster`, then `.venv/bin/pytest e2e`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest

from e2e.support import dump, objects
from e2e.support.installation import Installation
from e2e.support.machines import Machines, machines
from e2e.support.nodes import Nodes
from e2e.support.running import RunningCluster, kubeconfig
from e2e.support.site import Site

PROVED = pytest.StashKey[list[str]]()
FAILED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[PROVED] = []
    config.addinivalue_line("markers", "telling: one of the few that say most; `make e2e ARGS='-m telling'`")


@pytest.fixture(scope="session")
def cluster() -> RunningCluster:
    file = kubeconfig()
    if not file.exists():
        pytest.exit(f"no cluster: {file} does not exist; `make e2e` makes one, `make cluster` too", returncode=2)
    return RunningCluster(file)


@pytest.fixture
def site(cluster: RunningCluster, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A namespace of the test's own, whose policies the gateway takes; everything in it goes with it."""
    name = f"e2e-{secrets.token_hex(3)}"
    labels = {objects.ACCESS: "edge"}
    with cluster.namespace(name):
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        yield Site(cluster, name)
        if request.node.stash.get(FAILED, False):
            folder = dump.write(cluster, name, request.node.name)
            _say(request.config, f"what the cluster was like then: {folder}", red=True)


@pytest.fixture
def installation(cluster: RunningCluster) -> Iterator[Installation]:
    """Whole before and after: what one scenario has killed is back before the next."""
    found = Installation(cluster)
    found.whole()
    yield found
    found.whole()


@pytest.fixture
def nodes(cluster: RunningCluster) -> Nodes:
    return Nodes(cluster)


@pytest.fixture
def hosts() -> Machines:
    found = machines()
    if found is None:
        pytest.skip("CLUSTER=current: its machines are not ours to stop")
    return found


@pytest.fixture
def proved(request: pytest.FixtureRequest) -> Iterator[Callable[[str], None]]:
    """``proved("…")``: every scenario says in one line what it has shown, with the numbers; one that does not fails."""
    said: list[str] = []
    yield said.append
    if request.node.stash.get(FAILED, False):
        return
    assert said, "the scenario says nothing about what it proved"
    for line in said:
        _say(request.config, f"proved: {line}", green=True)
        request.config.stash[PROVED].append(f"{request.node.name}: {line}")


def _say(config: pytest.Config, line: str, **markup: bool) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter and capture:
        with capture.global_and_fixture_disabled():
            reporter.write_line("")
            reporter.write_line(line, **markup)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if lines := config.stash[PROVED]:
        terminalreporter.section("proved")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call" and report.failed:  # type: ignore[attr-defined] # typeshed has no type for it here
        item.stash[FAILED] = True
    return report
