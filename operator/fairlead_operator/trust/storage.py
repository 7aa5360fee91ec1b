"""The Secrets of the certificates, to and from the values that ``authority`` decides on. Pure."""

from __future__ import annotations

import base64
import binascii
import datetime
from typing import Any, Final

from fairlead_operator.trust import pem
from fairlead_operator.trust.authority import Kept, Serving, digest, text
from fairlead_operator.trust.pem import Certificate, Pair, Unreadable

#: Types of our own: not those of policies' certificates, which every replica reads.
CA_TYPE, SERVING_TYPE = "fairlead.dev/ca", "fairlead.dev/serving"
#: ``<digest of the bundle>@<time>``: since when that bundle is in every namespace.
SPREAD: Final = "fairlead.dev/bundle-spread"
#: Whoever sets it, to anything, gets a new authority.
ROTATE: Final = "fairlead.dev/rotate"
LABELS: Final = {"app.kubernetes.io/managed-by": "fairlead"}

_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"


def read_kept(raw: dict[str, Any]) -> Kept:
    """The authorities. Raises Unreadable, which names the field."""
    signer = _one(raw, "tls.crt")
    key = _field(raw, "tls.key", optional=True)
    if key:
        _check(signer, key, "tls.key")
    coming = None
    if _field(raw, "next.crt", optional=True):
        coming = Pair(_one(raw, "next.crt"), _field(raw, "next.key"))
        _check(coming.certificate, coming.key, "next.key")
    leaving = _all(raw, "previous.crt") if _field(raw, "previous.crt", optional=True) else ()
    for name, found in (("tls.crt", signer), *((("next.crt", coming.certificate),) if coming else ())):
        if not found.is_ca:
            raise Unreadable(f"data[{name}] is no certificate of an authority (CA:TRUE)")
    annotations = raw["metadata"].get("annotations") or {}
    kept = Kept(signer=signer, key=key, coming=coming, leaving=leaving, asked=ROTATE in annotations)
    return Kept(
        signer=signer,
        key=key,
        coming=coming,
        leaving=leaving,
        asked=ROTATE in annotations,
        spread=_spread(str(annotations.get(SPREAD, "")), kept.bundle),
    )


def write_kept(kept: Kept, old: dict[str, Any] | None, *, name: str, namespace: str) -> dict[str, Any]:
    """The Secret that holds *kept*; *old* is the one to be replaced."""
    data = {
        "ca.crt": text(kept.bundle),
        "tls.crt": kept.signer.pem,
        "tls.key": kept.key,
        "next.crt": kept.coming.certificate.pem if kept.coming else "",
        "next.key": kept.coming.key if kept.coming else "",
        "previous.crt": text(kept.leaving),
    }
    raw = _secret(data, old, CA_TYPE, name=name, namespace=namespace)
    annotations = raw["metadata"]["annotations"]
    annotations.pop(ROTATE, None)
    annotations.pop(SPREAD, None)
    if kept.spread is not None:
        annotations[SPREAD] = f"{digest(kept.bundle)}@{kept.spread.astimezone(datetime.UTC).strftime(_TIME)}"
    return raw


def read_serving(raw: dict[str, Any]) -> Serving:
    """The serving certificate, Fairlead's or cert-manager's. Raises Unreadable, which names the field."""
    certificate = _all(raw, "tls.crt")[0]
    key = _field(raw, "tls.key")
    _check(certificate, key, "tls.key")
    return Serving(pair=Pair(certificate, key), bundle=_all(raw, "ca.crt"))


def chain(raw: dict[str, Any]) -> str:
    """The whole chain of a serving certificate: what is shown to clients."""
    return _field(raw, "tls.crt")


def write_serving(serving: Serving, old: dict[str, Any] | None, *, name: str, namespace: str) -> dict[str, Any]:
    """The Secret that holds *serving*; *old* is the one to be replaced."""
    data = {"tls.crt": serving.certificate.pem, "tls.key": serving.pair.key, "ca.crt": text(serving.bundle)}
    return _secret(data, old, SERVING_TYPE, name=name, namespace=namespace)


def _secret(
    data: dict[str, str], old: dict[str, Any] | None, kind: str, *, name: str, namespace: str
) -> dict[str, Any]:
    metadata = (old or {}).get("metadata") or {}
    raw: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": (old or {}).get("type") or kind,  # cannot be changed
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {**(metadata.get("labels") or {}), **LABELS},
            "annotations": dict(metadata.get("annotations") or {}),
        },
        "data": {field: base64.b64encode(value.encode()).decode() for field, value in data.items() if value},
    }
    for field in ("resourceVersion", "uid", "ownerReferences", "finalizers"):
        if field in metadata:
            raw["metadata"][field] = metadata[field]
    return raw


def _field(raw: dict[str, Any], name: str, *, optional: bool = False) -> str:
    value = (raw.get("data") or {}).get(name, "")
    try:
        found = base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, TypeError, ValueError):
        raise Unreadable(f"data[{name}] holds no text") from None
    if not found and not optional:
        raise Unreadable(f"data[{name}] is missing")
    return found


def _all(raw: dict[str, Any], name: str) -> tuple[Certificate, ...]:
    try:
        return pem.read(_field(raw, name))
    except Unreadable as error:
        raise _about(name, error) from None


def _one(raw: dict[str, Any], name: str) -> Certificate:
    found = _all(raw, name)
    if len(found) != 1:
        raise Unreadable(f"data[{name}] holds {len(found)} certificates instead of one")
    return found[0]


def _check(certificate: Certificate, key: str, name: str) -> None:
    try:
        pem.check_key(certificate, key)
    except Unreadable as error:
        raise _about(name, error) from None


def _about(name: str, error: Unreadable) -> Unreadable:
    said = str(error)
    return error if said.startswith("data[") else Unreadable(f"data[{name}] {said}")


def _spread(value: str, bundle: tuple[Certificate, ...]) -> datetime.datetime | None:
    which, _, when = value.partition("@")
    if which != digest(bundle):  # of another bundle: this one was made by hand
        return None
    try:
        return datetime.datetime.strptime(when, _TIME).replace(tzinfo=datetime.UTC)
    except ValueError:
        return None
