"""Where Envoy gets a dependent resource from: the same ADS stream."""

from __future__ import annotations

from envoy_data_plane.envoy.config.core.v3 import AggregatedConfigSource, ApiVersion, ConfigSource


def ads() -> ConfigSource:
    """A ``ConfigSource`` that names the aggregated stream."""
    return ConfigSource(ads=AggregatedConfigSource(), resource_api_version=ApiVersion.V3)
