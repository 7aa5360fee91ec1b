"""Certificates over virtual time: whatever happens, every proxy with a bundle of the last overlap believes the server."""

from __future__ import annotations

import base64
import datetime
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairlead_operator.trust import pem, storage
from fairlead_operator.trust.authority import Kept, Lives, Serving, Step, step, text
from fairlead_operator.trust.pem import Certificate, Pair, Unreadable

HOUR, DAY = datetime.timedelta(hours=1), datetime.timedelta(days=1)
START = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
NAMES = frozenset({"fairlead-xds.fairlead-system.svc", "fairlead-webhook.fairlead-system.svc"})
LIVES = Lives()

Json = dict[str, Any]


def advance(kept: Kept | None, serving: Serving | None, now: datetime.datetime, lives: Lives = LIVES) -> Step:
    return step(kept, serving, now=now, names=NAMES, lives=lives)


def begun(now: datetime.datetime = START) -> tuple[Kept, Serving]:
    made = advance(None, None, now)
    assert made.serving is not None
    return replace(made.kept, spread=now), made.serving


def test_the_first_certificates() -> None:
    made = advance(None, None, START)
    assert made.serving is not None
    leaf = made.serving.certificate
    assert made.kept.signer.is_ca
    assert made.kept.signer.signed(leaf)
    assert not leaf.is_ca
    assert leaf.names == NAMES
    assert made.kept.signer.not_after - START == LIVES.authority
    assert leaf.not_after - START == LIVES.serving
    assert made.serving.bundle == made.kept.bundle == (made.kept.signer,)
    assert made.due == leaf.at(2 / 3)
    again = advance(made.kept, made.serving, START + DAY)
    assert (again.kept, again.serving, again.reasons) == (made.kept, made.serving, ())


def test_the_serving_certificate_is_renewed_at_two_thirds_of_its_life() -> None:
    kept, serving = begun()
    assert advance(kept, serving, START + 59 * DAY).serving == serving
    after = advance(kept, serving, START + 61 * DAY)
    assert after.serving is not None
    assert after.serving.certificate.not_after == START + 151 * DAY
    assert kept.signer.signed(after.serving.certificate)
    assert after.kept == kept
    assert after.reasons == ("a new serving certificate: the old one is due",)


def test_other_names_take_another_serving_certificate() -> None:
    kept, serving = begun()
    after = step(kept, serving, now=START, names=NAMES | {"10.0.0.1"}, lives=LIVES)
    assert after.serving is not None
    assert "10.0.0.1" in after.serving.certificate.names


def test_the_timeline_of_a_rotation() -> None:
    kept, serving = begun()
    old = kept.signer
    # 1. The new authority joins the bundle, and nothing else happens before that is everywhere.
    joined = advance(replace(kept, asked=True), serving, START + DAY)
    assert joined.kept.coming is not None
    new = joined.kept.coming.certificate
    assert joined.kept.bundle == (old, new)
    assert joined.serving == replace(serving, bundle=(old, new))
    assert advance(joined.kept, joined.serving, START + 30 * DAY).kept.signer == old
    # 2. It is everywhere: one overlap later it signs.
    kept = replace(joined.kept, spread=START + 2 * DAY)
    waiting = advance(kept, joined.serving, START + 2 * DAY + HOUR * 0.99)
    assert (waiting.kept, waiting.due) == (kept, START + 2 * DAY + HOUR)
    signs = advance(kept, joined.serving, START + 2 * DAY + HOUR)
    assert signs.serving is not None
    assert signs.kept.signer == new
    assert new.signed(signs.serving.certificate)
    assert signs.kept.bundle == signs.serving.bundle == (old, new)
    assert signs.kept.key == joined.kept.coming.key
    # 3. One overlap after that the old one is gone.
    assert advance(signs.kept, signs.serving, START + 2 * DAY + HOUR * 1.99).kept == signs.kept
    done = advance(signs.kept, signs.serving, START + 2 * DAY + HOUR * 2)
    assert done.serving is not None
    assert done.kept.bundle == done.serving.bundle == (new,)
    assert done.serving.certificate == signs.serving.certificate


def test_the_authority_is_renewed_at_two_thirds_of_its_life() -> None:
    kept, serving = begun()
    late = START + 2440 * DAY
    serving = replace(serving, pair=pem.issue(Pair(kept.signer, kept.key), NAMES, late, LIVES.serving))
    assert advance(kept, serving, late - 10 * DAY).kept.coming is None
    assert advance(kept, serving, late).kept.coming is not None


def test_a_lost_authority_is_followed_by_one_that_waits_until_it_is_believed() -> None:
    kept, serving = begun()
    after = advance(None, serving, START + DAY)
    assert after.serving is not None
    assert after.serving.certificate == serving.certificate
    assert (after.kept.signer, after.kept.key) == (kept.signer, "")
    assert after.kept.coming is not None
    later = advance(replace(after.kept, spread=START + DAY), after.serving, START + DAY + HOUR)
    assert later.kept.signer == after.kept.coming.certificate


