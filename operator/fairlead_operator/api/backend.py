"""``Backend``: endpoints outside Kubernetes."""

from __future__ import annotations

import ipaddress
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from fairlead_operator.api.policy import Hostname
from fairlead_xds.features.value import PortNumber, Rule, Value


def _ip(text: str) -> str:
    """The canonical address. As CEL's ``isIP``: no zone (``%eth0``), no IPv4 in the clothes of IPv6."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        address = None
    if address is None or "%" in text or getattr(address, "ipv4_mapped", None):
        raise PydanticCustomError("ip", "must be an IPv4 or IPv6 address")
    return str(address)


IpAddress = Annotated[
    str,
    Field(
        min_length=2,
        max_length=45,
        json_schema_extra={
            "x-kubernetes-validations": [{"rule": "isIP(self)", "message": "must be an IPv4 or IPv6 address"}]
        },
    ),
    AfterValidator(_ip),
]


class BackendEndpoint(Value):
    """One endpoint: an address, or a DNS name that the proxy resolves."""

    address: IpAddress | None = Field(None, description="IP address.")
    hostname: Hostname | None = Field(None, description="DNS name; every address that it resolves to is an endpoint.")
    port: PortNumber = Field(description="Port.")
    weight: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="Share of the requests among the endpoints; Random does not take weights into account."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.address) != has(self.hostname)",
            "set either address or hostname",
            lambda v: (v.address is None) != (v.hostname is None),
        ),
        Rule(
            "!has(self.hostname) || !self.hostname.startsWith('*')",
            "hostname must be a name, not a wildcard",
            lambda v: v.hostname is None or not v.hostname.startswith("*"),
            "hostname",
        ),
    )


def on_own_machine(endpoint: BackendEndpoint) -> bool:
    """Whether it is the machine of whoever connects to it, or one that answers each machine differently.

    Loopback, link-local (clouds have their metadata there) and unspecified addresses, and the names that stand for loopback
    (RFC 6761, 6.3). Not what other names resolve to.
    """
    if endpoint.address is None:
        name = endpoint.hostname or ""
        return name == "localhost" or name.endswith(".localhost")
    address = ipaddress.ip_address(endpoint.address)
    return address.is_loopback or address.is_link_local or address.is_unspecified


class BackendSpec(Value):
    """The endpoints, all by address or all by DNS name."""

    endpoints: Annotated[tuple[BackendEndpoint, ...], Field(min_length=1, max_length=256)] = Field(
        description="The endpoints."
    )

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.endpoints.all(e, has(e.address)) || self.endpoints.all(e, has(e.hostname))",
            "endpoints must all have an address, or all a hostname",
            lambda v: len({e.address is None for e in v.endpoints}) == 1,
            "endpoints",
        ),
    )
