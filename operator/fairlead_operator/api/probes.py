"""The probes of a pod's containers (``core/v1`` Probe), as far as a proxy can ask the same. Pure.

Defaults are the API's: periodSeconds 10, timeoutSeconds 1, successThreshold 1, failureThreshold 3.
https://kubernetes.io/docs/concepts/workloads/pods/probes/
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import quote

from fairlead_operator.api.lenient import children

Json = Mapping[str, Any]


class Probe(NamedTuple):
    """One probe; times in seconds.

    Attributes:
        problem: why no proxy can ask like this; empty: it can.
        path, scheme, host, headers: of HTTP; ``host`` is the Host header, empty: none is asked for.
        service: of gRPC.
    """

    type: Literal["HTTP", "GRPC", "TCP", ""] = ""
    problem: str = ""
    port: int = 0
    path: str = "/"
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    host: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    service: str = ""
    period: int = 10
    timeout: int = 1
    failure: int = 3
    success: int = 1


class Container(NamedTuple):
    """A container: the ports that it names, and its probes. ``sidecar``: an init container that stays."""

    ports: frozenset[int]
    readiness: Probe | None
    liveness: Probe | None
    sidecar: bool = False


Probes = tuple[Container, ...]
NONE: Final[Probes] = ()
_PRINTABLE: Final = "".join(chr(code) for code in range(0x21, 0x7F))


def read_probes(spec: Json) -> Probes:
    """The containers of a pod that have a probe. The pods of one template have one object."""
    found = []
    sidecars = [(one, True) for one in children(spec, "initContainers") if one.get("restartPolicy") == "Always"]
    for raw, sidecar in [*((one, False) for one in children(spec, "containers")), *sidecars]:
        named = {
            str(one.get("name")): port for one in children(raw, "ports") if (port := _port(one.get("containerPort")))
        }
        readiness, liveness = (_probe(raw.get(f"{kind}Probe"), named) for kind in ("readiness", "liveness"))
        if readiness is not None or liveness is not None:
            found.append(Container(frozenset(named.values()), readiness, liveness, sidecar))
    return _shared(tuple(found)) if found else NONE


@functools.lru_cache(maxsize=4096)
def _shared(probes: Probes) -> Probes:
    return probes


def _probe(raw: Any, named: Mapping[str, int]) -> Probe | None:
    if not isinstance(raw, dict):
        return None
    times: dict[str, Any] = {
        name: value if type(value := raw.get(field)) is int and value > 0 else default
        for name, field, default in (
            ("period", "periodSeconds", 10),
            ("timeout", "timeoutSeconds", 1),
            ("failure", "failureThreshold", 3),
            ("success", "successThreshold", 1),
        )
    }
    if isinstance(http := raw.get("httpGet"), dict):
        return _http(http, named)._replace(**times)
    if isinstance(grpc := raw.get("grpc"), dict):
        service = grpc.get("service")
        port = _port(grpc.get("port"))
        return _at(port, Probe("GRPC", port=port, service=service if isinstance(service, str) else ""))._replace(
            **times
        )
    if isinstance(tcp := raw.get("tcpSocket"), dict):
        port = _number(tcp.get("port"), named)
        found = _at(port, Probe("TCP", port=port))
        return (Probe(problem="its host is not the pod") if tcp.get("host") else found)._replace(**times)
    if isinstance(raw.get("exec"), dict):
        return Probe(problem="it is a command in the container (exec)")._replace(**times)
    return None


def _http(raw: Json, named: Mapping[str, int]) -> Probe:
    if raw.get("host"):
        return Probe(problem="its host is not the pod")
    headers, host = [], ""
    for one in children(raw, "httpHeaders"):
        name, value = str(one.get("name", "")), str(one.get("value", ""))
        if name.lower() == "host":
            host = value
        else:
            headers.append((name, value))
    path = _escaped(str(raw.get("path") or "/"))
    scheme: Literal["HTTP", "HTTPS"] = "HTTPS" if raw.get("scheme") == "HTTPS" else "HTTP"
    port = _number(raw.get("port"), named)
    path = path if path.startswith("/") else f"/{path}"
    return _at(port, Probe("HTTP", port=port, path=path, scheme=scheme, host=host, headers=tuple(headers)))


def _at(port: int, probe: Probe) -> Probe:
    return probe if port else Probe(problem="it names no port of its container")


def _escaped(path: str) -> str:
    """As a kubelet asks for it (pkg/probe/http/request.go, Go's URL.String): no fragment, percent-encoded beyond ASCII."""
    return quote(path.partition("#")[0], safe=_PRINTABLE, errors="replace")


def _number(value: Any, named: Mapping[str, int]) -> int:
    if not isinstance(value, str):
        return _port(value)
    # No more digits than a port has: int() raises for thousands of them.
    return named.get(value, 0) or (_port(int(value)) if value.isdecimal() and len(value) <= 5 else 0)


def _port(value: Any) -> int:
    return value if type(value) is int and 0 < value < 65536 else 0
