"""Minimal views of Kubernetes' own kinds: only the fields that Fairlead reads, checked while they are read."""

from __future__ import annotations

import base64
import binascii
import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fairlead_operator.api.fields import expect, ip_address, mappings, port_number
from fairlead_operator.api.meta import GROUP, DecodeError, Ref, ref_of


class ServicePort(NamedTuple):
    """A port of a Service; ``name`` is empty where the Service has one port only.

    ``target`` is the port of the pods: a number, or the name of one. Empty: the same as ``port``.
    """

    name: str
    port: int
    protocol: str = "TCP"
    app_protocol: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    """A Service; ``cluster_ips`` are its addresses in the cluster, none for a headless one."""

    ref: Ref
    ports: tuple[ServicePort, ...]
    external_name: bool = False
    cluster_ips: tuple[str, ...] = ()

    def port(self, number: int) -> ServicePort | None:
        return next((port for port in self.ports if port.port == number), None)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace with those of its labels that are ours (``fairlead.dev/…``)."""

    ref: Ref
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class TlsSecret:
    """A Secret; ``error`` says why it cannot serve as a certificate.

    Attributes:
        expires: when the certificate ends, in seconds since the epoch.
    """

    ref: Ref
    certificate: bytes = field(repr=False)
    key: bytes = field(repr=False)
    error: str = ""
    expires: float = math.inf


@dataclass(frozen=True, slots=True)
class ReferenceGrant:
    """Gateway API's permission: objects of ``from`` (kind, namespace) may refer to ``to`` (kind, name or "") here."""

    ref: Ref
    sources: frozenset[tuple[str, str]]
    targets: frozenset[tuple[str, str]]


def _target(ref: Ref, path: str, value: Any) -> str:
    """IntOrString; 0 and nothing are the port itself."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value or "")
    return str(expect(ref, path, value, str, ""))


def read_service(raw: dict[str, Any]) -> Service:
    ref = ref_of(raw)
    spec = expect(ref, "spec", raw.get("spec"), dict, {})
    ports = tuple(
        ServicePort(
            expect(ref, f"spec.ports[{i}].name", port.get("name"), str, ""),
            port_number(ref, f"spec.ports[{i}].port", port.get("port")),
            expect(ref, f"spec.ports[{i}].protocol", port.get("protocol"), str, "TCP"),
            expect(ref, f"spec.ports[{i}].appProtocol", port.get("appProtocol"), str, ""),
            _target(ref, f"spec.ports[{i}].targetPort", port.get("targetPort")),
        )
        for i, port in enumerate(mappings(ref, "spec.ports", spec.get("ports")))
    )
    return Service(ref, ports, spec.get("type") == "ExternalName", _cluster_ips(ref, spec))


def _cluster_ips(ref: Ref, spec: dict[str, Any]) -> tuple[str, ...]:
    """Canonical, of each family one; ``clusterIP`` is the first of them, or the only one that an old object has."""
    texts = expect(ref, "spec.clusterIPs", spec.get("clusterIPs"), list, [])
    texts = texts or [expect(ref, "spec.clusterIP", spec.get("clusterIP"), str, "")]
    found = []
    for index, text in enumerate(texts):
        if text in ("", "None"):
            continue
        address = ip_address(text) if isinstance(text, str) else None
        if address is None:
            raise DecodeError(ref, f"spec.clusterIPs[{index}]", "must be an IP address or None")
        found.append(address)
    return tuple(found)


def read_namespace(raw: dict[str, Any]) -> Namespace:
    ref = ref_of(raw)
    labels = expect(ref, "metadata.labels", raw["metadata"].get("labels"), dict, {})
    return Namespace(ref, {key: value for key, value in labels.items() if key.startswith(f"{GROUP}/")})


def read_secret(raw: dict[str, Any]) -> TlsSecret:
    """A Secret with ``tls.crt`` and ``tls.key``. What they hold is judged by ``certificates.problem``."""
    ref = ref_of(raw)
    data = expect(ref, "data", raw.get("data"), dict, {})
    plain = expect(ref, "stringData", raw.get("stringData"), dict, {})
    values: dict[str, bytes] = {}
    for key in ("tls.crt", "tls.key"):
        if plain.get(key) is not None:
            values[key] = expect(ref, f"stringData[{key}]", plain[key], str, "").encode()
            continue
        text = data.get(key)
        if not isinstance(text, str) or not text:
            return TlsSecret(ref, b"", b"", f"data[{key}] is missing")
        try:
            # Line breaks are no error for the API server either: it writes and people paste such blocks.
            values[key] = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
        except (binascii.Error, ValueError):
            return TlsSecret(ref, b"", b"", f"data[{key}] is not base64")
    return TlsSecret(ref, values["tls.crt"], values["tls.key"])


def read_grant(raw: dict[str, Any]) -> ReferenceGrant:
    ref = ref_of(raw)
    spec = expect(ref, "spec", raw.get("spec"), dict, {})
    sources = mappings(ref, "spec.from", spec.get("from"))
    targets = mappings(ref, "spec.to", spec.get("to"))

    def part(entry: dict[str, Any], where: str, name: str) -> str:
        return str(expect(ref, f"spec.{where}.{name}", entry.get(name), str, ""))

    return ReferenceGrant(
        ref,
        frozenset(
            (part(entry, "from", "kind"), part(entry, "from", "namespace"))
            for entry in sources
            if entry.get("group") == "fairlead.dev"
        ),
        frozenset(
            (part(entry, "to", "kind"), part(entry, "to", "name"))
            for entry in targets
            if entry.get("group", "") in ("", "fairlead.dev")  # no set: it may be anything, also unhashable
        ),
    )
