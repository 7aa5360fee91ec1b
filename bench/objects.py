"""The cluster that is measured: raw objects, as the API server shows them.

Each Service has a policy of its own (one host, one route) on the one port of the gateway ``edge``. The first Service has
``MANY`` endpoints, the others three.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

NAMESPACE: Final = "bench"
GATEWAY: Final = "edge"
MANY: Final = 100
"""Endpoints of the Service that changes: a full EndpointSlice."""
FEW: Final = 3


def cluster(services: int, *, port: int = 8080) -> Iterator[dict[str, Any]]:
    """Everything, in the order in which a source lists kinds; *port* is the gateway's."""
    numbers = range(services)
    yield from map(service, numbers)
    yield from map(endpoint_slice, numbers)
    yield from (policy(number, port=port) for number in numbers)


def service(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(number),
        "spec": {"ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    }


def endpoint_slice(number: int, turn: int = 0) -> dict[str, Any]:
    """The slice of a Service. Each *turn* has another last endpoint; all else stays."""
    count = MANY if number == 0 else FEW
    hosts = [*range(1, count), 100 + turn % 100]
    name = _name(number)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": _metadata(number) | {"name": f"{name}-a", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.{number // 256 + (turn // 100 if host >= 100 else 0)}.{number % 256}.{host}"],
                "conditions": {"ready": True, "serving": True, "terminating": False},
                "nodeName": f"node-{host % 10}",
                "zone": f"zone-{host % 3}",
                "targetRef": {"kind": "Pod", "namespace": NAMESPACE, "name": f"{name}-{host}"},
            }
            for host in hosts
        ],
    }


def policy(number: int, generation: int = 1, *, port: int = 8080) -> dict[str, Any]:
    """The policy of a Service; each *generation* changes its route's timeout."""
    return {
        "apiVersion": "fairlead.dev/v1alpha1",
        "kind": "LoadBalancerPolicy",
        "metadata": _metadata(number) | {"generation": generation, "creationTimestamp": "2025-01-01T00:00:00Z"},
        "spec": {
            "proxies": {"gateway": GATEWAY},
            "listeners": [
                {"name": "http", "port": port, "protocol": "HTTP", "hostnames": [f"{_name(number)}.example.com"]}
            ],
            "routes": [
                {
                    "name": "all",
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "backendRefs": [{"name": _name(number), "port": 80}],
                    "timeouts": {"request": f"{10 + generation % 50}s"},
                }
            ],
        },
    }


def _name(number: int) -> str:
    return f"service-{number:04}"


def _metadata(number: int) -> dict[str, Any]:
    return {"namespace": NAMESPACE, "name": _name(number)}
