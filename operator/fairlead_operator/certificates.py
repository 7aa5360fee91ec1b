"""Whether a certificate and its key can serve, judged before Envoy sees them."""

from __future__ import annotations


def problem(certificate: bytes, key: bytes) -> str:
    """Why the PEM chain and the PEM key cannot serve together; empty when they can. Never shows their content."""
    # Loaded with the first certificate: it is a tenth of the memory of a control plane that serves none.
    from cryptography import x509  # noqa: PLC0415
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

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


def expires(certificate: bytes) -> float:
    """When the first of a PEM chain that has no ``problem`` ends, in seconds since the epoch."""
    from cryptography import x509  # noqa: PLC0415 - as above

    return min(one.not_valid_after_utc.timestamp() for one in x509.load_pem_x509_certificates(certificate))
