"""``Secret`` -> ``envoy.extensions.transport_sockets.tls.v3.Secret``."""

from __future__ import annotations

from fairlead_xds.encode import encode
from fairlead_xds.features import tls
from fairlead_xds.model import Secret


def secret(value: Secret) -> bytes:
    return encode(tls.secret(value.name, value.certificate, value.key))
