"""Certificates: made, read, compared. Time is an argument; the only chance in here is that of keys and serial numbers."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: Certificates begin this long before they are made, as the clocks of proxies may be behind.
BACKDATE: Final = datetime.timedelta(minutes=10)

_PEM: Final = serialization.Encoding.PEM


class Unreadable(Exception):
    """Not what it should be; the message says what is wrong, without the content."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate. Equal are those of equal bytes.

    Attributes:
        fingerprint: SHA-256, hexadecimal.
        names: DNS names and addresses that it is for.
    """

    pem: str = field(repr=False)
    fingerprint: str = field(compare=False)
    not_before: datetime.datetime = field(compare=False)
    not_after: datetime.datetime = field(compare=False)
    names: frozenset[str] = field(compare=False)
    is_ca: bool = field(compare=False)

    @property
    def made(self) -> datetime.datetime:
        """When Fairlead made it."""
        return self.not_before + BACKDATE

    def at(self, share: float) -> datetime.datetime:
        """When this share of its life is over."""
        return self.not_before + (self.not_after - self.not_before) * share

    def signed(self, other: Certificate) -> bool:
        """Whether this one's key has signed *other*."""
        return _signed(self.pem, other.pem)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: Certificate
    key: str = field(repr=False)


@functools.lru_cache(maxsize=256)
def _signed(signer: str, other: str) -> bool:
    try:
        _load(other).verify_directly_issued_by(_load(signer))
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


@functools.lru_cache(maxsize=256)
def _load(pem: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pem.encode())


def _certificate(found: x509.Certificate) -> Certificate:
    extensions = {extension.oid: extension.value for extension in found.extensions}
    names = extensions.get(x509.SubjectAlternativeName.oid)
    constraints = extensions.get(x509.BasicConstraints.oid)
    return Certificate(
        pem=found.public_bytes(_PEM).decode(),
        fingerprint=found.fingerprint(hashes.SHA256()).hex(),
        not_before=found.not_valid_before_utc,
        not_after=found.not_valid_after_utc,
        names=frozenset(str(name.value) for name in names)
        if isinstance(names, x509.SubjectAlternativeName)
        else frozenset(),
        is_ca=isinstance(constraints, x509.BasicConstraints) and constraints.ca,
    )


def read(pem: str) -> tuple[Certificate, ...]:
    """All certificates of a PEM text, in order. Raises Unreadable where there is none or one is broken."""
    try:
        return tuple(_certificate(found) for found in x509.load_pem_x509_certificates(pem.encode()))
    except (ValueError, UnsupportedAlgorithm):
        raise Unreadable("holds no PEM certificates") from None


def check_key(certificate: Certificate, key: str) -> None:
    """Raises Unreadable where *key* is not the private key of *certificate*."""
    try:
        private = serialization.load_pem_private_key(key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unreadable("holds no unencrypted PEM private key") from None
    if private.public_key() != _load(certificate.pem).public_key():
        raise Unreadable("is not the key of the certificate beside it")


def make_authority(now: datetime.datetime, life: datetime.timedelta) -> Pair:
    """A new certificate authority. Each has a name of its own, so that nobody takes one for another."""
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Fairlead CA {serial & 0xFFFFFFFF:08x}")])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        _builder(name, name, key, serial, (now, now + life))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(_certificate(made), _text(key))


def issue(authority: Pair, names: Iterable[str], now: datetime.datetime, life: datetime.timedelta) -> Pair:
    """A certificate for a server that is reached by *names*; it ends with its authority at the latest."""
    key = ec.generate_private_key(ec.SECP256R1())
    signer = _load(authority.certificate.pem)
    signer_key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fairlead")])
    until = min(now + life, authority.certificate.not_after)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        _builder(name, signer.subject, key, x509.random_serial_number(), (now, until))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([_general(one) for one in sorted(names)]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)  # type: ignore[arg-type]
        .sign(signer_key, hashes.SHA256())  # type: ignore[arg-type]
    )
    return Pair(_certificate(made), _text(key))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    life: tuple[datetime.datetime, datetime.datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(issuer, subject, key.public_key(), serial)
        .not_valid_before(life[0] - BACKDATE)
        .not_valid_after(life[1])
    )


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates,
        key_cert_sign=certificates,
        crl_sign=certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _text(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
