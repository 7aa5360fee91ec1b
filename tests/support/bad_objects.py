"""Good objects, and objects with one mistake each: refused by the API server and by the models alike.

``tests/api/test_crd.py`` and ``tests/unit/operator/test_models.py`` share the table.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

NOTHING: dict[str, Any] = {}
POLICY: dict[str, Any] = {
    "apiVersion": "fairlead.dev/v1alpha1",
    "kind": "LoadBalancerPolicy",
    "metadata": {"name": "shop", "namespace": "shop"},
    "spec": {
        "proxies": {"gateway": "edge"},
        "listeners": [
            {"name": "http", "port": 80, "protocol": "HTTP", "hostnames": ["shop.example.com"]},
            {
                "name": "https",
                "port": 443,
                "protocol": "HTTPS",
                "hostnames": ["shop.example.com", "*.shop.example.com"],
                "tls": {"certificateRefs": [{"name": "shop-tls"}]},
            },
        ],
        "routes": [
            {
                "name": "users",
                "listeners": ["https"],
                "hostnames": ["shop.example.com"],
                "matches": [
                    {
                        "path": {"type": "PathPrefix", "value": "/api/users"},
                        "headers": [{"name": "x-env", "value": "canary"}],
                    }
                ],
                "backendRefs": [
                    {"name": "users-v1", "port": 80, "weight": 90},
                    {"kind": "Backend", "name": "users-outside", "weight": 10},
                ],
                "timeouts": {"request": "15s", "backendRequest": "5s"},
            },
            {"name": "rest", "backendRefs": [{"name": "web", "port": 80}]},
        ],
        "loadBalancer": {
            "type": "ConsistentHash",
            "consistentHash": {
                "hashOn": [
                    {"type": "Header", "header": {"name": "x-user"}},
                    {"type": "Cookie", "cookie": {"name": "side", "ttl": "1h"}},
                    {"type": "SourceIP"},
                ]
            },
        },
        "sessionPersistence": {"name": "SERVERID", "ttl": "1h", "secure": True, "sameSite": "None"},
        "endpoints": {"notReady": "Degrade"},
    },
}
ATTACHED: dict[str, Any] = {
    "apiVersion": "fairlead.dev/v1alpha1",
    "kind": "LoadBalancerPolicy",
    "metadata": {"name": "users", "namespace": "shop"},
    "spec": {"targetRefs": [{"name": "users-v1"}], "loadBalancer": {"type": "RoundRobin"}},
}
ON_SIDECARS: dict[str, Any] = {
    "apiVersion": "fairlead.dev/v1alpha1",
    "kind": "LoadBalancerPolicy",
    "metadata": {"name": "front", "namespace": "shop"},
    "spec": {
        "proxies": {"sidecars": {"matchLabels": {"app": "front", "app.kubernetes.io/part-of": "shop", "canary": ""}}},
        "listeners": [{"name": "users", "port": 8001, "protocol": "HTTP"}],
        "routes": [{"name": "all", "backendRefs": [{"name": "users", "port": 80}]}],
    },
}
BACKEND: dict[str, Any] = {
    "apiVersion": "fairlead.dev/v1alpha1",
    "kind": "Backend",
    "metadata": {"name": "outside", "namespace": "shop"},
    "spec": {"endpoints": [{"address": "192.0.2.10", "port": 8080}, {"address": "2001:db8::1", "port": 8080}]},
}
BACKEND_BY_NAME: dict[str, Any] = {
    "apiVersion": "fairlead.dev/v1alpha1",
    "kind": "Backend",
    "metadata": {"name": "outside-by-name", "namespace": "shop"},
    "spec": {"endpoints": [{"hostname": "db.example.com", "port": 5432, "weight": 3}]},
}
GOOD = {
    "inline": POLICY,
    "on-sidecars": ON_SIDECARS,
    "attached": ATTACHED,
    "backend": BACKEND,
    "backend-by-name": BACKEND_BY_NAME,
}

#: In place of a value: remove the field.
ABSENT = object()


@dataclass(frozen=True)
class Bad:
    """One mistake.

    Attributes:
        name: what is wrong, as the name of the test.
        base: the good object that is spoiled.
        changes: field path -> what stands there instead; ABSENT removes it.
        path: the field that both judges must name.
        server, ours: what the API server and the models must say.
    """

    name: str
    base: dict[str, Any]
    changes: dict[str, Any]
    path: str
    server: str
    ours: str

    @property
    def manifest(self) -> dict[str, Any]:
        spoiled = copy.deepcopy(self.base)
        for path, value in self.changes.items():
            _set(spoiled, path, value)
        return spoiled


def _set(manifest: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = [int(p) if p.isdigit() else p for p in re.findall(r"[^.\[\]]+", path)]
    node: Any = manifest
    for part in parents:
        node = node[part]
    if value is ABSENT:
        del node[last]
    else:
        node[last] = copy.deepcopy(value)


def _both(name: str, base: dict[str, Any], changes: dict[str, Any], path: str, words: str) -> Bad:
    """A mistake about which both judges use the same words: those of a ``Rule``."""
    return Bad(name, base, changes, path, words, words)


LABELS = "spec.proxies.sidecars.matchLabels"
TLS = "spec.listeners[1].tls"
SESSION = "spec.sessionPersistence"
ROUTE = "spec.routes[0]"
BACKEND_REF = f"{ROUTE}.backendRefs[0]"
MATCH = f"{ROUTE}.matches[0]"
HASH = "spec.loadBalancer.consistentHash"
HASH_ON = f"{HASH}.hashOn[0]"

BY_NAME = BACKEND_BY_NAME["spec"]["endpoints"][0]
MANY_LISTENERS = [{"name": f"l{i}", "port": i + 1, "protocol": "HTTP"} for i in range(33)]
MANY_ENDPOINTS = [{"address": "192.0.2.1", "port": i + 1} for i in range(257)]

BAD = [
    # What is tried again
    Bad(
        "too-many-attempts",
        POLICY,
        {f"{ROUTE}.retry": {"attempts": 11}},
        f"{ROUTE}.retry.attempts",
        "less than or equal to 10",
        "10",
    ),
    Bad(
        "unknown-retry-condition",
        POLICY,
        {f"{ROUTE}.retry": {"retryOn": ["5xx"]}},
        f"{ROUTE}.retry.retryOn[0]",
        "Unsupported value",
        "must be",
    ),
    Bad(
        "no-retry-condition",
        POLICY,
        {f"{ROUTE}.retry": {"retryOn": []}},
        f"{ROUTE}.retry.retryOn",
        "should have at least 1 items",
        "1",
    ),
    # Names and types of fields
    Bad("unknown-field", POLICY, {"spec.routez": []}, "spec.routez", "unknown field", "unknown field"),
    Bad("unknown-field-deep", POLICY, {f"{MATCH}.method": "GET"}, f"{MATCH}.method", "unknown field", "unknown field"),
    Bad(
        "snake-case",
        POLICY,
        {"spec.session_persistence": {}},
        "spec.session_persistence",
        "unknown field",
        "unknown field",
    ),
    Bad("missing-field", POLICY, {f"{ROUTE}.backendRefs": ABSENT}, f"{ROUTE}.backendRefs", "Required", "is required"),
    Bad("null-field", POLICY, {f"{ROUTE}.name": None}, f"{ROUTE}.name", "Required", "is required"),
    # Which proxies
    _both("no-proxies", POLICY, {"spec.proxies": {}}, "spec.proxies", "set either gateway or sidecars"),
    _both(
        "gateway-and-sidecars",
        ON_SIDECARS,
        {"spec.proxies.gateway": "edge"},
        "spec.proxies",
        "set either gateway or sidecars",
    ),
    Bad("no-labels", ON_SIDECARS, {LABELS: ABSENT}, LABELS, "Required", "is required"),
    Bad("any-labels", ON_SIDECARS, {LABELS: {}}, LABELS, "should have at least 1 properties", "must have 1 or more"),
    _both("bad-label-key", ON_SIDECARS, {LABELS: {"a b": "c"}}, LABELS, "keys must be label keys, such as app"),
    Bad(
        "bad-label-value",
        ON_SIDECARS,
        {LABELS: {"app": "-front"}},
        f"{LABELS}.app",
        'Invalid value: "-front"',
        "'-front' must match",
    ),
    Bad("no-certificate", POLICY, {f"{TLS}.certificateRefs": ABSENT}, f"{TLS}.certificateRefs", "Required", "required"),
    Bad(
        "number-as-text",
        POLICY,
        {f"{BACKEND_REF}.weight": "5"},
        f"{BACKEND_REF}.weight",
        "must be of type integer",
        "must be a whole number, not '5'",
    ),
    Bad(
        "number-as-truth",
        POLICY,
        {f"{BACKEND_REF}.weight": True},
        f"{BACKEND_REF}.weight",
        "must be of type integer",
        "must be a whole number, not true",
    ),
    Bad(
        "fraction",
        POLICY,
        {f"{BACKEND_REF}.weight": 5.5},
        f"{BACKEND_REF}.weight",
        "must be of type integer",
        "must be a whole number, not 5.5",
    ),
    Bad(
        "truth-as-text",
        POLICY,
        {f"{SESSION}.secure": "true"},
        f"{SESSION}.secure",
        "must be of type boolean",
        "must be true or false, not 'true'",
    ),
    Bad(
        "text-for-object",
        POLICY,
        {"spec.proxies": "edge"},
        "spec.proxies",
        "must be of type object",
        "must be an object with fields, not 'edge'",
    ),
    Bad(
        "text-for-list",
        POLICY,
        {"spec.routes": "users"},
        "spec.routes",
        "must be of type array",
        "must be a list, not 'users'",
    ),
    # Ranges and patterns
    Bad(
        "unknown-enum-value",
        POLICY,
        {"spec.loadBalancer.type": "Fastest"},
        "spec.loadBalancer.type",
        'Unsupported value: "Fastest": supported values: "RoundRobin", "LeastRequest"',
        "must be 'RoundRobin', 'LeastRequest', 'Random' or 'ConsistentHash', not 'Fastest'",
    ),
    Bad(
        "bad-duration",
        POLICY,
        {f"{ROUTE}.timeouts.request": "15 seconds"},
        f"{ROUTE}.timeouts.request",
        'Invalid value: "15 seconds"',
        "must be a duration such as 10s, 1m30s or 500ms, not '15 seconds'",
    ),
    _both("zero-ttl", POLICY, {f"{SESSION}.ttl": "0s"}, f"{SESSION}.ttl", "must be longer than 0"),
    Bad(
        "weight-too-large",
        POLICY,
        {f"{BACKEND_REF}.weight": 1_000_001},
        f"{BACKEND_REF}.weight",
        "should be less than or equal to 1000000",
        "must be 1000000 or less, not 1000001",
    ),
    Bad(
        "negative-weight",
        POLICY,
        {f"{BACKEND_REF}.weight": -1},
        f"{BACKEND_REF}.weight",
        "should be greater than or equal to 0",
        "must be 0 or more, not -1",
    ),
    Bad(
        "negative-port",
        BACKEND,
        {"spec.endpoints[0].port": -1},
        "spec.endpoints[0].port",
        "should be greater than or equal to 1",
        "must be 1 or more, not -1",
    ),
    Bad(
        "port-too-large",
        POLICY,
        {"spec.listeners[0].port": 65536},
        "spec.listeners[0].port",
        "should be less than or equal to 65535",
        "must be 65535 or less, not 65536",
    ),
    Bad(
        "bad-hostname",
        POLICY,
        {"spec.listeners[0].hostnames": ["Shop_.example"]},
        "spec.listeners[0].hostnames[0]",
        'Invalid value: "Shop_.example"',
        "'Shop_.example' must match",
    ),
    Bad(
        "bad-header-name",
        POLICY,
        {f"{MATCH}.headers[0].name": "x env"},
        f"{MATCH}.headers[0].name",
        'Invalid value: "x env"',
        "'x env' must match",
    ),
    Bad(
        "bad-cookie-path",
        POLICY,
        {f"{SESSION}.path": "/a;b"},
        f"{SESSION}.path",
        'Invalid value: "/a;b"',
        "'/a;b' must match",
    ),
    Bad(
        "empty-name",
        POLICY,
        {"spec.proxies.gateway": ""},
        "spec.proxies.gateway",
        "should be at least 1 chars long",
        "must have 1 or more characters",
    ),
    Bad(
        "path-too-long",
        POLICY,
        {f"{MATCH}.path.value": "/" + "a" * 1024},
        f"{MATCH}.path.value",
        "Too long: may not be more than 1024 bytes",
        "must have 1024 or fewer characters",
    ),
    Bad(
        "too-many-listeners",
        POLICY,
        {"spec.listeners": MANY_LISTENERS},
        "spec.listeners",
        "Too many: 33: must have at most 32 items",
        "must have 32 or fewer items, not 33",
    ),
    Bad(
        "too-many-endpoints",
        BACKEND,
        {"spec.endpoints": MANY_ENDPOINTS},
        "spec.endpoints",
        "Too many: 257: must have at most 256 items",
        "must have 256 or fewer items, not 257",
    ),
    Bad(
        "no-match",
        POLICY,
        {f"{ROUTE}.matches": []},
        f"{ROUTE}.matches",
        "should have at least 1 items",
        "must have 1 or more items",
    ),
    Bad(
        "no-hash-key",
        POLICY,
        {f"{HASH}.hashOn": []},
        f"{HASH}.hashOn",
        "should have at least 1 items",
        "must have 1 or more items",
    ),
    # Equal items
    Bad(
        "duplicate-listener",
        POLICY,
        {"spec.listeners[1].name": "http"},
        "spec.listeners[1]",
        'Duplicate value: {"name":"http"}',
        "name 'http' is there twice",
    ),
    Bad(
        "duplicate-route",
        POLICY,
        {"spec.routes[1].name": "users"},
        "spec.routes[1]",
        'Duplicate value: {"name":"users"}',
        "name 'users' is there twice",
    ),
    Bad(
        "duplicate-target",
        ATTACHED,
        {"spec.targetRefs": [{"name": "a"}, {"name": "a"}]},
        "spec.targetRefs[1]",
        'Duplicate value: {"name":"a"}',
        "name 'a' is there twice",
    ),
    Bad(
        "duplicate-hostname",
        POLICY,
        {f"{ROUTE}.hostnames": ["a.b", "a.b"]},
        f"{ROUTE}.hostnames[1]",
        'Duplicate value: "a.b"',
        "'a.b' is there twice",
    ),
    _both(
        "duplicate-port",
        POLICY,
        {"spec.listeners[1].port": 80},
        "spec.listeners",
        "listeners must have different ports",
    ),
    # Shapes
    _both("both-shapes", POLICY, {"spec.targetRefs": [{"name": "users"}]}, "spec", "set either proxies, listeners"),
    _both("neither-shape", POLICY, {"spec": {}}, "spec", "set either proxies, listeners"),
    _both(
        "half-a-site", POLICY, {"spec.routes": ABSENT}, "spec", "listeners and routes belong to proxies: set all three"
    ),
    _both(
        "target-with-listeners",
        ATTACHED,
        {"spec.listeners": POLICY["spec"]["listeners"]},
        "spec",
        "listeners and routes belong to proxies",
    ),
    _both(
        "target-without-anything",
        ATTACHED,
        {"spec.loadBalancer": ABSENT},
        "spec",
        "targetRefs needs at least one of loadBalancer, sessionPersistence, healthCheck and endpoints",
    ),
    # Health
    _both(
        "health-check-empty",
        ATTACHED,
        {"spec.healthCheck": {}},
        "spec.healthCheck",
        "nothing is set: leave healthCheck out instead",
    ),
    _both(
        "passive-all-off",
        ATTACHED,
        {"spec.healthCheck": {"passive": {"consecutive5xxErrors": 0}}},
        "spec.healthCheck.passive",
        "every criterion is off: leave passive out instead",
    ),
    *(
        _both(
            f"max-ejection-percent-{value}",
            ATTACHED,
            {"spec.healthCheck": {"passive": {"maxEjectionPercent": value}}},
            "spec.healthCheck.passive.maxEjectionPercent",
            "must be Auto or a whole number from 0 to 100",
        )
        for value in ("Half", 101, -1)
    ),
    _both(
        "active-without-member",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "HTTP"}}},
        "spec.healthCheck.active.http",
        "http must be set when type is HTTP",
    ),
    _both(
        "active-timeout-above-interval",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "TCP", "tcp": {}, "interval": "1s", "timeout": "2s"}}},
        "spec.healthCheck.active.timeout",
        "must not be longer than interval",
    ),
    _both(
        "active-timeout-above-interval-of-a-probe",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "ReadinessProbe", "interval": "1s", "timeout": "2s"}}},
        "spec.healthCheck.active.timeout",
        "must not be longer than interval",
    ),
    *(
        _both(
            f"active-timeout-of-{kind}-that-holds-up-everything",
            ATTACHED,
            {"spec.healthCheck": {"active": {"type": kind, "timeout": "16s", "interval": "1m", **more}}},
            "spec.healthCheck.active.timeout",
            "must be 15s or shorter",
        )
        for kind, more in (("LivenessProbe", NOTHING), ("TCP", {"tcp": NOTHING}))
    ),
    _both(
        "flapping-for-longer-than-is-remembered",
        ATTACHED,
        {"spec.endpoints": {"flapping": {"within": "61m"}}},
        "spec.endpoints.flapping.within",
        "must be 1h or shorter",
    ),
    _both(
        "fallback-with-weight",
        POLICY,
        {
            "spec.routes[0].backendRefs": [
                {"name": "web", "port": 80},
                {"name": "b", "port": 80, "weight": 2, "fallback": True},
            ]
        },
        "spec.routes[0].backendRefs[1].weight",
        "a fallback has no weight: it takes what the others cannot",
    ),
    _both(
        "fallbacks-only",
        POLICY,
        {"spec.routes[0].backendRefs": [{"name": "web", "port": 80, "fallback": True}]},
        "spec.routes[0].backendRefs",
        "at least one must not be a fallback",
    ),
    _both(
        "activate-below-without-fallback",
        POLICY,
        {"spec.routes[0].activateBelowHealthyPercent": 50},
        "spec.routes[0].activateBelowHealthyPercent",
        "may only be set with a backendRef that has fallback: true",
    ),
    _both(
        "active-port-of-a-probe",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "ReadinessProbe", "port": 80}}},
        "spec.healthCheck.active.port",
        "may not be set with a probe, which says its port",
    ),
    _both(
        "active-probe-with-member",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "LivenessProbe", "tcp": {}}}},
        "spec.healthCheck.active.tcp",
        "tcp may only be set when type is TCP",
    ),
    _both(
        "active-host-as-header",
        ATTACHED,
        {
            "spec.healthCheck": {
                "active": {"type": "HTTP", "http": {"headers": [{"name": "Host", "value": "shop.example.com"}]}}
            }
        },
        "spec.healthCheck.active.http.headers[0].name",
        "say it as host",
    ),
    Bad(
        "restarting-threshold",
        ATTACHED,
        {"spec.endpoints": {"restarting": {"threshold": 0}}},
        "spec.endpoints.restarting.threshold",
        "greater than or equal to 1",
        "must be 1 or more, not 0",
    ),
    *(
        _both(
            f"{setting}-hold-above-within",
            ATTACHED,
            {"spec.endpoints": {setting: {"within": "1m", "hold": "61s"}}},
            f"spec.endpoints.{setting}.hold",
            "must not be longer than within",
        )
        for setting in ("restarting", "flapping")
    ),
    *(
        _both(
            f"active-interval-{interval}",
            ATTACHED,
            {"spec.healthCheck": {"active": {"type": "ReadinessProbe", "interval": interval}}},
            "spec.healthCheck.active.interval",
            "must be 100ms or longer",
        )
        for interval in ("1ms", "99ms")
    ),
    _both(
        "active-path-not-ascii",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "HTTP", "http": {"path": "/caf\u00e9"}}}},
        "spec.healthCheck.active.http.path",
        "must be percent-encoded where it is not ASCII",
    ),
    Bad(
        "node-lost-percent",
        ATTACHED,
        {"spec.endpoints": {"nodeLost": {"maxPercent": 101}}},
        "spec.endpoints.nodeLost.maxPercent",
        "less than or equal to 100",
        "must be 100 or less, not 101",
    ),
    _both(
        "statuses-upside-down",
        ATTACHED,
        {"spec.healthCheck": {"active": {"type": "HTTP", "http": {"expectedStatuses": [{"first": 300, "last": 200}]}}}},
        "spec.healthCheck.active.http.expectedStatuses[0].last",
        "must not be below first",
    ),
    _both(
        "slow-start-of-random",
        ATTACHED,
        {"spec.loadBalancer": {"type": "Random", "slowStart": {"window": "10s"}}},
        "spec.loadBalancer.slowStart",
        "slowStart may only be set when type is RoundRobin or LeastRequest",
    ),
    # Rules over several fields
    _both("https-without-tls", POLICY, {TLS: ABSENT}, TLS, "tls must be set when protocol is HTTPS"),
    _both("http-with-tls", POLICY, {"spec.listeners[1].protocol": "HTTP"}, TLS, "tls may only be set when protocol is"),
    _both(
        "hash-without-member",
        POLICY,
        {f"{HASH_ON}.header": ABSENT},
        f"{HASH_ON}.header",
        "header must be set when type is Header",
    ),
    _both(
        "hash-with-wrong-member",
        POLICY,
        {f"{HASH_ON}.cookie": {"name": "side"}},
        f"{HASH_ON}.cookie",
        "cookie may only be set when type is Cookie",
    ),
    _both("hash-without-key", POLICY, {HASH: ABSENT}, HASH, "consistentHash must be set when type is ConsistentHash"),
    _both(
        "key-without-hash",
        POLICY,
        {"spec.loadBalancer.type": "Random"},
        HASH,
        "consistentHash may only be set when type is ConsistentHash",
    ),
    _both(
        "service-without-port",
        POLICY,
        {f"{BACKEND_REF}.port": ABSENT},
        f"{BACKEND_REF}.port",
        "port must be set for a Service",
    ),
    _both(
        "backend-with-port",
        POLICY,
        {f"{ROUTE}.backendRefs[1].port": 80},
        f"{ROUTE}.backendRefs[1].port",
        "must not for a Backend",
    ),
    _both(
        "relative-path",
        POLICY,
        {f"{MATCH}.path.value": "api"},
        f"{MATCH}.path.value",
        "value must start with / unless type is RegularExpression",
    ),
    _both(
        "path-with-query",
        POLICY,
        {f"{MATCH}.path.value": "/a?b=c"},
        f"{MATCH}.path.value",
        "value must not hold ?, # or //",
    ),
    _both(
        "present-with-value",
        POLICY,
        {f"{MATCH}.headers[0].type": "Present"},
        f"{MATCH}.headers[0].value",
        "unless type is Present: then it must not",
    ),
    _both(
        "header-without-value",
        POLICY,
        {f"{MATCH}.headers[0].value": ABSENT},
        f"{MATCH}.headers[0].value",
        "value must be set, unless type is Present",
    ),
    _both(
        "try-longer-than-request",
        POLICY,
        {f"{ROUTE}.timeouts.backendRequest": "20s"},
        f"{ROUTE}.timeouts.backendRequest",
        "backendRequest must not be longer than request",
    ),
    _both(
        "same-site-none-insecure",
        POLICY,
        {f"{SESSION}.secure": ABSENT},
        f"{SESSION}.secure",
        "secure must be true when sameSite is None",
    ),
    # Backend
    _both(
        "address-and-hostname",
        BACKEND,
        {"spec.endpoints[0].hostname": "db.example.com"},
        "spec.endpoints[0]",
        "set either address or hostname",
    ),
    _both(
        "neither-address-nor-hostname",
        BACKEND,
        {"spec.endpoints[0].address": ABSENT},
        "spec.endpoints[0]",
        "set either address or hostname",
    ),
    _both(
        "mixed-endpoints", BACKEND, {"spec.endpoints[1]": BY_NAME}, "spec.endpoints", "must all have an address, or all"
    ),
    _both(
        "wildcard-endpoint",
        BACKEND_BY_NAME,
        {"spec.endpoints[0].hostname": "*.example.com"},
        "spec.endpoints[0].hostname",
        "must be a name, not a wildcard",
    ),
    *(
        _both(
            f"address-{kind}",
            BACKEND,
            {"spec.endpoints[0].address": address},
            "spec.endpoints[0].address",
            "must be an IPv4 or IPv6 address",
        )
        for kind, address in {
            "out-of-range": "300.1.1.1",
            "nonsense": "backend",
            "zone": "fe80::1%eth0",
            "mapped": "::ffff:192.0.2.1",
            "leading-zero": "192.0.2.010",
        }.items()
    ),
    Bad(
        "no-endpoints",
        BACKEND,
        {"spec.endpoints": []},
        "spec.endpoints",
        "should have at least 1 items",
        "must have 1 or more items",
    ),
    Bad("no-spec", BACKEND, {"spec": {}}, "spec.endpoints", "Required", "is required"),
]
