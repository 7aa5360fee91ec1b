"""Snapshots: what is carried over from one to the next is what would be found from nothing."""

from __future__ import annotations

import random

import pytest

from fairlead_xds.snapshot import EMPTY, Snapshot, TypeUrl
from tests.support.xds_resources import blob


@pytest.mark.parametrize("asked_before", [True, False])
def test_the_version_of_a_type_is_that_of_the_whole_however_it_came_about(asked_before: bool) -> None:
    dice = random.Random(7)
    snapshot, known = EMPTY, {}
    for _ in range(50):
        if asked_before:
            for type_url in TypeUrl:
                snapshot.type_version(type_url)
        new = [blob(dice.choice(list(TypeUrl)), dice.choice("abcd"), dice.choice("xyz")) for _ in range(2)]
        known.update({(resource.type_url, resource.name): resource for resource in new})
        snapshot = snapshot.with_resources(new)
        whole = Snapshot.of(known.values())
        assert snapshot.by_type == whole.by_type
        assert all(snapshot.type_version(type_url) == whole.type_version(type_url) for type_url in TypeUrl)
