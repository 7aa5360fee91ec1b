"""A fake Envoy, for tests and benchmarks of control planes: the client half of xDS."""

from fairlead_xds.testing.client import Arrival, Client, Refuse
from fairlead_xds.testing.delta import DeltaClient
from fairlead_xds.testing.fake_envoy import FakeEnvoy
from fairlead_xds.testing.sotw import SotwClient

__all__ = ["Arrival", "Client", "DeltaClient", "FakeEnvoy", "Refuse", "SotwClient"]
