"""A hundred faults, one after the other, while four loads count what they cost: Fairlead's two ways and two without it."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable

import pytest

from e2e.support import dump, faults, objects
from e2e.support.faults import Faults
from e2e.support.machines import Machines
from e2e.support.nodes import Nodes
from e2e.support.round_robin import AllPods
from e2e.support.site import EVERY_WAY, OTHER_WAYS, Site

#: Others: `FAULTS_SEED=7 FAULTS=20 make e2e ARGS="-k random_faults"`.
SEED = int(os.environ.get("FAULTS_SEED", "1"))
COUNT = int(os.environ.get("FAULTS", "100"))
WAYS = (*EVERY_WAY, *OTHER_WAYS)


@pytest.mark.timeout(3600)
def test_random_faults_beside_kube_proxy_and_plain_round_robin(
    site: Site, nodes: Nodes, hosts: Machines, proved: Callable[[str], None]
) -> None:
    safe, lost = nodes.workers()[:2]
    site.app("web", replicas=faults.REPLICAS, drain=3, liveness=objects.QUICK)
    route = {"timeouts": {"request": "10s", "backendRequest": "1s"}, **objects.RETRY}
    site.policy({"web": 1}, route=route, healthCheck={"passive": {}})
    words = ("--rate", "25", "--clients", "20", "--timeout", "5", "--new-connections")
    running = site.load(*words, node=safe, ways=WAYS)
    doing = Faults(site, nodes, hosts, lost, SEED)
    with AllPods(site.cluster, site.namespace, "web", running.ways["plain round robin"]):
        running.more(100)
        for kind in faults.plan(SEED, COUNT):
            done = doing.do(kind)
            print(f"{done.number}: {done.kind} {done.victim}, {done.ended - done.began:.0f} s", flush=True)
        report = running.stop()
    rows = faults.rows(doing.done, report)
    failures: Counter[str] = Counter()
    for row in rows:
        failures[row.way] += row.failed
    record = {
        "seed": SEED,
        "faults": [dataclasses.asdict(fault) for fault in doing.done],
        "rows": [dataclasses.asdict(row) for row in rows],
        "failed": [dataclasses.asdict(one) for one in report.failed],
    }
    dump.FOLDER.mkdir(exist_ok=True)
    file = dump.FOLDER / f"faults-{SEED}.json"
    file.write_text(json.dumps(record, indent=1))

    avoidable = [row for row in rows if row.way in EVERY_WAY and row.kind in faults.GENTLE and row.failed]
    assert not avoidable, f"{avoidable}\n{faults.table(rows)}"
    assert failures["a sidecar"] < failures["plain round robin"], faults.table(rows)
    proved(f"{COUNT} faults of seed {SEED}, recorded in {file.name}:\n{faults.table(rows)}")
