"""One write a change, the latest wins, and no loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead_operator.api.meta import Ref
from fairlead_operator.sources.backoff import RECONNECT
from fairlead_operator.sources.client import ApiError
from fairlead_operator.status_writer import StatusWriter, difference

SHOP = Ref("LoadBalancerPolicy", "shop", "shop")
JSON = st.recursive(
    st.integers() | st.text(max_size=3) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(OBJECTS, OBJECTS)
def test_the_difference_leads_from_the_old_to_the_new(old: Any, new: Any) -> None:
    assert merged(old, difference(old, new)) == new


@given(OBJECTS)
def test_equal_objects_differ_in_nothing(value: Any) -> None:
    assert difference(value, value) == {}


class Api:
    """An API server with one policy."""

    def __init__(self, *, drops: str = "") -> None:
        self.uid, self.version, self.status = "u1", 1, dict[str, Any]()
        self.patches: list[dict[str, Any]] = []
        self.errors: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.changed = asyncio.Event()
        self._drops = drops

    def raw(self) -> dict[str, Any]:
        metadata = {"uid": self.uid, "resourceVersion": str(self.version), "generation": 1}
        return {"metadata": metadata, "status": dict(self.status)}

    async def merge_patch(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        assert path == "/apis/fairlead.dev/v1alpha1/namespaces/shop/loadbalancerpolicies/shop/status"
        self.patches.append(patch)
        await self.gate.wait()
        if self.errors:
            raise self.errors.pop(0)
        if patch["metadata"]["uid"] != self.uid:
            raise ApiError(409, "another uid")
        after = merged(self.status, patch["status"])
        after.pop(self._drops, None)
        if after != self.status:
            self.status, self.version = after, self.version + 1
            self.changed.set()
        return self.raw()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_status_that_is_there_already_is_not_written() -> None:
    api = Api()
    api.status = {"a": 1}
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    writer.write(SHOP, {"a": 1})
    await settle()
    assert (api.patches, writer.writes) == ([], 0)


async def test_while_a_write_is_in_flight_the_latest_wins() -> None:
    api = Api()
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    api.gate.clear()
    for number in range(5):
        writer.write(SHOP, {"a": number})
        await settle()
    api.gate.set()
    await settle()
    assert [patch["status"] for patch in api.patches] == [{"a": 0}, {"a": 4}]
    assert (writer.writes, api.status) == (2, {"a": 4})


async def test_a_policy_that_changes_again_and_again_is_written_now_and_then_and_to_the_end() -> None:
    api = Api()
    writer = StatusWriter(api, pace=(3, 0.5))
    writer.seen(SHOP, api.raw())
    for number in range(10):
        writer.write(SHOP, {"a": number})
        await settle()
    assert (writer.writes, api.status) == (3, {"a": 2})

    async with asyncio.timeout(5):
        while api.status != {"a": 9}:
            api.changed.clear()
            await api.changed.wait()
    assert writer.writes == 4


async def test_the_event_of_the_own_write_causes_none() -> None:
    api = Api()
    writer = StatusWriter(api)
    before = api.raw()
    writer.seen(SHOP, before)
    writer.write(SHOP, {"a": 1})
    await settle()
    writer.seen(SHOP, api.raw())
    writer.seen(SHOP, before)  # late
    await settle()
    assert writer.writes == 1


async def test_what_the_server_drops_is_not_written_for_ever() -> None:
    api = Api(drops="unknown")
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    writer.write(SHOP, {"a": 1, "unknown": 2})
    await settle()
    writer.seen(SHOP, api.raw())
    await settle()
    assert writer.writes == 1


async def test_failures_are_repeated_with_what_is_wanted_by_then() -> None:
    api = Api()
    api.errors = [ApiError(500, "no"), TimeoutError()]
    writer = StatusWriter(api, backoff=(0.001, 0.001))
    writer.seen(SHOP, api.raw())
    writer.write(SHOP, {"a": 1})
    async with asyncio.timeout(1):
        await api.changed.wait()
    assert (api.status, writer.failures) == ({"a": 1}, 2)


async def test_an_api_server_that_was_away_is_written_to_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do its first refusals, when it comes back, count as more of a long row of failures."""
    delays, pause = list[float](), asyncio.sleep

    async def hurried(delay: float) -> None:
        delays.append(delay)
        await pause(0)

    monkeypatch.setattr(asyncio, "sleep", hurried)
    api = Api()
    api.errors = [*(ConnectionRefusedError() for _ in range(15)), ApiError(503, "starting")]
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    writer.write(SHOP, {"a": 1})
    async with asyncio.timeout(5):
        await api.changed.wait()
    assert max(delays) <= RECONNECT
    assert delays[-1] <= 0.2


