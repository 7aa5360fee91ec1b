"""What holds of all tests.

``make golden`` (``pytest --update``) writes goldens anew; look at the difference before committing it. Property tests: a
slow machine is no finding, and a run finds what the run before it found. Envoy's messages are validated as they are made
(``fairlead_xds.messages``), but not in the processes that tests start: those are the product.
"""

from __future__ import annotations

import importlib
import os

import pytest
from hypothesis import HealthCheck, settings

os.environ["FAIRLEAD_VALIDATE_MESSAGES"] = "1"
importlib.import_module("fairlead_xds")
del os.environ["FAIRLEAD_VALIDATE_MESSAGES"]

settings.register_profile(
    "fairlead", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("fairlead")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="write the goldens anew")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--update"))
