"""Minimal views of Kubernetes' own kinds: only the fields that Fairlead reads, checked while they are read."""

from __future__ import annotations

import base64
import binascii
import functools
import ipaddress
import operator
import sys
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, NamedTuple

from fairlead_operator.api.meta import GROUP, DecodeError, Ref, ref_of

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


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
class Namespace:
    """A namespace with those of its labels that are ours (``fairlead.dev/…``)."""

    ref: Ref
    labels: dict[str, str]


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
    if isinstance(value, str) and not _is_text(value):
        raise DecodeError(ref, path, "must be text that UTF-8 can hold")
    return value


def _is_text(value: str) -> bool:
    """JSON can hold half of a surrogate pair, protobuf cannot."""
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


def _mappings(ref: Ref, path: str, value: Any) -> list[dict[str, Any]]:
    items = _expect(ref, path, value, list, [])
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            _expect(ref, f"{path}[{index}]", item, dict, None)
            raise DecodeError(ref, f"{path}[{index}]", "must not be null")
    return list(items)


def _port(ref: Ref, path: str, value: Any) -> int:
    number = _expect(ref, path, value, int, 0)
    if not 0 < number < 65536:
        raise DecodeError(ref, path, f"must be a port from 1 to 65535, not {number}")
    return int(number)


def _target(ref: Ref, path: str, value: Any) -> str:
    """IntOrString; 0 and nothing are the port itself."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value or "")
    return str(_expect(ref, path, value, str, ""))


def read_service(raw: dict[str, Any]) -> Service:
    ref = ref_of(raw)
    spec = _expect(ref, "spec", raw.get("spec"), dict, {})
    ports = tuple(
        ServicePort(
            _expect(ref, f"spec.ports[{i}].name", port.get("name"), str, ""),
            _port(ref, f"spec.ports[{i}].port", port.get("port")),
            _expect(ref, f"spec.ports[{i}].protocol", port.get("protocol"), str, "TCP"),
            _expect(ref, f"spec.ports[{i}].appProtocol", port.get("appProtocol"), str, ""),
            _target(ref, f"spec.ports[{i}].targetPort", port.get("targetPort")),
        )
        for i, port in enumerate(_mappings(ref, "spec.ports", spec.get("ports")))
    )
    return Service(ref, ports, spec.get("type") == "ExternalName", _cluster_ips(ref, spec))


def _cluster_ips(ref: Ref, spec: dict[str, Any]) -> tuple[str, ...]:
    """Canonical, of each family one; ``clusterIP`` is the first of them, or the only one that an old object has."""
    texts = _expect(ref, "spec.clusterIPs", spec.get("clusterIPs"), list, [])
    texts = texts or [_expect(ref, "spec.clusterIP", spec.get("clusterIP"), str, "")]
    found = []
    for index, text in enumerate(texts):
        if text in ("", "None"):
            continue
        address = _address(text) if isinstance(text, str) else None
        if address is None:
            raise DecodeError(ref, f"spec.clusterIPs[{index}]", "must be an IP address or None")
        found.append(address)
    return tuple(found)


def read_namespace(raw: dict[str, Any]) -> Namespace:
    ref = ref_of(raw)
    labels = _expect(ref, "metadata.labels", raw["metadata"].get("labels"), dict, {})
    return Namespace(ref, {key: value for key, value in labels.items() if key.startswith(f"{GROUP}/")})


def read_slice(raw: dict[str, Any], known: EndpointSlice | None = None) -> EndpointSlice:
    """A slice. *known* is what was read of it before: endpoints that stand there are not read again."""
    ref = ref_of(raw)
    labels = _expect(ref, "metadata.labels", raw["metadata"].get("labels"), dict, {})
    of = _expect(ref, f"metadata.labels[{SERVICE_NAME_LABEL}]", labels.get(SERVICE_NAME_LABEL), str, "")
    service = Ref("Service", ref.namespace, of)
    ports = {
        _expect(ref, f"ports[{i}].name", port.get("name"), str, ""): _port(ref, f"ports[{i}].port", port["port"])
        for i, port in enumerate(_mappings(ref, "ports", raw.get("ports")))
        if port.get("port") is not None
    }
    if raw.get("addressType") not in ("IPv4", "IPv6"):  # no set: it may be anything, also unhashable
        # FQDN slices are deprecated and kube-proxy ignores them too.
        return EndpointSlice(ref, service, ports, ())
    entries = _mappings(ref, "endpoints", raw.get("endpoints"))
    before = {endpoint.address: endpoint for endpoint in known.endpoints} if known is not None else {}
    endpoints = [_same(before, entry) or _endpoint(ref, index, entry) for index, entry in enumerate(entries)]
    return EndpointSlice(ref, service, ports, tuple(endpoints))


_FIELDS = operator.itemgetter("addresses", "conditions", "zone", "nodeName", "targetRef")
_CONDITIONS = operator.itemgetter("ready", "serving", "terminating")


def _same(before: dict[str, SliceEndpoint], raw: dict[str, Any]) -> SliceEndpoint | None:
    """The endpoint that was read from an equal entry *before*: when one of a hundred changes, 99 are found here.

    Only entries that say everything are; ``_endpoint`` reads the others. Flags are compared by identity: 1 is no flag.
    """
    try:
        addresses, conditions, zone, node, target = _FIELDS(raw)
        ready, serving, terminating = _CONDITIONS(conditions)
        known = before.get(addresses[0])
        if (
            known is not None
            and known[1] is ready
            and known[2] is serving
            and known[3] is terminating
            and known[4] == zone
            and known[5] == node
            and known[6] == target["name"]
            and type(addresses) is list
        ):
            return known
    except (KeyError, TypeError, IndexError):
        pass
    return None


def _endpoint(ref: Ref, index: int, raw: dict[str, Any]) -> SliceEndpoint:
    """Paths for errors are made on errors only: there may be a thousand of these in a slice."""
    addresses, conditions, target = raw.get("addresses"), raw.get("conditions") or {}, raw.get("targetRef") or {}
    if type(addresses) is not list or type(conditions) is not dict or type(target) is not dict:
        raise _wrong(ref, index, raw)
    # The API: all addresses of an endpoint are the same thing; consumers take the first.
    address = _address(addresses[0]) if addresses and type(addresses[0]) is str else None
    ready, serving, terminating = conditions.get("ready"), conditions.get("serving"), conditions.get("terminating")
    zone, node = raw.get("zone") or "", raw.get("nodeName") or ""
    if address is None or type(zone) is not str or type(node) is not str:
        raise _wrong(ref, index, raw)
    if not (type(ready) in _FLAG and type(serving) in _FLAG and type(terminating) in _FLAG and _is_text(zone)):
        raise _wrong(ref, index, raw)
    # discovery.k8s.io/v1: a nil ready means ready, a nil serving means what ready says, a nil terminating means no.
    ready = ready is not False
    return SliceEndpoint(
        address,
        ready,
        ready if serving is None else serving,
        terminating is True,
        sys.intern(zone),
        sys.intern(node),
        pod if type(pod := target.get("name")) is str else "",
    )


_FLAG = frozenset({bool, NoneType})


def _wrong(ref: Ref, index: int, raw: dict[str, Any]) -> DecodeError:
    """What is wrong with an endpoint in which something is."""
    path = f"endpoints[{index}]"
    try:
        for name, kind in (
            ("addresses", list),
            ("conditions", dict),
            ("targetRef", dict),
            ("zone", str),
            ("nodeName", str),
        ):
            _expect(ref, f"{path}.{name}", raw.get(name) or None, kind, None)
        for name in ("ready", "serving", "terminating"):
            _expect(ref, f"{path}.conditions.{name}", (raw.get("conditions") or {}).get(name), bool, None)
    except DecodeError as error:
        return error
    return DecodeError(ref, f"{path}.addresses[0]", "must be an IP address")


@functools.lru_cache(maxsize=16384)
def _address(text: str) -> str | None:
    """An IP address as it is written canonically, ``None`` if it is none. Remembered: slices repeat theirs."""
    try:
        # No zone (%eth0): Envoy takes none.
        return None if "%" in text else str(ipaddress.ip_address(text))
    except ValueError:
        return None


def read_secret(raw: dict[str, Any]) -> TlsSecret:
    """A Secret with ``tls.crt`` and ``tls.key``. What they hold is judged by ``certificates.problem``."""
    ref = ref_of(raw)
    data = _expect(ref, "data", raw.get("data"), dict, {})
    plain = _expect(ref, "stringData", raw.get("stringData"), dict, {})
    values: dict[str, bytes] = {}
    for key in ("tls.crt", "tls.key"):
        if plain.get(key) is not None:
            values[key] = _expect(ref, f"stringData[{key}]", plain[key], str, "").encode()
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
    spec = _expect(ref, "spec", raw.get("spec"), dict, {})
    sources = _mappings(ref, "spec.from", spec.get("from"))
    targets = _mappings(ref, "spec.to", spec.get("to"))

    def part(entry: dict[str, Any], where: str, name: str) -> str:
        return str(_expect(ref, f"spec.{where}.{name}", entry.get(name), str, ""))

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