async def test_an_object_of_the_same_name_that_came_after_is_not_written_to_unseen() -> None:
    api = Api()
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    api.uid = "u2"
    writer.write(SHOP, {"a": 1})
    await settle()
    assert (writer.writes, len(api.patches), api.status) == (0, 1, {})
    writer.seen(SHOP, api.raw())
    await settle()
    assert api.status == {"a": 1}


async def test_who_changes_the_object_while_a_write_is_in_flight_does_not_end_the_writing() -> None:
    """A conflict: the watch shows the other writer's version before the answer is here."""
    api = Api()
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    api.gate.clear()
    api.errors = [ApiError(409, "conflict")]
    writer.write(SHOP, {"a": 1})
    await settle()
    api.version += 1
    writer.seen(SHOP, api.raw())
    api.gate.set()
    await settle()
    assert (api.status, writer.writes) == ({"a": 1}, 1)


@pytest.mark.parametrize("status", [404, 409])
async def test_a_successor_that_is_seen_while_the_write_to_the_one_before_is_in_flight_gets_its_status(
    status: int,
) -> None:
    api = Api()
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    api.gate.clear()
    api.errors = [ApiError(status, "no such object")]
    writer.write(SHOP, {"a": 1})
    await settle()
    api.uid, api.version = "u2", 5
    writer.seen(SHOP, api.raw())
    api.gate.set()
    await settle()
    assert [patch["metadata"]["uid"] for patch in api.patches] == ["u1", "u2"]
    assert api.status == {"a": 1}


async def test_a_policy_that_is_gone_is_forgotten() -> None:
    api, writer = await _writing()
    writer.forget(SHOP)
    writer.write(SHOP, {"a": 2})
    api.gate.set()
    await settle()
    assert (writer.writes, len(api.patches)) == (0, 1)
    await writer.stop()


async def test_of_several_processes_one_writes() -> None:
    api, leads = Api(), True
    api.status = {"a": 1}
    writer = StatusWriter(api)
    writer.only_while(lambda: leads)
    writer.seen(SHOP, api.raw())
    writer.write(SHOP, {"a": 2})
    await settle()
    assert api.patches == []

    assert writer.begin() == {SHOP: {"a": 1}}
    await settle()
    assert api.patches == []  # what was wanted before is not: it is computed anew
    writer.write(SHOP, {"a": 3})
    await settle()
    assert api.status == {"a": 3}

    leads = False  # the Lease has run out, and this process does not know yet
    writer.write(SHOP, {"a": 4})
    await settle()
    assert api.status == {"a": 3}

    leads = True
    writer.pause()
    writer.write(SHOP, {"a": 5})
    writer.seen(SHOP, api.raw())
    await settle()
    assert (api.status, writer.writes) == ({"a": 3}, 1)


async def _writing() -> tuple[Api, StatusWriter]:
    """The first write is in flight."""
    api = Api()
    writer = StatusWriter(api)
    writer.seen(SHOP, api.raw())
    api.gate.clear()
    writer.write(SHOP, {"a": 1})
    await settle()
    return api, writer


async def test_a_write_in_flight_is_given_up_with_the_lead() -> None:
    api, writer = await _writing()
    writer.pause()
    api.gate.set()
    await settle()
    assert (writer.writes, api.status) == (0, {})
    writer.begin()
    writer.write(SHOP, {"a": 2})
    await settle()
    assert api.status == {"a": 2}


async def test_the_lead_is_lost_and_won_again_before_the_write_in_flight_knows() -> None:
    api, writer = await _writing()
    writer.pause()
    writer.begin()
    writer.write(SHOP, {"a": 2})
    api.gate.set()
    await settle()
    assert api.status == {"a": 2}
    await writer.stop()


async def test_each_write_is_told_with_what_was_there_before() -> None:
    api, told = Api(), list[tuple[Any, Any]]()
    writer = StatusWriter(api, on_written=lambda _ref, _uid, before, after: told.append((before, after)))
    writer.seen(SHOP, api.raw())
    api.gate.clear()
    writer.write(SHOP, {"a": 1})
    await settle()
    api.gate.set()
    await settle()
    writer.seen(SHOP, api.raw())
    writer.write(SHOP, {"a": 2})
    await settle()
    assert told == [({}, {"a": 1}), ({"a": 1}, {"a": 2})]
