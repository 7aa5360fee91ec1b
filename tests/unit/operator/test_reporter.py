"""The ConfigMaps of replicas: one each, written when something has changed, and read by all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.replicas import reporter as module
from fairlead_operator.replicas.peers import Doubt, Peers
from fairlead_operator.replicas.report import NOBODY, FleetReport, decode, encode
from fairlead_operator.replicas.reporter import LABEL, Reporter, kind, owners
from fairlead_operator.sources.client import ApiError

pytestmark = pytest.mark.timeout(10)


class Api:
    """Takes what is applied, unless told to fail."""

    def __init__(self) -> None:
        self.manifests: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.errors: list[Exception] = []
        self.moved = asyncio.Event()

    async def apply(self, path: str, manifest: dict[str, Any], *, manager: str) -> dict[str, Any]:
        assert manager == "fairlead-replica"
        self.moved.set()
        if self.errors:
            raise self.errors.pop()
        self.paths.append(path)
        self.manifests.append(manifest)
        return manifest

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.moved.clear()
            await self.moved.wait()


class NoBackoff:
    def __init__(self, *_: float) -> None:
        pass

    def next(self) -> float:
        return 0.0

    def reset(self) -> None:
        pass


class Bench:
    def __init__(self, *, lasting: float = 1000.0) -> None:
        self.api, self.peers = Api(), Peers("pod-1", lasting=lasting)
        self.doubts: list[Doubt] = []
        self.reporter = Reporter(
            self.api,
            "fairlead-system",
            self.peers,
            lasting=lasting,
            owner=owners("pod-1", "uid-1"),
            doubt=self.doubts.append,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Bench]:
        task = asyncio.create_task(self.reporter.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET", 0.0)


def raw(name: str, report: FleetReport, renewed: str = "a") -> dict[str, Any]:
    return {"kind": "ConfigMap", "metadata": {"name": name}, "data": {"report": encode(report), "renewed": renewed}}


async def test_a_replica_says_what_it_serves_and_says_it_again_when_that_changes() -> None:
    async with Bench().running() as bench:
        await bench.api.until(lambda: len(bench.api.manifests) == 1)
        bench.reporter.changed()  # nothing has
        bench.peers.serves({"edge": 2})
        bench.reporter.changed()
        await bench.api.until(lambda: len(bench.api.manifests) == 2)
    first, second = bench.api.manifests
    assert bench.api.paths == ["/api/v1/namespaces/fairlead-system/configmaps/pod-1"] * 2
    assert first["metadata"]["labels"] == {LABEL: "true"}
    assert first["metadata"]["ownerReferences"] == [
        {"apiVersion": "v1", "kind": "Pod", "name": "pod-1", "uid": "uid-1"}
    ]
    assert decode(first["data"]["report"]) == NOBODY
    assert decode(second["data"]["report"]).connected == {"edge": 2}
    assert bench.reporter.writes == 2


async def test_what_did_not_change_is_renewed_so_that_others_know_it_lives() -> None:
    async with Bench(lasting=0.06).running() as bench:
        await bench.api.until(lambda: len(bench.api.manifests) == 3)
    reports = {manifest["data"]["report"] for manifest in bench.api.manifests}
    assert len(reports) == 1
    assert len({manifest["data"]["renewed"] for manifest in bench.api.manifests}) == 3


async def test_a_replica_that_says_nothing_more_is_missed() -> None:
    bench = Bench(lasting=0.06)
    bench.reporter.apply(raw("pod-2", FleetReport({"edge": 1})))
    async with bench.running():
        await bench.api.until(lambda: bench.peers.others == [])
    assert bench.doubts == [None, None]


async def test_a_refused_write_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    bench.api.errors = [ApiError(500, "not now"), ConnectionError("gone")]
    monkeypatch.setattr(module, "Backoff", NoBackoff)
    async with bench.running():
        await bench.api.until(lambda: len(bench.api.manifests) == 1)
    assert bench.api.errors == []


async def test_the_reports_of_others_put_statuses_in_doubt() -> None:
    bench = Bench()
    bench.reporter.apply(raw("pod-2", FleetReport({"edge": 1})))
    assert bench.doubts == [None]
    bench.reporter.apply(raw("pod-2", FleetReport({"edge": 1}), "b"))
    bench.reporter.apply(raw("pod-1", FleetReport({"edge": 1})))
    assert bench.doubts == [None]
    bench.reporter.delete(Ref("ConfigMap", "fairlead-system", "pod-2"))
    assert bench.doubts == [None, None]
    assert bench.peers.others == []


async def test_what_is_no_report_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    bench.reporter.apply({"metadata": {"name": "pod-2"}, "data": {"report": "hello"}})
    bench.reporter.apply({"metadata": {"name": "pod-2"}})
    assert bench.doubts == []
    assert "pod-2" in caplog.text


async def test_who_ends_in_order_says_so() -> None:
    bench = Bench()
    bench.peers.serves({"edge": 3})
    await bench.reporter.farewell()
    assert decode(bench.api.manifests[-1]["data"]["report"]) == NOBODY
    bench.api.errors = [ConnectionError()]
    await bench.reporter.farewell()  # and does not insist


def test_only_reports_are_watched_in_one_namespace() -> None:
    watched = kind("fairlead-system")
    assert watched.path == "/api/v1/namespaces/fairlead-system/configmaps"
    assert watched.query == {"labelSelector": "fairlead.dev/replica-report=true"}


def test_without_a_pod_nobody_owns_the_report() -> None:
    assert owners("laptop", "") == []


async def test_it_ends_when_it_is_told_to_in_the_moment_of_a_change() -> None:
    """``asyncio.wait_for`` of Python 3.11 would go on for ever: the process would end by SIGKILL only."""
    bench = Bench()
    task = asyncio.create_task(bench.reporter.run())
    await bench.api.until(lambda: len(bench.api.manifests) == 1)
    for _ in range(20):
        await asyncio.sleep(0)  # it waits for a change now
    bench.peers.serves({"edge": 1})
    bench.reporter.changed()
    await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=2)
    assert done
