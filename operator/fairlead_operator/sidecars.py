"""Which pods are sidecars, which policies each of them has, and who should have one and has none. Pure.

Pods that have the same policies are a group: they share a configuration, so a thousand replicas of one workload cost one.
``World`` owns a ``Pods`` and feeds it; ``reconcile`` makes a configuration for each group; ``loop`` asks for the key of a
pod.
"""

from __future__ import annotations

import functools
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import InvalidPolicy, LoadBalancerPolicy
from fairlead_operator.api.pods import Pod
from fairlead_operator.api.selection import Sidecars

#: Keys of sidecars begin so; names of gateways hold no slash.
PREFIX = "sidecar/"
#: What a sidecar's listeners bind to: only its own pod calls them.
ADDRESS, ADDRESS_6 = "127.0.0.1", "::1"
#: Namespaces whose pods get none: what the cluster needs to start waits for nobody.
NEVER = frozenset({"kube-system"})
#: Label and value of Fairlead's own pods. The chart's webhooks do not ask about them: the operator cannot start without itself.
OURS = ("app.kubernetes.io/name", "fairlead")
#: Where captured connections arrive.
CAPTURE_PORT = 15001
#: Ports that a sidecar opens by itself, and what for.
RESERVED = {CAPTURE_PORT: "captured connections", 19001: "its health and metrics"}


class Group(NamedTuple):
    """Sidecars with the same configuration.

    Attributes:
        policies: names of the policies that select them, in the namespace of both.
        capture: they take outbound connections to Services that have a policy.
    """

    namespace: str
    policies: tuple[str, ...]
    capture: bool = False

    @property
    def key(self) -> str:
        """Key of the snapshot: the same in every replica and after every restart."""
        return _key(self)

    @property
    def empty(self) -> bool:
        """There is nothing to configure: no policy has a word about these pods."""
        return not self.policies and not self.capture


@functools.lru_cache(maxsize=4096)
def _key(group: Group) -> str:
    text = "\n".join((*group.policies, "capture" if group.capture else ""))
    return f"{PREFIX}{group.namespace}/{hashlib.blake2b(text.encode(), digest_size=4).hexdigest()}"


def is_sidecar(key: str) -> bool:
    """Whether *key* is that of a group of sidecars."""
    return key.startswith(PREFIX)


def namespace_of(key: str) -> str:
    """The namespace of the sidecars of *key*."""
    return key.removeprefix(PREFIX).partition("/")[0]


class Pods:
    """The pods that are known, and the policies of *policies* that select them."""

    def __init__(self, policies: Mapping[Ref, LoadBalancerPolicy | InvalidPolicy]) -> None:
        self._policies = policies
        self._by_uid: dict[str, Pod] = {}
        self._by_namespace: dict[str, dict[Ref, Pod]] = {}
        self._selectors: dict[str, tuple[tuple[str, Sidecars], ...]] | None = None

    def policies_changed(self) -> None:
        """Whatever was known of the policies is to be asked anew."""
        self._selectors = None

    def put(self, ref: Ref, pod: Pod | None) -> tuple[Pod | None, Pod | None]:
        """Remember *pod* as what *ref* is now (``None``: it is gone); what it was before, and what it is."""
        there = self._by_namespace.setdefault(ref.namespace, {})
        before = there.pop(ref, None)
        if before is not None and self._by_uid.get(before.uid) is before:
            del self._by_uid[before.uid]
        if pod is not None:
            there[ref] = pod
            self._by_uid[pod.uid] = pod
        if not there:
            del self._by_namespace[ref.namespace]
        return before, pod

    def get(self, ref: Ref) -> Pod | None:
        return self._by_namespace.get(ref.namespace, {}).get(ref)

    def refs(self) -> set[Ref]:
        return {ref for there in self._by_namespace.values() for ref in there}

    def by_uid(self, uid: str) -> Pod | None:
        return self._by_uid.get(uid)

    def of(self, namespace: str) -> Iterable[Pod]:
        """The pods of *namespace*."""
        return self._by_namespace.get(namespace, {}).values()

    def everyone(self) -> Iterator[Pod]:
        """Every pod."""
        return (pod for there in self._by_namespace.values() for pod in there.values())

    def namespaces(self) -> set[str]:
        """The namespaces that have a policy of sidecars: new pods there are asked about."""
        return set(self._by_selector())

    def selected_by(self, pod: Pod) -> tuple[str, ...]:
        """Names of the policies that select *pod*."""
        selectors = self._by_selector().get(pod.ref.namespace, ())
        return tuple(name for name, selector in selectors if selector.select(pod.labels))

    def group(self, pod: Pod) -> Group | None:
        """The group of *pod*; None: it has no sidecar."""
        return Group(pod.ref.namespace, self.selected_by(pod), pod.capture) if pod.injected else None

    def lacking(self, pod: Pod) -> tuple[str, ...]:
        """Names of the policies that select *pod* although it runs without a sidecar."""
        if pod.injected or pod.leaving or pod.opted_out or pod.labels.get(OURS[0]) == OURS[1]:
            return ()
        return self.selected_by(pod)

    def groups(self) -> dict[Group, int]:
        """Every group that there is something to configure for, in order, and how many pods it has."""
        found: Counter[Group] = Counter()
        for namespace, pods in self._by_namespace.items():
            asked: dict[int, tuple[str, ...]] = {}  # equal labels are one object: see api.pods
            some = namespace in self._by_selector()
            for pod in pods.values():
                if not pod.injected or not (some or pod.capture):
                    continue
                policies = asked.get(id(pod.labels))
                if policies is None:
                    policies = asked[id(pod.labels)] = self.selected_by(pod)
                group = Group(namespace, policies, pod.capture)
                if not group.empty:
                    found[group] += 1
        return dict(sorted(found.items()))

    def without(self) -> dict[Ref, list[Pod]]:
        """For each policy the pods that it selects and that run without a sidecar."""
        found: dict[Ref, list[Pod]] = {}
        for namespace in self._by_selector():
            for pod in self.of(namespace):
                for name in self.lacking(pod):
                    found.setdefault(Ref("LoadBalancerPolicy", namespace, name), []).append(pod)
        return found

    def _by_selector(self) -> dict[str, tuple[tuple[str, Sidecars], ...]]:
        if self._selectors is None:
            found: dict[str, list[tuple[str, Sidecars]]] = {}
            for ref, policy in sorted(self._policies.items()):
                proxies = policy.spec.proxies if isinstance(policy, LoadBalancerPolicy) else None
                if proxies is not None and proxies.sidecars is not None:
                    found.setdefault(ref.namespace, []).append((ref.name, proxies.sidecars))
            self._selectors = {namespace: tuple(some) for namespace, some in found.items()}
        return self._selectors
