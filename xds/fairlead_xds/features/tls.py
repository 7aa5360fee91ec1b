"""Termination of TLS: ``tls`` -> ``FilterChain.transport_socket`` with certificates by SDS, and the ``Secret``."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import DataSource, TransportSocket
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CommonTlsContext,
    DownstreamTlsContext,
    SdsSecretConfig,
    Secret,
    TlsCertificate,
    TlsParameters,
    TlsParametersTlsProtocol,
)

from fairlead_xds.encode import any_of
from fairlead_xds.features.source import ads


def transport_socket(certificates: tuple[str, ...]) -> TransportSocket:
    """``FilterChain.transport_socket`` that terminates TLS 1.2 or later with the named secrets.

    By SDS: a bad certificate touches its own host only, and a rotation drains no connection.
    """
    context = DownstreamTlsContext(
        common_tls_context=CommonTlsContext(
            tls_params=TlsParameters(tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_2),
            tls_certificate_sds_secret_configs=[SdsSecretConfig(name=name, sds_config=ads()) for name in certificates],
            alpn_protocols=["h2", "http/1.1"],
        )
    )
    return TransportSocket(name="envoy.transport_sockets.tls", typed_config=any_of(context))


def secret(name: str, certificate: bytes, key: bytes) -> Secret:
    """The ``Secret`` with a PEM certificate chain and its PEM private key."""
    return Secret(
        name=name,
        tls_certificate=TlsCertificate(
            certificate_chain=DataSource(inline_bytes=certificate), private_key=DataSource(inline_bytes=key)
        ),
    )
