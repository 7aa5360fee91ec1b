"""Every name that Envoy sees is made here, so that statistics, logs and error texts read the same everywhere."""

from __future__ import annotations

import hashlib

from fairlead_xds.features.value import Value

#: Joins the parts of a name; none of them may hold it.
SEPARATOR = "/"


def cluster(namespace: str, backend: str, port: int | None, settings: str = "") -> str:
    """``shop/users:80``, with ``~1a2b3c4d5e`` behind it where other settings than the defaults set it apart."""
    suffix = f":{port}" if port is not None else ""
    return f"{namespace}/{backend}{suffix}" + (f"~{settings}" if settings else "")


def settings(*values: Value | str | None) -> str:
    """Ten hex digits for what makes two clusters over the same endpoints differ; empty when all are ``None``.

    Of values that are there, and in them of fields that are not as by default: a version of Fairlead that knows one more
    field gives no cluster another name.
    """
    said = [f"{type(value).__name__}={_written(value)}" for value in values if value is not None]
    return hashlib.blake2b("\n".join(said).encode(), digest_size=5).hexdigest() if said else ""


def _written(value: Value | str) -> str:
    return value if isinstance(value, str) else value.model_dump_json(exclude_defaults=True)


def listener(port: int) -> str:
    """``port-443``: one listener a port and proxy, whoever shares it."""
    return f"port-{port}"


def http_chain(port: int) -> str:
    return f"port-{port}/http"


def tls_chain(namespace: str, policy: str, listener_name: str) -> str:
    """Stable while the policy's listener lives: Envoy drains the connections of a chain that is renamed."""
    return SEPARATOR.join((namespace, policy, listener_name))


#: The cluster that sends captured connections on to where they were going.
PASSTHROUGH = "captured/passthrough"


def captured_listener(version: int) -> str:
    """One for each family of addresses: a pod without IPv6 could not open both."""
    return "captured" if version == 4 else f"captured-{version}"


def captured_chain(namespace: str, service: str, port: int, address: str) -> str:
    """Stable while the Service has the address: Envoy drains the connections of a chain that is renamed."""
    return SEPARATOR.join(("captured", namespace, f"{service}:{port}", address))


def captured_table(namespace: str, service: str, port: int) -> str:
    """The route configuration of a captured port, whatever addresses the Service has."""
    return SEPARATOR.join(("captured", namespace, f"{service}:{port}"))


def route_table(chain: str) -> str:
    """The route configuration of a chain has the chain's name."""
    return chain


def virtual_host(namespace: str, policy: str, listener_name: str, hostname: str) -> str:
    return SEPARATOR.join((namespace, policy, listener_name, hostname))


def route(namespace: str, policy: str, name: str) -> str:
    return SEPARATOR.join((namespace, policy, name))


def secret(namespace: str, name: str) -> str:
    return SEPARATOR.join((namespace, name))
