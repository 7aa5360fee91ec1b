"""Whether a certificate and its key can serve, judged before Envoy sees them."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def problem(certificate: bytes, key: bytes) -> str:
    """Why the PEM chain and the PEM key cannot serve together; empty when they can. Never shows their content."""
    try:
        chain = x509.load_pem_x509_certificates(certificate)
    except ValueError:
        return "data[tls.crt] holds no PEM certificate"
    try:
        private = load_pem_private_key(key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return "data[tls.key] holds no unencrypted PEM private key"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        public = chain[0].public_key().public_bytes(*form)
    except (ValueError, UnsupportedAlgorithm):
        return "data[tls.crt] has a public key of an unknown kind: use RSA or ECDSA"
    if public != private.public_key().public_bytes(*form):
        return "data[tls.key] is not the key of the first certificate in data[tls.crt]"
    return ""
