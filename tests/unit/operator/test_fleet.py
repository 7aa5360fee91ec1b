"""Counting what proxies have: the short way says what asking each proxy for each policy says."""

from __future__ import annotations

import random
from dataclasses import dataclass

import pytest

from fairlead_operator.api.meta import Ref
from fairlead_operator.fleet import Fleet, has_version, resources_by_policy
from fairlead_xds.observer import Proxy
from fairlead_xds.protocol.delta import DeltaStream
from fairlead_xds.protocol.events import Response
from fairlead_xds.protocol.node import Node
from fairlead_xds.protocol.sotw import SotwStream
from fairlead_xds.protocol.stream import Stream
from fairlead_xds.snapshot import Origin, Resource, Snapshot, TypeUrl
from fairlead_xds.testing import Client, DeltaClient, SotwClient
from tests.support import xds_resources

POLICIES = [Ref("LoadBalancerPolicy", "shop", name) for name in "abc"]


@dataclass
class Link:
    """A stream and its client; what they say to each other may be delivered late."""

    stream: Stream
    client: Client
    requests: list[bytes]

    def deliver(self, count: int) -> None:
        for _ in range(count):
            if self.requests:
                self.hear(self.stream.receive(self.requests.pop(0)))

    def hear(self, events: object) -> None:
        assert isinstance(events, list)
        for event in events:
            if isinstance(event, Response):
                self.requests += self.client.receive(event.body)


def _snapshot(dice: random.Random) -> Snapshot:
    names = dice.sample("vwxyz", dice.randint(0, 5))
    resources = [*(xds_resources.cluster(name, connect_timeout=dice.randint(1, 3)) for name in names)]
    resources += [xds_resources.endpoints(name, 9000) for name in names]
    if names:
        resources.append(xds_resources.listener("http", route="main", stat_prefix=dice.choice("pq")))
        resources.append(xds_resources.route("main", dice.choice(names)))
    owned = []
    for resource in resources:
        origins = tuple(Origin(*owner) for owner in dice.sample(POLICIES, dice.randint(1, 3)))
        owned.append(Resource(resource.type_url, resource.name, resource.body, origins))
    return Snapshot.of(owned)


def _refuse(type_url: TypeUrl, name: str, body: bytes) -> str | None:
    return "bad" if type_url is TypeUrl.CLUSTER and len(body) % 5 == 0 and name == "v" else None


@pytest.mark.parametrize("seed", range(20))
def test_a_rollout_counts_the_proxies_that_have_all_of_a_policy(seed: int) -> None:
    dice = random.Random(seed)
    snapshot = _snapshot(dice)
    links = []
    for number in range(6):
        client = (DeltaClient if number % 2 else SotwClient)(f"edge-{number}", refuse=_refuse)
        stream = (DeltaStream if number % 2 else SotwStream)(snapshot)
        links.append(Link(stream, client, client.start()))
    proxies = [Proxy("edge", Node(), "", 0.0, link.stream) for link in links]
    fleet = Fleet(lambda: proxies)
    for _ in range(15):
        if dice.random() < 0.4:
            snapshot = _snapshot(dice)
        for link in links:
            if dice.random() < 0.6:
                link.hear(link.stream.publish(snapshot))
            link.deliver(dice.randint(0, 6))
        fleet.published({"edge": snapshot})
        fleet.survey()
        for ref in POLICIES:
            asked = resources_by_policy(snapshot).get(ref, set())
            expected = sum(
                all(has_version(proxy, kind, name, snapshot.resources(kind)[name].version) for kind, name in asked)
                for proxy in proxies
            )
            rollout = fleet.rollout(ref, ["edge"], None)
            assert (rollout.programmed, rollout.connected) == (expected, len(proxies))
        for proxy in proxies:
            for kind in TypeUrl:
                known = proxy.stream.snapshot.resources(kind)
                assert set(proxy.stream.lacking(kind)) == {name for name in known if not proxy.has(kind, name)}


def test_proxies_of_other_gateways_do_not_count() -> None:
    snapshot = _snapshot(random.Random(1))
    fleet = Fleet(lambda: [Proxy("other", Node(), "", 0.0, DeltaStream(snapshot))])
    fleet.published({"edge": snapshot, "other": snapshot})
    fleet.survey()
    assert fleet.rollout(POLICIES[0], ["edge"], None).connected == 0
    assert fleet.rollout(POLICIES[0], ["edge", "other"], None).connected == 1
