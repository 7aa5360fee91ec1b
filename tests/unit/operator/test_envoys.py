"""Which gateways have an Envoy, as manifests name them and name them no more."""

from __future__ import annotations

import asyncio
from typing import cast

from fairlead_operator.envoy import Envoy
from fairlead_operator.envoys import PATIENCE, Envoys


class Fake:
    """An Envoy that knows whether it runs."""

    def __init__(self, name: str) -> None:
        self.name, self.runs = name, True

    async def stop(self) -> None:
        self.runs = False


class Scene:
    def __init__(self) -> None:
        self.made: list[Fake] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.envoys = Envoys(self._start)

    async def _start(self, gateway: str) -> Envoy:
        await self.go_on.wait()
        self.made.append(Fake(gateway))
        return cast("Envoy", self.made[-1])

    async def look(self, *gateways: str, times: int = 1) -> list[str]:
        """Names of the Envoys that have ended."""
        return [envoy.name for _ in range(times) for envoy in (await self.envoys.follow(gateways))[1]]

    def running(self) -> list[str]:
        return sorted(envoy.name for envoy in self.made if envoy.runs)


async def test_each_gateway_has_one() -> None:
    scene = Scene()

    await scene.look("edge")
    await scene.look("edge", "inner")

    assert scene.running() == ["edge", "inner"]
    assert len(scene.made) == 2


async def test_a_gateway_that_is_renamed_leaves_none() -> None:
    scene = Scene()
    await scene.look("edge")
    (old,) = scene.envoys.now

    assert await scene.look("front", times=PATIENCE - 1) == []
    assert scene.running() == ["edge", "front"]
    assert scene.envoys.wanted(old)
    assert await scene.look("front") == ["edge"]

    assert scene.running() == ["front"]
    assert not scene.envoys.wanted(old)
    assert await scene.look("front", times=PATIENCE) == []


async def test_a_gateway_that_is_away_for_a_moment_keeps_its_own() -> None:
    """However often: the looks are counted in a row."""
    scene = Scene()
    for _ in range(3):
        await scene.look("edge")
        await scene.look(times=PATIENCE - 1)

    assert len(scene.made) == 1
    assert scene.running() == ["edge"]


async def test_a_gateway_that_comes_back_has_a_new_one() -> None:
    scene = Scene()
    await scene.look("edge")
    await scene.look(times=PATIENCE)
    await scene.look("edge")

    assert [envoy.runs for envoy in scene.made] == [False, True]


async def test_the_end_waits_for_one_that_is_being_started() -> None:
    """Nobody would end it otherwise."""
    scene = Scene()
    scene.go_on.clear()
    looking = asyncio.create_task(scene.look("edge"))
    await asyncio.sleep(0)
    ending = asyncio.create_task(scene.envoys.end())
    await asyncio.sleep(0)
    scene.go_on.set()
    await asyncio.gather(looking, ending)

    assert len(scene.made) == 1
    assert scene.running() == []
    await scene.look("edge")
    assert len(scene.made) == 1
