"""EndpointSlices as far as Fairlead reads them. A hundred endpoints are read when one of them changes: the hot path."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import NoneType
from typing import Any, NamedTuple

from fairlead_operator.api.fields import expect, ip_address, is_text, mapping, mappings, port_number
from fairlead_operator.api.meta import DecodeError, Ref, ref_of

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


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


def read_slice(raw: dict[str, Any], known: EndpointSlice | None = None) -> EndpointSlice:
    """A slice. *known* is what was read of it before: endpoints that stand there are not read again."""
    ref = ref_of(raw)
    labels = expect(ref, "metadata.labels", raw["metadata"].get("labels"), dict, {})
    of = expect(ref, f"metadata.labels[{SERVICE_NAME_LABEL}]", labels.get(SERVICE_NAME_LABEL), str, "")
    service = Ref("Service", ref.namespace, of)
    ports = {
        expect(ref, f"ports[{i}].name", port.get("name"), str, ""): port_number(ref, f"ports[{i}].port", port["port"])
        for i, port in enumerate(mappings(ref, "ports", raw.get("ports")))
        if port.get("port") is not None
    }
    if raw.get("addressType") not in ("IPv4", "IPv6"):  # no set: it may be anything, also unhashable
        # FQDN slices are deprecated and kube-proxy ignores them too.
        return EndpointSlice(ref, service, ports, ())
    entries = expect(ref, "endpoints", raw.get("endpoints"), list, [])
    known_endpoints = known.endpoints if known is not None else ()
    return EndpointSlice(ref, service, ports, tuple(_endpoints(ref, entries, known_endpoints)))


def _endpoints(ref: Ref, entries: list[Any], known: tuple[SliceEndpoint, ...]) -> list[SliceEndpoint]:
    """When one of a hundred changes, 99 are found among those that are *known*.

    Only entries that say everything are looked for; ``_endpoint`` reads the others. Flags are compared by identity: 1 is no
    flag. All in one loop, as a call for each costs as much as what it does.
    """
    before = {endpoint[0]: endpoint for endpoint in known}
    found: list[SliceEndpoint] = []
    for entry in entries:
        try:
            addresses, conditions = entry["addresses"], entry["conditions"]
            _, ready, serving, terminating, zone, node, pod = same = before[addresses[0]]
            if (
                ready is conditions["ready"]
                and serving is conditions["serving"]
                and terminating is conditions["terminating"]
                and zone == entry.get("zone", "")  # many clusters have none
                and node == entry["nodeName"]
                and pod == entry["targetRef"]["name"]
                and type(addresses) is list
            ):
                found.append(same)
                continue
        except (KeyError, TypeError, IndexError):  # it is new, or says less, or nonsense
            pass
        found.append(_endpoint(ref, len(found), entry))
    return found


def _endpoint(ref: Ref, index: int, raw: Any) -> SliceEndpoint:
    """Paths for errors are made on errors only: there may be a thousand of these in a slice."""
    if not isinstance(raw, dict):
        raw = mapping(ref, f"endpoints[{index}]", raw)
    addresses, conditions, target = raw.get("addresses"), raw.get("conditions") or {}, raw.get("targetRef") or {}
    if type(addresses) is not list or type(conditions) is not dict or type(target) is not dict:
        raise _wrong(ref, index, raw)
    # The API: all addresses of an endpoint are the same thing; consumers take the first.
    address = ip_address(addresses[0]) if addresses and type(addresses[0]) is str else None
    ready, serving, terminating = conditions.get("ready"), conditions.get("serving"), conditions.get("terminating")
    zone, node = raw.get("zone") or "", raw.get("nodeName") or ""
    if address is None or type(zone) is not str or type(node) is not str:
        raise _wrong(ref, index, raw)
    if not (type(ready) in _FLAG and type(serving) in _FLAG and type(terminating) in _FLAG and is_text(zone)):
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
            expect(ref, f"{path}.{name}", raw.get(name) or None, kind, None)
        for name in ("ready", "serving", "terminating"):
            expect(ref, f"{path}.conditions.{name}", (raw.get("conditions") or {}).get(name), bool, None)
    except DecodeError as error:
        return error
    return DecodeError(ref, f"{path}.addresses[0]", "must be an IP address")
