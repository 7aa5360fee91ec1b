"""Certificates for tests that terminate TLS: made when asked for, never written to disk."""

from __future__ import annotations

import datetime
import ssl
from dataclasses import dataclass, field

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Pair:
    """PEM of a certificate and of its key."""

    certificate: bytes
    key: bytes

    @property
    def der(self) -> bytes:
        """The certificate as a client sees it."""
        return ssl.PEM_cert_to_DER_cert(self.certificate.decode())


@dataclass(slots=True)
class Authority:
    """A CA that the clients of a test trust."""

    _ca: trustme.CA = field(default_factory=trustme.CA)

    def issue(self, *hostnames: str) -> Pair:
        """A new certificate for *hostnames*."""
        issued = self._ca.issue_cert(*hostnames)
        return Pair(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def client(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self._ca.configure_trust(context)
        return context


def weak(hostname: str) -> Pair:
    """A certificate with an RSA key of 1,024 bits, which is valid in itself; Envoy takes 2,048 or more."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hostname)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(hostname)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(certificate.public_bytes(pem), private)
