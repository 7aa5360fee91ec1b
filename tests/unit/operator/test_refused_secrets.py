from __future__ import annotations

from fairlead_operator.api.meta import Ref
from fairlead_operator.refused_secrets import RefusedSecrets
from fairlead_xds.snapshot import Origin, Resource, Snapshot, TypeUrl

POLICY = Ref("LoadBalancerPolicy", "shop", "a")


def _secret(content: str, generation: int = 1) -> Resource:
    return Resource(TypeUrl.SECRET, "shop/tls", content.encode(), (Origin(*POLICY, generation),))


GOOD, BAD = _secret("good"), _secret("bad", generation=2)


def _refused() -> RefusedSecrets:
    secrets = RefusedSecrets()
    secrets.wanted({"edge": Snapshot.of([GOOD])})
    secrets.accept(GOOD)
    secrets.wanted({"edge": Snapshot.of([BAD])})
    assert secrets.refuse(BAD, "too weak", "edge-1")
    return secrets


def test_the_last_good_form_stands_in() -> None:
    served = _refused().stand_in(Snapshot.of([BAD])).get(TypeUrl.SECRET, "shop/tls")
    assert served is not None
    assert served.version == GOOD.version
    assert served.origins == BAD.origins


def test_the_policy_has_the_words_of_every_proxy() -> None:
    secrets = _refused()
    assert not secrets.refuse(BAD, "too weak", "edge-2")
    refusal = secrets.refusal(POLICY, ["edge"])
    assert refusal is not None
    assert (refusal.message, refusal.proxies) == ("too weak", {"edge-1", "edge-2"})
    assert secrets.refusal(POLICY, ["other"]) is None


def test_a_corrected_form_clears_it() -> None:
    secrets = _refused()
    better = Snapshot.of([_secret("better")])
    secrets.wanted({"edge": better})
    assert secrets.stand_in(better) is better
    assert secrets.refusal(POLICY, ["edge"]) is None


def test_without_a_good_form_nothing_stands_in() -> None:
    secrets = RefusedSecrets()
    snapshot = Snapshot.of([BAD])
    secrets.wanted({"edge": snapshot})
    secrets.refuse(BAD, "too weak", "edge-1")
    assert secrets.stand_in(snapshot) is snapshot


def test_what_nobody_asks_for_is_forgotten() -> None:
    secrets = _refused()
    secrets.wanted({})
    snapshot = Snapshot.of([BAD])
    secrets.wanted({"edge": snapshot})
    assert secrets.stand_in(snapshot) is snapshot
