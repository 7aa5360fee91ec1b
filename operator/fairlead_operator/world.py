"""Everything that the sources said, and what a change of one object touches.

The sources call ``apply`` and ``delete``; ``reconcile`` reads. No input, no output, no clock: ``now`` is what it was told.
An object that cannot be read raises DecodeError and leaves the world as it was: what worked before keeps working.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

from fairlead_operator import capture, certificates
from fairlead_operator.api import probes
from fairlead_operator.api.core import (
    Namespace,
    ReferenceGrant,
    Service,
    TlsSecret,
    read_grant,
    read_namespace,
    read_secret,
    read_service,
)
from fairlead_operator.api.meta import DecodeError, Ref, ref_of
from fairlead_operator.api.nodes import Node, read_node
from fairlead_operator.api.objects import Backend, InvalidPolicy, LoadBalancerPolicy, read_backend, read_policy
from fairlead_operator.api.pod_status import PodState
from fairlead_operator.api.pods import Pod, read_pod
from fairlead_operator.api.slices import EndpointSlice, read_slice
from fairlead_operator.flaps import Flaps
from fairlead_operator.health import Facts
from fairlead_operator.nodes import NOTHING as NONE_LOST
from fairlead_operator.nodes import Judged, Lost, Nodes
from fairlead_operator.sidecars import Pods
from fairlead_xds.features.endpoints import Endpoints


class Lane(enum.Enum):
    """What must be done again after a change (DESIGN §4)."""

    NOTHING = enum.auto()
    STATUS = enum.auto()
    ENDPOINTS = enum.auto()
    PODS = enum.auto()
    CONFIG = enum.auto()


class Changed(NamedTuple):
    """What a change touches: for ``Lane.ENDPOINTS`` the endpoints of *services*, for ``Lane.PODS`` also the *pod*'s sidecar.

    Of ``Lane.STATUS``, and perhaps of others too, ``World.retold`` says more.
    """

    lane: Lane
    services: tuple[Ref, ...] = ()
    pod: Pod | None = None


NOTHING = Changed(Lane.NOTHING)
CONFIG = Changed(Lane.CONFIG)
V = TypeVar("V")


class World:
    """The objects by reference. Equal content is no change.

    Attributes:
        now: seconds since the epoch; whoever computes with the world says it.
        own_gateways: whoever writes Backends runs the gateways too, so that these may reach what is on their own machine.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.own_gateways = True
        self.policies: dict[Ref, LoadBalancerPolicy | InvalidPolicy] = {}
        self.backends: dict[Ref, Backend] = {}
        self.services: dict[Ref, Service] = {}
        self.secrets: dict[Ref, TlsSecret] = {}
        self.grants: dict[Ref, ReferenceGrant] = {}
        self.namespaces: dict[Ref, Namespace] = {}
        self.pods = Pods(self.policies)
        self.nodes = Nodes()
        self._flaps = Flaps()
        self._notable: dict[str, dict[str, PodState]] = {}
        self._hasty: dict[str, dict[str, int]] = {}
        self._retold: set[Ref] = set()
        self._lost: dict[int, Judged] = {}
        self._captured: capture.Addresses | None = None
        self._slices: dict[Ref, EndpointSlice] = {}
        self._slices_of: dict[Ref, dict[Ref, EndpointSlice]] = {}
        self._services_of_pods: dict[str, dict[str, list[Ref]]] = {}
        self._by_kind: dict[str, dict[Ref, Any]] = {
            "LoadBalancerPolicy": self.policies,
            "Backend": self.backends,
            "Service": self.services,
            "Secret": self.secrets,
            "ReferenceGrant": self.grants,
            "Namespace": self.namespaces,
            "EndpointSlice": self._slices,
        }

    def apply(self, raw: dict[str, Any]) -> Changed:
        """Take in one object as the API shows it. Raises DecodeError; kinds that nobody asked for are ignored."""
        ref = ref_of(raw)
        match ref.kind:
            case "LoadBalancerPolicy":
                return self._put_policy(ref, read_policy(raw))
            case "Backend":
                return self._put(self.backends, ref, read_backend(raw))
            case "Service":
                return self._forget_captured(self._put(self.services, ref, read_service(raw)))
            case "Secret":
                return self._put(self.secrets, ref, self._judged(read_secret(raw)))
            case "ReferenceGrant":
                return self._put(self.grants, ref, read_grant(raw))
            case "EndpointSlice":
                return self._put_slice(ref, read_slice(raw, self._slices.get(ref)))
            case "Namespace":
                return self._put_namespace(ref, read_namespace(raw))
            case "Pod":
                return self._put_pod(ref, read_pod(raw, self.pods.get(ref), self.now or math.inf))
            case "Node":
                return self._put_node(ref, read_node(raw))
            case _:
                return NOTHING

    def delete(self, ref: Ref) -> Changed:
        """Forget one object; unknown ones are no change."""
        if ref.kind == "EndpointSlice":
            return self._put_slice(ref, None)
        if ref.kind == "Pod":
            return self._put_pod(ref, None)
        if ref.kind == "Node":
            return self._put_node(ref, None)
        if ref.kind == "LoadBalancerPolicy":
            self.pods.policies_changed()
        self._captured = None
        store = self._by_kind.get(ref.kind)
        return CONFIG if store is not None and store.pop(ref, None) is not None else NOTHING

    def listed(self) -> None:
        """Everything there is was told: what is missing does not exist."""
        self.nodes.listed(self._nodes_in_use())
        self._lost.clear()

    def refs(self, kind: str) -> set[Ref]:
        """What is known of one kind: a re-list deletes what is not in it any more."""
        if kind == "Pod":
            return self.pods.refs()
        if kind == "Node":
            return {Ref("Node", "", name) for name in self.nodes.names()}
        return set(self._by_kind.get(kind, ()))

    def slices(self, service: Ref) -> Iterator[EndpointSlice]:
        """The slices of a Service, in the order of their names."""
        found = self._slices_of.get(service, {})
        return (found[ref] for ref in sorted(found))

    def facts(self, service: Ref, policy: Endpoints) -> Facts:
        """What is known of the pods and nodes behind a Service, beyond its slices."""
        namespace = service.namespace
        turns = self._flaps.of(service, self.now)
        return Facts(self._notable.get(namespace, {}), self.lost(policy), turns, self.now)

    def pod_states(self, namespace: str) -> Mapping[str, PodState]:
        """The state of every pod of *namespace*, by name."""
        return _States(self.pods, namespace)

    def graces(self, namespace: str) -> Mapping[str, int]:
        """Seconds that pods of *namespace* have to end, by name, where that is less than the usual."""
        return self._hasty.get(namespace, {})

    def lost(self, policy: Endpoints) -> Mapping[str, Lost]:
        """The nodes whose endpoints get nothing under *policy*."""
        return self._judged_nodes(policy).lost

    def doubted(self, policy: Endpoints) -> str:
        """Why the endpoints of lost nodes are kept under *policy*; empty: they are not."""
        return "" if policy.node_lost.action == "Keep" else self._judged_nodes(policy).doubted

    def _judged_nodes(self, policy: Endpoints) -> Judged:
        """Asked for each backend: computed once for all with the same share."""
        most = policy.node_lost.max_percent
        if most not in self._lost:
            any_lost = self.nodes.any_lost
            self._lost[most] = self.nodes.judged(self._nodes_in_use(), most) if any_lost else NONE_LOST
        return self._lost[most]

    def _nodes_in_use(self) -> set[str]:
        return {endpoint.node for entry in self._slices.values() for endpoint in entry.endpoints} - {""}

    def _services_of(self, pod: Ref) -> tuple[Ref, ...]:
        """The Services that have *pod* among their endpoints. Asked rarely, or for many pods while no slice changes."""
        of_pods = self._services_of_pods.get(pod.namespace)
        if of_pods is None:
            of_pods = self._services_of_pods[pod.namespace] = {}
            for service, entries in self._slices_of.items():
                if service.namespace == pod.namespace:
                    for name in {one.pod for entry in entries.values() for one in entry.endpoints}:
                        of_pods.setdefault(name, []).append(service)
        return tuple(sorted(of_pods.get(pod.name, ())))

    @property
    def any_retold(self) -> bool:
        """``retold`` may have something."""
        return bool(self._retold)

    def retold(self) -> set[Ref]:
        """The Services of pods that said something new of their outages, which is only told; those of before are told once.

        Looked up late, because whoever asks does so seldom, and slices change meanwhile.
        """
        pods, self._retold = self._retold, set()
        return {service for pod in pods for service in self._services_of(pod)}

    def next_expiry(self) -> float:
        """When the next certificate ends that has not ended yet, in seconds since the epoch; infinite: never."""
        return min((one.expires for one in self.secrets.values() if one.expires > self.now), default=math.inf)

    def valid_policies(self) -> list[LoadBalancerPolicy]:
        """The policies that could be read, the older first: the order in which conflicts are decided."""
        found = [policy for policy in self.policies.values() if isinstance(policy, LoadBalancerPolicy)]
        return sorted(found, key=lambda policy: policy.age)

    def captured(self) -> capture.Addresses:
        """Which addresses the sidecars that capture take, for each attached policy."""
        if self._captured is None:
            self._captured = capture.addresses(self.valid_policies(), self.services)
        return self._captured

    def not_captured(self, pod: Pod) -> tuple[Ref, ...]:
        """The attached policies whose Services *pod* should redirect and does not: they are younger than it."""
        if not pod.capture or pod.leaving:
            return ()
        there = self.captured().get(pod.ref.namespace, {})
        return tuple(ref for ref, addresses in there.items() if not addresses <= pod.captured)

    def allows(self, source: Ref, target: Ref) -> bool:
        """Whether *source* may refer to *target*: in its own namespace, or by a ReferenceGrant beside the target."""
        if source.namespace == target.namespace:
            return True
        return any(
            grant.ref.namespace == target.namespace
            and (source.kind, source.namespace) in grant.sources
            and ((target.kind, "") in grant.targets or (target.kind, target.name) in grant.targets)
            for grant in self.grants.values()
        )

    def namespace_labels(self, name: str) -> dict[str, str]:
        """Our labels of a namespace; none for one that is not known."""
        known = self.namespaces.get(ref_of({"kind": "Namespace", "metadata": {"name": name}}))
        return known.labels if known is not None else {}

    def _put_namespace(self, ref: Ref, value: Namespace) -> Changed:
        """Most namespaces come, go and change without a label of ours, which is nothing to anybody."""
        before = self.namespaces.get(ref)
        changed = self._put(self.namespaces, ref, value)
        return changed if value.labels or (before is not None and before.labels) else NOTHING

    @staticmethod
    def _put(store: dict[Ref, Any], ref: Ref, value: object) -> Changed:
        if store.get(ref) == value:
            return NOTHING
        store[ref] = value
        return CONFIG

    def _put_policy(self, ref: Ref, value: LoadBalancerPolicy | InvalidPolicy) -> Changed:
        changed = self._put(self.policies, ref, value)
        if changed is not NOTHING:
            self.pods.policies_changed()
        return self._forget_captured(changed)

    def _forget_captured(self, changed: Changed) -> Changed:
        if changed is not NOTHING:
            self._captured = None
        return changed

    def _put_pod(self, ref: Ref, value: Pod | None) -> Changed:
        """Most pods concern nobody, and most changes of a pod nothing: only what a policy sees of it counts."""
        if self.pods.get(ref) == value:
            return NOTHING
        before, now = self.pods.put(ref, value)
        services = self._note(ref, before, now)
        lacked, lacks = ((self.pods.lacking(pod), self.not_captured(pod)) if pod else ((), ()) for pod in (before, now))
        if lacked != lacks:
            return CONFIG
        had, has = ((pod.uid, self.pods.group(pod)) if pod else None for pod in (before, now))
        if now is None or had == has or (has is not None and has[1] is None):
            if services:
                return Changed(Lane.ENDPOINTS, services)
            return Changed(Lane.STATUS) if ref in self._retold else NOTHING
        return Changed(Lane.PODS, services, now)

    def _note(self, ref: Ref, before: Pod | None, now: Pod | None) -> tuple[Ref, ...]:
        """Keep pods that say more than their endpoints' conditions; the Services whose endpoints are judged anew."""
        hurry_changed = self._note_grace(ref, before, now)
        outages = [pod.state.outages() if pod is not None else (0.0, 0.0) for pod in (before, now)]
        if outages[0] != outages[1] and any(outages[1]):
            self._retold.add(ref)
        had, has = (pod.state if pod is not None and pod.state.notable else None for pod in (before, now))
        _keep(self._notable, ref, has)
        asked, asks = (pod.state.probes if pod is not None else probes.NONE for pod in (before, now))
        if asked is asks and not hurry_changed and (had and had.judged_by()) == (has and has.judged_by()):
            return ()
        return self._services_of(ref)

    def _note_grace(self, ref: Ref, before: Pod | None, now: Pod | None) -> bool:
        """Whether it has another little time to end than it had."""
        had, has = (pod.state.grace if pod is not None and pod.state.hasty else None for pod in (before, now))
        _keep(self._hasty, ref, has)
        return had != has

    def _put_node(self, ref: Ref, value: Node | None) -> Changed:
        """A node that is lost or comes back is rare, or one that is new meanwhile: everything is judged anew."""
        if not self.nodes.put(ref.name, value, self.now):
            return NOTHING
        self._lost.clear()
        return CONFIG

    def _judged(self, secret: TlsSecret) -> TlsSecret:
        """A bad update of a certificate that served keeps the one that served, and says so."""
        error = secret.error or certificates.problem(secret.certificate, secret.key)
        if not error:
            return replace(secret, expires=certificates.expires(secret.certificate))
        before = self.secrets.get(secret.ref)
        if before is not None and before.certificate:
            return replace(before, error=error)
        return replace(secret, certificate=b"", key=b"", error=error)

    def _put_slice(self, ref: Ref, value: EndpointSlice | None) -> Changed:
        before = self._slices.get(ref)
        if before == value:
            return NOTHING
        self._services_of_pods.pop(ref.namespace, None)
        if before is not None:
            siblings = self._slices_of[before.service]
            del siblings[ref]
            if not siblings:
                del self._slices_of[before.service]
            del self._slices[ref]
        everybody = self._concerns_all(before, value)
        if before is not None and value is not None and before.service == value.service:
            self._flaps.seen(value.service, before.endpoints, value.endpoints, self.now)
        if value is not None:
            self._slices[ref] = value
            self._slices_of.setdefault(value.service, {})[ref] = value
        touched = {entry.service for entry in (before, value) if entry is not None}
        if everybody or len(touched) > 1:  # or the label moved: rare enough for the thorough way
            return CONFIG
        return Changed(Lane.ENDPOINTS, (touched.pop(),))

    def _concerns_all(self, before: EndpointSlice | None, value: EndpointSlice | None) -> bool:
        """A deleted node has its first endpoint, or has no more: others are judged by how many are lost.

        Asked while the slice is neither as it was nor as it will be.
        """
        deleted = self.nodes.deleted
        if not deleted:
            return False
        had, has = ({one.node for one in entry.endpoints} if entry is not None else set() for entry in (before, value))
        if all(self._in_use(name) for name in (had ^ has) & deleted):
            return False
        self._lost.clear()
        return True

    def _in_use(self, node: str) -> bool:
        return any(endpoint.node == node for entry in self._slices.values() for endpoint in entry.endpoints)


def _keep(kept: dict[str, dict[str, V]], ref: Ref, value: V | None) -> None:
    """Remember *value* of *ref* by namespace and name; ``None``: nothing any more."""
    if value is not None:
        kept.setdefault(ref.namespace, {})[ref.name] = value
    elif there := kept.get(ref.namespace):
        there.pop(ref.name, None)
        if not there:
            del kept[ref.namespace]


class _States(Mapping[str, PodState]):
    """The pods of a namespace by name, without a copy."""

    def __init__(self, pods: Pods, namespace: str) -> None:
        self._pods, self._namespace = pods, namespace

    def __getitem__(self, name: str) -> PodState:
        pod = self._pods.get(Ref("Pod", self._namespace, name))
        if pod is None:
            raise KeyError(name)
        return pod.state

    def __iter__(self) -> Iterator[str]:
        return (pod.ref.name for pod in self._pods.of(self._namespace))

    def __len__(self) -> int:
        return sum(1 for _ in self._pods.of(self._namespace))


__all__ = ["CONFIG", "NOTHING", "Changed", "DecodeError", "Lane", "World"]
