"""The reflector over a scripted client: pages, kinds that are not there, and bugs behind it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.client import ApiError, KubeClient
from fairlead_operator.sources.mirror import Kind
from fairlead_operator.sources.reflector import Reflector, Timings

GRANT = Kind("ReferenceGrant", "gateway.networking.k8s.io/v1beta1", "referencegrants", optional=True)
QUICK = Timings(backoff=(0.001, 0.001), absent=0.001)


class Script:
    """Answers lists with what stands in ``answers``, the last one for ever; watches stay silent."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        self.answers = list(answers)
        self.queries: list[dict[str, str]] = []

    async def get(self, _path: str, query: Mapping[str, str], *, accept: str = "") -> dict[str, Any]:
        self.queries.append(dict(query))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, *_: object, **__: object) -> AsyncIterator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield {}


class Sink:
    def __init__(self) -> None:
        self.names: set[str] = set()
        self.full = asyncio.Event()

    def apply(self, raw: dict[str, Any]) -> None:
        name = raw["metadata"]["name"]
        if name == "bug":
            raise RuntimeError("a bug behind the reflector")
        self.names.add(name)
        if name == "last":
            self.full.set()

    def delete(self, ref: Ref) -> None:
        self.names.discard(ref.name)


def page(*names: str, more: str = "") -> dict[str, Any]:
    items = [{"metadata": {"name": name, "namespace": "shop", "resourceVersion": "1"}} for name in names]
    return {"metadata": {"resourceVersion": "5", "continue": more}, "items": items}


async def run_until_full(script: Script) -> tuple[Reflector, Sink]:
    sink = Sink()
    reflector = Reflector(GRANT, cast("KubeClient", script), sink, timings=QUICK)
    task = asyncio.create_task(reflector.run())
    async with asyncio.timeout(1):
        await sink.full.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    return reflector, sink


async def test_pages_are_joined() -> None:
    script = Script(page("a", more="token"), page("last"))
    reflector, sink = await run_until_full(script)
    assert sink.names == {"a", "last"}
    assert [query.get("continue") for query in script.queries] == [None, "token"]
    assert (reflector.lists, reflector.synced.is_set()) == (1, True)


async def test_a_kind_that_the_cluster_lacks_counts_as_empty_is_told_once_and_looked_for_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    absent = ApiError(404, "not found")
    script = Script(absent, absent, absent, page("last"))
    reflector, sink = await run_until_full(script)
    assert (sink.names, reflector.failures) == ({"last"}, 0)
    assert len([record for record in caplog.records if "going on without" in record.message]) == 1


async def test_a_kind_that_is_absent_counts_as_listed() -> None:
    reflector = Reflector(GRANT, cast("KubeClient", Script(ApiError(404, "no"))), Sink(), timings=QUICK)
    task = asyncio.create_task(reflector.run())
    async with asyncio.timeout(1):
        await reflector.synced.wait()
    task.cancel()


async def test_errors_of_every_kind_are_survived_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    errors: list[Exception] = [
        ApiError(500, "a"),
        TimeoutError(),
        ValueError("no JSON"),
        KeyError("items"),
        OSError("b"),
    ]
    reflector, sink = await run_until_full(Script(*errors, {}, page("last")))
    assert (sink.names, reflector.failures) == ({"last"}, 6)
    assert len([record for record in caplog.records if "trying again" in record.message]) == 1


async def test_one_object_that_trips_over_a_bug_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    reflector, sink = await run_until_full(Script(page("a", "bug", "last")))
    assert (sink.names, reflector.failures) == ({"a", "last"}, 0)
    assert "ReferenceGrant shop/bug" in caplog.text


async def test_a_long_outage_does_not_make_the_first_refusals_after_it_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that comes back answers 503 or 404 at first: that is not the twelfth failure in a row."""
    slept: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    script = Script(*[OSError("no route")] * 12, ApiError(503, "starting"), page("last"))
    reflector = Reflector(GRANT, cast("KubeClient", script), Sink())
    running = asyncio.create_task(reflector.run())
    async with asyncio.timeout(10):
        await reflector.synced.wait()
    running.cancel()
    away, refused = slept[:12], slept[12]
    assert max(away) <= 2.0
    assert refused <= 0.1
