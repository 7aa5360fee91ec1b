"""Minimal views of Kubernetes' own kinds: only the fields that Fairlead reads, checked while they are read."""

from __future__ import annotations

import base64
import binascii
import ipaddress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fairlead_operator.api.meta import DecodeError, Ref, ref_of

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


class ServicePort(NamedTuple):
    """A port of a Service; ``name`` is empty where the Service has one port only."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Service:
    ref: Ref
    ports: tuple[ServicePort, ...]
    external_name: bool = False

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.port == number), None)


class SliceEndpoint(NamedTuple):
    """One endpoint of a slice with the conditions of ``discovery.k8s.io/v1``, defaults filled in."""

    address: str
    ready: bool
    serving: bool
    terminating: bool
    zone: str
    node: str
    pod: str


@dataclass(frozen=True, slots=True)
class EndpointSlice:
    """A slice; ``ports`` maps a port's name to its number."""

    ref: Ref
    service: Ref
    ports: dict[str, int]
    endpoints: tuple[SliceEndpoint, ...]


@dataclass(frozen=True, slots=True)
class TlsSecret:
    """A Secret; ``error`` says why it cannot serve as a certificate."""

    ref: Ref
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    error: str = ""


@dataclass(frozen=True, slots=True)
class ReferenceGrant:
    """Gateway API's permission: objects of ``from`` (kind, namespace) may refer to ``to`` (kind, name or "") here."""

    ref: Ref
    sources: frozenset[tuple[str, str]]
    targets: frozenset[tuple[str, str]]


def _expect(ref: Ref, path: str, value: Any, kind: type, default: Any) -> Any:
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise DecodeError(ref, path, f"must be of type {kind.__name__}, not {type(value).__name__}")
    return value


def _mappings(ref: Ref, path: str, value: Any) -> list[dict[str, Any]]:
    items = _expect(ref, path, value, list, [])
    for index, item in enumerate(items):
        _expect(ref, f"{path}[{index}]", item, dict, None)
        if item is None:
            raise DecodeError(ref, f"{path}[{index}]", "must not be null")
    return list(items)


def _port(ref: Ref, path: str, value: Any) -> int:
    number = _expect(ref, path, value, int, 0)
    if not 0 < number < 65536:
        raise DecodeError(ref, path, f"must be a port from 1 to 65535, not {number}")
    return int(number)


def read_service(raw: dict[str, Any]) -> Service:
    ref = ref_of(raw)
    spec = _expect(ref, "spec", raw.get("spec"), dict, {})
    ports = tuple(
        ServicePort(
            _expect(ref, f"spec.ports[{i}].name", port.get("name"), str, ""),
            _port(ref, f"spec.ports[{i}].port", port.get("port")),
        )
        for i, port in enumerate(_mappings(ref, "spec.ports", spec.get("ports")))
    )
    return Service(ref, ports, external_name=spec.get("type") == "ExternalName")


def read_slice(raw: dict[str, Any]) -> EndpointSlice:
    ref = ref_of(raw)
    labels = _expect(ref, "metadata.labels", raw["metadata"].get("labels"), dict, {})
    service = Ref("Service", ref.namespace, str(labels.get(SERVICE_NAME_LABEL) or ""))
    ports = {
        _expect(ref, f"ports[{i}].name", port.get("name"), str, ""): _port(ref, f"ports[{i}].port", port["port"])
        for i, port in enumerate(_mappings(ref, "ports", raw.get("ports")))
        if port.get("port") is not None
    }
    if raw.get("addressType") not in {"IPv4", "IPv6"}:
        # FQDN slices are deprecated and kube-proxy ignores them too.
        return EndpointSlice(ref, service, ports, ())
    entries = _mappings(ref, "endpoints", raw.get("endpoints"))
    return EndpointSlice(ref, service, ports, tuple(_endpoint(ref, i, entry) for i, entry in enumerate(entries)))


def _endpoint(ref: Ref, index: int, raw: dict[str, Any]) -> SliceEndpoint:
    path = f"endpoints[{index}]"
    addresses = _expect(ref, f"{path}.addresses", raw.get("addresses"), list, [])
    try:
        # The API: all addresses of an endpoint are the same thing; consumers take the first.
        address = str(ipaddress.ip_address(addresses[0]))
    except (IndexError, ValueError):
        raise DecodeError(ref, f"{path}.addresses[0]", "must be an IP address") from None
    conditions = _expect(ref, f"{path}.conditions", raw.get("conditions"), dict, {})
    flags = {
        name: _expect(ref, f"{path}.conditions.{name}", conditions.get(name), bool, None)
        for name in ("ready", "serving", "terminating")
    }
    # discovery.k8s.io/v1: a nil ready means ready, a nil serving means what ready says, a nil terminating means no.
    ready = flags["ready"] is not False
    serving = ready if flags["serving"] is None else flags["serving"]
    target = _expect(ref, f"{path}.targetRef", raw.get("targetRef"), dict, {})
    return SliceEndpoint(
        address,
        ready,
        serving,
        bool(flags["terminating"]),
        _expect(ref, f"{path}.zone", raw.get("zone"), str, ""),
        _expect(ref, f"{path}.nodeName", raw.get("nodeName"), str, ""),
        str(target.get("name") or ""),
    )


def read_secret(raw: dict[str, Any]) -> TlsSecret:
    """A Secret with ``tls.crt`` and ``tls.key``. What they hold is judged by ``certificates.problem``."""
    ref = ref_of(raw)
    data = _expect(ref, "data", raw.get("data"), dict, {})
    plain = _expect(ref, "stringData", raw.get("stringData"), dict, {})
    values: dict[str, bytes] = {}
    for key in ("tls.crt", "tls.key"):
        if isinstance(plain.get(key), str):
            values[key] = plain[key].encode()
            continue
        text = data.get(key)
        if not isinstance(text, str) or not text:
            return TlsSecret(ref, b"", b"", f"data[{key}] is missing")
        try:
            values[key] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            return TlsSecret(ref, b"", b"", f"data[{key}] is not base64")
    return TlsSecret(ref, values["tls.crt"], values["tls.key"])


def read_grant(raw: dict[str, Any]) -> ReferenceGrant:
    ref = ref_of(raw)
    spec = _expect(ref, "spec", raw.get("spec"), dict, {})
    sources = _mappings(ref, "spec.from", spec.get("from"))
    targets = _mappings(ref, "spec.to", spec.get("to"))
    return ReferenceGrant(
        ref,
        frozenset((str(s.get("kind")), str(s.get("namespace"))) for s in sources if s.get("group") == "fairlead.dev"),
        frozenset(
            (str(t.get("kind")), str(t.get("name") or ""))
            for t in targets
            if t.get("group", "") in {"", "fairlead.dev"}
        ),
    )