def test_an_authority_put_in_place_by_hand_takes_over_when_every_proxy_believes_it() -> None:
    kept, serving = begun()
    own = pem.make_authority(START, LIVES.authority)
    after = advance(Kept(signer=own.certificate, key=own.key), serving, START + DAY)
    assert after.serving is not None
    assert after.serving.certificate == serving.certificate
    assert after.kept.coming == own
    assert set(after.kept.bundle) == {kept.signer, own.certificate}
    later = advance(replace(after.kept, spread=START + DAY), after.serving, START + DAY + HOUR)
    assert later.serving is not None
    assert own.certificate.signed(later.serving.certificate)


def test_a_foreign_serving_certificate_is_replaced_and_its_authority_not_believed() -> None:
    kept, _ = begun()
    other = pem.make_authority(START, LIVES.authority)
    foreign = Serving(pair=pem.issue(other, NAMES, START, LIVES.serving), bundle=(other.certificate,))
    after = advance(kept, foreign, START + DAY)
    assert after.serving is not None
    assert kept.signer.signed(after.serving.certificate)
    assert after.kept == kept


def test_after_a_long_absence_it_serves_again_at_once() -> None:
    kept, serving = begun()
    late = START + 4000 * DAY
    after = advance(kept, serving, late)
    assert after.serving is not None
    assert after.kept.signer.signed(after.serving.certificate)
    assert after.kept.signer.not_after > late
    assert any("at once" in reason for reason in after.reasons)


# --- storage


def stored(kept: Kept) -> Json:
    return storage.write_kept(kept, None, name="fairlead-ca", namespace="fairlead-system")


def test_secrets_hold_everything() -> None:
    kept, serving = begun()
    joined = advance(replace(kept, asked=True), serving, START + DAY)
    signs = advance(replace(joined.kept, spread=START + DAY), joined.serving, START + 2 * DAY)
    for each in (kept, joined.kept, replace(joined.kept, spread=START), signs.kept, replace(kept, key="")):
        assert storage.read_kept(stored(each)) == each
    assert signs.serving is not None
    raw = storage.write_serving(signs.serving, None, name="fairlead-xds-tls", namespace="fairlead-system")
    assert storage.read_serving(raw) == signs.serving
    assert base64.b64decode(raw["data"]["ca.crt"]).decode() == text(signs.kept.bundle)


def test_a_bundle_made_by_hand_has_not_been_spread() -> None:
    kept, _ = begun()
    raw, other = stored(kept), pem.make_authority(START, LIVES.authority)
    assert storage.read_kept(raw).spread == START
    raw["data"]["previous.crt"] = base64.b64encode(other.certificate.pem.encode()).decode()
    assert storage.read_kept(raw).spread is None


def test_what_others_wrote_to_the_secret_stays() -> None:
    kept, _ = begun()
    old = stored(kept)
    old["metadata"].update(
        resourceVersion="7", uid="u", labels={"team": "a"}, annotations={"note": "b", storage.ROTATE: "please"}
    )
    assert storage.read_kept(old).asked
    raw = storage.write_kept(kept, old, name="fairlead-ca", namespace="fairlead-system")
    assert raw["metadata"]["resourceVersion"] == "7"
    assert raw["metadata"]["labels"]["team"] == "a"
    assert raw["metadata"]["annotations"]["note"] == "b"
    assert not storage.read_kept(raw).asked


def other_key() -> bytes:
    return pem.make_authority(START, DAY).key.encode()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("tls.crt", b"", "data[tls.crt] is missing"),
        ("tls.crt", b"garbage", "data[tls.crt] holds no PEM certificates"),
        ("tls.key", b"garbage", "data[tls.key] holds no unencrypted PEM private key"),
        ("tls.key", other_key(), "data[tls.key] is not the key of the certificate beside it"),
        ("previous.crt", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "data[previous.crt]"),
        ("tls.crt", b"\xff\xfe", "data[tls.crt] holds no text"),
    ],
)
def test_a_broken_secret_says_which_field(name: str, value: bytes, said: str) -> None:
    raw = stored(begun()[0])
    raw["data"][name] = base64.b64encode(value).decode()
    with pytest.raises(Unreadable) as caught:
        storage.read_kept(raw)
    assert said in str(caught.value)
    assert "BEGIN" not in str(caught.value)


def test_a_serving_certificate_is_no_authority() -> None:
    _, serving = begun()
    raw = storage.write_kept(
        Kept(signer=serving.certificate, key=serving.pair.key), None, name="fairlead-ca", namespace="x"
    )
    with pytest.raises(Unreadable, match="CA:TRUE"):
        storage.read_kept(raw)


