"""What becomes of the certificates next: pure, by what is stored and what time it is.

A proxy believes the control plane if the authority that signed the serving certificate is in the bundle that the proxy
has, and that may be as old as ``Lives.overlap``: kubelets bring ConfigMaps late. So an authority is in everybody's bundle
for that long before it signs, and for that long after the last of its certificates was replaced. The steps of a rotation:

1. A new authority joins the bundle. Nothing else changes.
2. The bundle is everywhere (the caller says so: ``Kept.spread``), and the overlap passes.
3. The new authority signs the serving certificate. The old one only stays in the bundle; its key is thrown away.
4. The overlap passes. The old authority leaves the bundle.

Lost or replaced contents take the same way, so that they cost no proxy its connection as long as the serving
certificate is still there.
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from fairlead_operator.trust import pem
from fairlead_operator.trust.pem import Certificate, Pair


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """How long things last.

    Attributes:
        renew: the share of its life after which a certificate is replaced.
        overlap: how old the bundle of a proxy may be.
    """

    authority: datetime.timedelta = datetime.timedelta(days=3650)
    serving: datetime.timedelta = datetime.timedelta(days=90)
    renew: float = 2 / 3
    overlap: datetime.timedelta = datetime.timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The authorities: what the Secret of the CA holds.

    Attributes:
        signer, key: the authority that signs. Without its key (it was lost) nothing can be signed before the next.
        coming: the authority that will sign.
        leaving: authorities that do not sign any more, and are believed still.
        spread: since when everybody can have this bundle; ``None``: that is not known yet.
        asked: somebody wants a new authority.
    """

    signer: Certificate
    key: str = field(default="", repr=False)
    coming: Pair | None = None
    leaving: tuple[Certificate, ...] = ()
    spread: datetime.datetime | None = None
    asked: bool = False

    @property
    def bundle(self) -> tuple[Certificate, ...]:
        """What proxies believe, in an order that depends on the set only."""
        coming = (self.coming.certificate,) if self.coming else ()
        return tuple(sorted({self.signer, *coming, *self.leaving}, key=lambda one: (one.not_before, one.fingerprint)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What the control plane shows: what the Secret of the serving certificate holds."""

    pair: Pair
    bundle: tuple[Certificate, ...]

    @property
    def certificate(self) -> Certificate:
        return self.pair.certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What should be stored, why, and when to look again."""

    kept: Kept
    serving: Serving | None
    reasons: tuple[str, ...]
    due: datetime.datetime


def digest(bundle: Collection[Certificate]) -> str:
    """Names a bundle."""
    return hashlib.sha256("".join(sorted(one.fingerprint for one in bundle)).encode()).hexdigest()[:16]


def text(bundle: Collection[Certificate]) -> str:
    """A bundle as PEM."""
    return "".join(one.pem for one in bundle)


def step(
    kept: Kept | None, serving: Serving | None, *, now: datetime.datetime, names: Collection[str], lives: Lives
) -> Step:
    """The next step from what is stored; ``None`` where that is missing or cannot be read. No change: nothing to do."""
    reasons: list[str] = []
    if serving is not None and serving.certificate.not_after <= now:
        reasons.append("the serving certificate has expired")
        serving = None
    believed = _signer_of(serving)
    if kept is None:
        kept = _anew(believed, now, lives, reasons)
    elif believed is not None and kept.spread is None and not any(one.signed(believed.leaf) for one in kept.bundle):
        kept = _replaced(kept, believed, reasons)
    kept = _rotate(kept, now, lives, reasons)
    kept = _promote(kept, serving, now, lives, reasons)
    serving = _serve(kept, serving, names, now=now, lives=lives, reasons=reasons)
    kept = _retire(kept, serving, now, lives, reasons)
    if serving is not None and serving.bundle != kept.bundle:
        serving = replace(serving, bundle=kept.bundle)
    return Step(kept=kept, serving=serving, reasons=tuple(reasons), due=min(_dues(kept, serving, lives)))


@dataclass(frozen=True, slots=True)
class _Believed:
    """The serving certificate in use, the authority by which proxies believe it, and the others that they believe.

    By one of those, replicas that are behind may serve still.
    """

    leaf: Certificate
    authority: Certificate
    others: tuple[Certificate, ...]


def _signer_of(serving: Serving | None) -> _Believed | None:
    if serving is None:
        return None
    for one in serving.bundle:
        if one.signed(serving.certificate):
            return _Believed(serving.certificate, one, tuple(other for other in serving.bundle if other != one))
    return None


def _anew(believed: _Believed | None, now: datetime.datetime, lives: Lives, reasons: list[str]) -> Kept:
    made = pem.make_authority(now, lives.authority)
    if believed is None:
        reasons.append("a new authority: there was none")
        return Kept(signer=made.certificate, key=made.key)
    reasons.append("a new authority takes over: the key of the one before is lost")
    return Kept(signer=believed.authority, coming=made, leaving=believed.others)


def _replaced(kept: Kept, believed: _Believed, reasons: list[str]) -> Kept:
    """Somebody has put another authority in the place of ours: proxies have to hear of it before it signs."""
    reasons.append("another authority was put in place: it takes over when every proxy believes it")
    coming = kept.coming or (Pair(kept.signer, kept.key) if kept.key else None)
    leaving = {*kept.leaving, *believed.others, kept.signer} - {coming.certificate if coming else None}
    return replace(kept, signer=believed.authority, key="", coming=coming, leaving=tuple(leaving), spread=None)


def _rotate(kept: Kept, now: datetime.datetime, lives: Lives, reasons: list[str]) -> Kept:
    if kept.coming is not None:
        return replace(kept, asked=False)
    old = kept.signer.at(lives.renew) <= now
    if not (kept.asked or old or not kept.key):
        return kept
    reasons.append(f"a new authority joins the bundle: {'it was asked for' if kept.asked else 'the old one is due'}")
    return replace(kept, coming=pem.make_authority(now, lives.authority), spread=None, asked=False)


def _promote(kept: Kept, serving: Serving | None, now: datetime.datetime, lives: Lives, reasons: list[str]) -> Kept:
    if kept.coming is None:
        return kept
    ready = kept.spread is not None and kept.spread + lives.overlap <= now
    # Nothing can be served at all: that some proxies do not believe it yet is better than that none does.
    stranded = serving is None and (not kept.key or kept.signer.not_after <= now)
    if not ready and not stranded:
        return kept
    reasons.append("the new authority signs" if ready else "the new authority signs at once: nothing else could serve")
    return replace(
        kept,
        signer=kept.coming.certificate,
        key=kept.coming.key,
        coming=None,
        leaving=(*kept.leaving, kept.signer),
    )


def _serve(
    kept: Kept,
    serving: Serving | None,
    names: Collection[str],
    *,
    now: datetime.datetime,
    lives: Lives,
    reasons: list[str],
) -> Serving | None:
    if not kept.key:
        return serving
    if serving is None:
        why = "there was none"
    elif not kept.signer.signed(serving.certificate):
        why = "the authority is another"
    elif serving.certificate.at(lives.renew) <= now:
        why = "the old one is due"
    elif not serving.certificate.names.issuperset(names):
        why = "it is for other names"
    else:
        return serving
    reasons.append(f"a new serving certificate: {why}")
    pair = pem.issue(Pair(kept.signer, kept.key), names, now, lives.serving)
    return Serving(pair=pair, bundle=kept.bundle)


def _retire(kept: Kept, serving: Serving | None, now: datetime.datetime, lives: Lives, reasons: list[str]) -> Kept:
    if not kept.leaving or serving is None or not kept.signer.signed(serving.certificate):
        return kept
    if serving.certificate.made + lives.overlap > now:
        return kept
    reasons.append("the old authority leaves the bundle")
    return replace(kept, leaving=(), spread=None)


def _dues(kept: Kept, serving: Serving | None, lives: Lives) -> Iterator[datetime.datetime]:
    yield kept.signer.at(lives.renew)
    if kept.coming is not None and kept.spread is not None:
        yield kept.spread + lives.overlap
    if serving is not None:
        yield serving.certificate.at(lives.renew)
        if kept.leaving:
            yield serving.certificate.made + lives.overlap
