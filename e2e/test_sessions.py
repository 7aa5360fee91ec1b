"""Sticky clients while the application grows and shrinks: only sessions of pods that went away move."""

from __future__ import annotations

import collections
from collections.abc import Callable

import pytest

from e2e.support import objects
from e2e.support.report import Report
from e2e.support.site import Site

STICKY = {"type": "Cookie", "name": "SERVERID", "ttl": "1h"}


def moves(report: Report) -> list[tuple[str, str, str]]:
    """Client, pod that it left, pod that it went to; for each time that a client changed its pod."""
    last: dict[str, str] = {}
    found = []
    for request in sorted(report.requests, key=lambda one: one.began):
        if request.pod and last.setdefault(request.client, request.pod) != request.pod:
            found.append((request.client, last[request.client], request.pod))
            last[request.client] = request.pod
    return found


@pytest.mark.telling
@pytest.mark.timeout(300)
def test_only_sessions_of_pods_that_went_away_move(site: Site, proved: Callable[[str], None]) -> None:
    site.app("web", replicas=2)
    site.policy({"web": 1}, route=objects.RETRY, sessionPersistence=STICKY)
    running = site.load("--rate", "60", "--clients", "20", "--cookies")
    running.more(200)
    site.scale("web", 10)
    running.more(200)
    assert not moves(running.seen()), "a client moved though its pod had not gone"

    # Clients that come now find ten pods.
    second = site.load("--rate", "60", "--clients", "20", "--cookies")
    second.more(200)
    before = set(site.pods("web"))
    site.scale("web", 3)
    site.cluster.wait_for(lambda: len(site.pods("web")) == 3, "seven pods are gone", seconds=120)
    left = before - set(site.pods("web"))
    for load in (running, second):
        load.more(200)
    report = Report.joined([running.stop(), second.stop()])
    moved = moves(report)
    times = collections.Counter(client for client, _, _ in moved)

    assert not report.failed, report.words()
    assert moved
    kept = [move for move in moved if move[1] not in left]
    assert not kept, (kept, sorted(left), sorted(before))
    # A client may follow a pod that goes in its turn: seven go at once, and their slices tell it in a few steps.
    assert max(times.values()) <= 3, times
    proved(
        f"2 -> 10 -> 3: no session moved while pods came, {len(moved)} of 80 clients' did, each from a pod that went away; "
        f"{report.words()}"
    )
