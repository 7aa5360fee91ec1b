"""Everything is deleted, in every order; what is not deleted goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.site import Site


@pytest.mark.timeout(420)
def test_delete_in_every_order(site: Site, proved: Callable[[str], None]) -> None:
    site.app("stays")
    site.policy({"stays": 1})
    running = site.load("--rate", "50")
    goes = objects.policy(site.namespace, {"goes": 1}, hostname=f"goes.{site.hostname}")
    goes["metadata"]["name"] = "goes"
    parts = {
        "policy": goes,
        "service": objects.service(site.namespace, "goes"),
        "deployment": objects.deployment(site.namespace, "goes", replicas=1, drain=0),
    }
    orders = list(itertools.permutations(parts))
    for order in orders:
        for part in parts.values():
            site.cluster.apply(part)
        site.cluster.programmed(goes)
        for name in order:
            site.cluster.delete(parts[name])
        site.cluster.wait_for(
            lambda: all(site.absent(part) for part in parts.values()), f"{order} are gone", seconds=60
        )
        running.more(50)
    report = running.stop()

    assert not report.failed, report.words()
    proved(
        f"policy, Service and Deployment deleted in all {len(orders)} orders; the site beside them: {report.words()}"
    )
