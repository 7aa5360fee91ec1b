"""Everything is deleted, in every order; what is not deleted goes on."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from e2e.support import objects
from e2e.support.site import Site


@pytest.mark.timeout(540)
def test_delete_in_every_order(site: Site, proved: Callable[[str], None]) -> None:
    site.app("stays")
    site.policy({"stays": 1})
    running = site.load("--rate", "50")
    parts = _site(site.namespace, f"goes.{site.hostname}")
    orders = list(itertools.permutations(parts))
    for order in orders:
        for part in parts.values():
            site.cluster.apply(part)
        site.cluster.programmed(parts["policy"])
        for name in order:
            site.cluster.delete(parts[name])
        site.cluster.wait_for(
            lambda: all(site.absent(part) for part in parts.values()), f"{order} are gone", seconds=60
        )
        running.more(20)
    report = running.stop()

    assert not report.failed, report.words()
    proved(
        f"policy, Secret, Service and Deployment deleted in all {len(orders)} orders; "
        f"the site beside them: {report.words()}"
    )


@pytest.mark.timeout(240)
def test_delete_a_namespace_with_all_that_is_in_it(site: Site, proved: Callable[[str], None]) -> None:
    site.app("stays")
    site.policy({"stays": 1})
    running = site.load("--rate", "50")
    name, rounds = f"{site.namespace}-goes", 3
    whole = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {objects.ACCESS: "edge"}}}
    parts = _site(name, f"goes.{site.hostname}")
    try:
        for _ in range(rounds):
            for part in (whole, *parts.values()):
                site.cluster.apply(part)
            site.cluster.programmed(parts["policy"])
            site.cluster.delete(whole)
            site.cluster.wait_for(lambda: site.absent(whole), f"{name} is gone", seconds=90)
            running.more(20)
    finally:
        if not site.absent(whole):
            site.cluster.delete(whole)
    report = running.stop()

    assert not report.failed, report.words()
    proved(f"a namespace with a whole site deleted {rounds} times; the site beside it: {report.words()}")


def _site(namespace: str, hostname: str) -> dict[str, dict[str, Any]]:
    """What goes: a site with a certificate, on the port 443 that only it has."""
    policy = objects.policy(namespace, {"goes": 1}, hostname=hostname, listener=objects.https("goes"))
    policy["metadata"]["name"] = "goes"
    return {
        "policy": policy,
        "secret": objects.certificate(namespace, "goes", hostname),
        "service": objects.service(namespace, "goes"),
        "deployment": objects.deployment(namespace, "goes", replicas=1, drain=0),
    }
