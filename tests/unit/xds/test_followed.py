"""What follows a load assignment says what making it from nothing says, also after nonsense."""

from __future__ import annotations

import pytest

from fairlead_xds.features.endpoints import Health
from fairlead_xds.model import Endpoint, LoadAssignment
from fairlead_xds.translate.endpoints import cluster_load_assignment
from fairlead_xds.translate.followed import Followed


def _of(*endpoints: Endpoint) -> LoadAssignment:
    return LoadAssignment("web", endpoints)


A, B, C = (Endpoint(f"192.0.2.{number}", 80) for number in (1, 2, 3))


def test_one_that_failed_half_way_is_not_followed() -> None:
    followed = Followed()
    followed.encode(_of(A, B))
    with pytest.raises(ValueError, match="range"):
        followed.encode(_of(A, Endpoint("192.0.2.9", 2**40)))
    assert followed.encode(_of(A, B, C)) == cluster_load_assignment(_of(A, B, C))


def test_an_address_that_is_there_twice_is_not_followed() -> None:
    followed = Followed()
    twin = A._replace(health=Health.DEGRADED)
    for now in (_of(A, twin, B), _of(A, B), _of(A, twin, B, C), _of(twin, B, C)):
        assert followed.encode(now) == cluster_load_assignment(now)
