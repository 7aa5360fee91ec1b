"""``maxEjectionPercent: Auto``: one of two, one of three, never all that are left, whatever else Envoy counts."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from fairlead_operator.loop import ControlPlane
from fairlead_xds.features.passive import auto_percent
from fairlead_xds.store import Store
from tests.support.manifests import endpoint, endpoint_slice, listener, policy, service, site

DRAINING = {"ready": False, "serving": True, "terminating": True}


@pytest.mark.parametrize(
    ("fit", "endpoints", "percent"),
    [
        (0, 0, 50),
        (1, 1, 50),
        (2, 2, 50),
        (3, 3, 50),
        (10, 19, 50),
        (10, 20, 25),
        (1, 2, 25),
        (1, 4, 10),
        (1, 10, 0),
        (0, 4, 10),
    ],
)
def test_half_of_all_or_as_much_less_as_the_rest_demands(fit: int, endpoints: int, percent: int) -> None:
    assert auto_percent(fit, endpoints) == percent


def test_the_last_one_that_is_fit_is_never_ejected() -> None:
    """As Envoy counts: it ejects one more while (ejected + 1) / endpoints is at most the percentage."""
    for fit, rest in itertools.product(range(1, 60), range(200)):
        percent = auto_percent(fit, fit + rest)
        ejected = 0
        while (ejected + 1) * 100 <= percent * (fit + rest):
            ejected += 1
        assert ejected < fit


async def test_it_follows_the_endpoints_that_drain_and_goes_back() -> None:
    plane = ControlPlane(Store(), list)
    ready = [endpoint(f"10.0.0.{n}") for n in range(1, 5)]
    some = [*ready[:2], *(endpoint(f"10.0.0.{n}", **DRAINING) for n in (3, 4))]
    shop = policy("shop", site(listener(80), "web", healthCheck={"passive": {}}))
    for raw in (service("web"), endpoint_slice("web", 8080, ready), shop):
        plane.apply(raw)
    plane.synced()

    async def percent() -> object:
        await asyncio.sleep(0)
        plane.run_endpoints()
        (backend,) = plane.reconciled.proxies["edge"].backends
        assert backend.health_check is not None
        assert backend.health_check.passive is not None
        return backend.health_check.passive.max_ejection_percent

    assert await percent() == 50
    plane.apply(endpoint_slice("web", 8080, some))
    assert await percent() == 25
    plane.apply(endpoint_slice("web", 8080, ready))
    assert await percent() == 50


async def test_a_number_stays_what_it_is() -> None:
    plane = ControlPlane(Store(), list)
    some = [endpoint("10.0.0.1"), endpoint("10.0.0.2", **DRAINING)]
    shop = policy("shop", site(listener(80), "web", healthCheck={"passive": {"maxEjectionPercent": 50}}))
    for raw in (service("web"), endpoint_slice("web", 8080, some), shop):
        plane.apply(raw)
    plane.synced()
    (backend,) = plane.reconciled.proxies["edge"].backends
    assert backend.health_check is not None
    assert backend.health_check.passive is not None
    assert backend.health_check.passive.max_ejection_percent == 50
