"""The features of a route, together: a field here is a field of the API's routes and of the model's.

A feature of routes is added by one line here and one in ``translate/route.py``.
"""

from __future__ import annotations

from typing import Self

from pydantic import Field

from fairlead_xds.features.retry import Retry
from fairlead_xds.features.timeouts import Timeouts
from fairlead_xds.features.value import Value


class RouteOptions(Value):
    """What may be said of the requests of a route, beside where they go."""

    timeouts: Timeouts = Field(Timeouts(), description="How long a request may take.")
    retry: Retry = Field(Retry(), description="What is tried again, and how often.")

    @classmethod
    def of(cls, route: RouteOptions) -> Self:
        """The options of *route* alone, whatever else it has."""
        return cls(**{name: getattr(route, name) for name in cls.model_fields})


DEFAULT = RouteOptions()