# --- the property


@dataclass
class Cluster:
    """What is stored, what replicas show, and what bundles proxies may have, over time."""

    overlap: datetime.timedelta
    now: datetime.datetime = START
    ca: Json | None = None
    serving: Json | None = None
    remembered: Kept | None = None
    bundles: list[tuple[datetime.datetime, frozenset[str]]] = field(default_factory=list)
    shown: list[tuple[datetime.datetime, Certificate]] = field(default_factory=list)

    def leader(self, *, spreads: bool) -> None:
        """What the shell does in one round (``keeper``)."""
        try:
            kept = storage.read_kept(self.ca) if self.ca else self.remembered
        except Unreadable:
            kept = self.remembered
        serving = storage.read_serving(self.serving) if self.serving else None
        wanted = step(kept, serving, now=self.now, names=NAMES, lives=replace(LIVES, overlap=self.overlap))
        self.remembered = wanted.kept
        self.ca = storage.write_kept(wanted.kept, self.ca, name="fairlead-ca", namespace="x")
        if wanted.serving is not None:
            self.serving = storage.write_serving(wanted.serving, self.serving, name="fairlead-xds-tls", namespace="x")
            if not self.shown or self.shown[-1][1] != wanted.serving.certificate:
                self.shown.append((self.now, wanted.serving.certificate))
        if spreads:
            self.bundles.append((self.now, frozenset(one.pem for one in wanted.kept.bundle)))
            if wanted.kept.spread is None:
                self.remembered = replace(wanted.kept, spread=self.now)
                self.ca = storage.write_kept(self.remembered, self.ca, name="fairlead-ca", namespace="x")

    def check(self, lag: datetime.timedelta) -> None:
        """Every bundle that a proxy may have believes every certificate that a replica may show."""
        showing = [leaf for since, leaf in self.shown if since > self.now - lag]
        before = [leaf for since, leaf in self.shown if since <= self.now - lag]
        having = [bundle for since, bundle in self.bundles if since > self.now - self.overlap]
        having += [bundle for since, bundle in self.bundles if since <= self.now - self.overlap][-1:]
        for leaf in {*showing, *before[-1:]}:
            assert leaf.not_after > self.now
            for bundle in having:
                believed = [one for each in bundle for one in pem.read(each) if one.signed(leaf)]
                assert believed, f"refused at {self.now}: {leaf.fingerprint}"
                assert believed[0].not_after > self.now


EVENTS = st.sampled_from(["wait", "wait", "wait", "rotate", "lose", "corrupt", "forget", "replace", "edit serving"])
ROUNDS = st.lists(
    st.tuples(EVENTS, st.sampled_from([0.001, 0.1, 0.4, 0.9, 1.0, 1.3, 24 * 5, 24 * 12]), st.booleans()), max_size=30
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ROUNDS)
def test_no_proxy_ever_refuses_the_server(rounds: list[tuple[str, float, bool]]) -> None:
    cluster = Cluster(overlap=HOUR)
    cluster.leader(spreads=True)
    for event, hours, spreads in rounds:
        cluster.now += HOUR * hours
        cluster.check(lag=HOUR * 0.9)
        assert cluster.ca is not None
        match event:
            case "rotate":
                cluster.ca["metadata"]["annotations"][storage.ROTATE] = "now"
            case "lose":
                cluster.ca = None
            case "corrupt":
                cluster.ca["data"]["tls.key"] = base64.b64encode(b"oops").decode()
            case "forget":  # another leader, and nothing in the Secret
                cluster.ca = cluster.remembered = None
            case "replace":
                own = pem.make_authority(cluster.now, LIVES.authority)
                kept = Kept(signer=own.certificate, key=own.key)
                cluster.ca = storage.write_kept(kept, None, name="fairlead-ca", namespace="x")
            case "edit serving":
                assert cluster.serving is not None
                del cluster.serving["metadata"]["labels"]
        cluster.leader(spreads=spreads or hours > 24)  # bundles that nobody can write for weeks are beyond help
        cluster.check(lag=HOUR * 0.9)


def test_fifteen_years_without_a_refusal() -> None:
    """A leader that looks once a day, and whenever something is due."""
    cluster = Cluster(overlap=HOUR)
    cluster.leader(spreads=True)
    authorities = set()
    while cluster.now < START + 15 * 365 * DAY:
        assert cluster.remembered is not None
        authorities.add(cluster.remembered.signer.fingerprint)
        near = cluster.remembered.coming or cluster.remembered.leaving
        cluster.now += HOUR * 0.5 if near else 10 * DAY
        cluster.check(lag=HOUR * 0.4)
        cluster.leader(spreads=True)
        cluster.check(lag=HOUR * 0.4)
    assert len(authorities) == 3
