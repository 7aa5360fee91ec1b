"""``Listener`` -> ``envoy.config.listener.v3.Listener``.

Routes come by RDS and certificates by SDS, always: a changed route or certificate then drains no connection.
"""

from __future__ import annotations

from betterproto2 import Message
from envoy_data_plane.envoy.config.core.v3 import Address, HttpProtocolOptions, SocketAddress
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, FilterChainMatch, ListenerFilter
from envoy_data_plane.envoy.config.listener.v3 import Listener as EnvoyListener
from envoy_data_plane.envoy.extensions.filters.http.router.v3 import Router
from envoy_data_plane.envoy.extensions.filters.listener.tls_inspector.v3 import TlsInspector
from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import (
    HttpConnectionManager,
    HttpConnectionManagerPathWithEscapedSlashesAction,
    HttpConnectionManagerProxyStatusConfig,
    HttpConnectionManagerUpgradeConfig,
    HttpFilter,
    Rds,
)

from fairlead_xds import names
from fairlead_xds.encode import any_of, encode
from fairlead_xds.features import affinity, tls
from fairlead_xds.features.source import ads
from fairlead_xds.features.value import timedelta
from fairlead_xds.model import Chain, Listener

#: The order of the HTTP filters. A filter that does nothing until a route configures it stands in every chain,
#: so that turning a feature on changes routes only.
HTTP_FILTERS: tuple[tuple[str, Message], ...] = (
    (affinity.FILTER_NAME, affinity.http_filter_config()),
    ("envoy.filters.http.router", Router()),
)


def listener(value: Listener) -> bytes:
    """The listener of *value*; chains in the order of their names, so that equal sets give equal bytes."""
    terminates = any(chain.certificates for chain in value.chains)
    return encode(
        EnvoyListener(
            name=value.name,
            address=Address(socket_address=SocketAddress(address=value.address, port_value=value.port)),
            # Without the inspector a chain's server names never match, and Envoy does not say so.
            listener_filters=[_tls_inspector()] if terminates else [],
            filter_chains=[_chain(chain) for chain in sorted(value.chains, key=lambda chain: chain.name)],
        )
    )


def _tls_inspector() -> ListenerFilter:
    return ListenerFilter(name="envoy.filters.listener.tls_inspector", typed_config=any_of(TlsInspector()))


def _chain(chain: Chain) -> FilterChain:
    manager = Filter(
        name="envoy.filters.network.http_connection_manager", typed_config=any_of(_http_connection_manager(chain))
    )
    return FilterChain(
        name=chain.name,
        filter_chain_match=FilterChainMatch(server_names=list(chain.server_names)) if chain.server_names else None,
        filters=[manager],
        transport_socket=tls.transport_socket(chain.certificates) if chain.certificates else None,
    )


def http_filters() -> list[HttpFilter]:
    """Those of every HTTP chain, captured ones too."""
    return [HttpFilter(name=name, typed_config=any_of(config)) for name, config in HTTP_FILTERS]


def proxy_status() -> HttpConnectionManagerProxyStatusConfig:
    """RFC 9209: an answer that no endpoint gave says so, and why, in the header ``Proxy-Status``."""
    return HttpConnectionManagerProxyStatusConfig(literal_proxy_name="fairlead")


def _http_connection_manager(chain: Chain) -> HttpConnectionManager:
    return HttpConnectionManager(
        stat_prefix=chain.name,
        rds=Rds(config_source=ads(), route_config_name=names.route_table(chain.name)),
        http_filters=http_filters(),
        # The edge of Envoy's own advice: the address of the client is that of its connection.
        use_remote_address=True,
        strip_trailing_host_dot=True,  # example.com. is the same host: RFC 1034, 3.1
        normalize_path=True,
        merge_slashes=True,
        path_with_escaped_slashes_action=HttpConnectionManagerPathWithEscapedSlashesAction.UNESCAPE_AND_REDIRECT,
        common_http_protocol_options=HttpProtocolOptions(idle_timeout=timedelta("1h")),
        request_headers_timeout=timedelta("10s"),
        upgrade_configs=[HttpConnectionManagerUpgradeConfig(upgrade_type="websocket")],
        proxy_status_config=proxy_status(),
    )
