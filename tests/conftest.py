"""What holds of all property tests: a slow machine is no finding, and a run finds what the run before it found."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fairlead", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("fairlead")
