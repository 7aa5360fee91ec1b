"""Which policies a proxy refused, and what stands in for them meanwhile (DESIGN §8). Pure.

Resources are shared: one bad policy can make a proxy refuse a route table that holds many. The policies that are new in
a refused resource are the suspects. A single one is guilty; several are held back and tried one by one. A policy that
is held is replaced by the last form of it that was accepted, so that its resources stay consistent.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.world import World
from fairlead_xds.snapshot import Origin, Snapshot, TypeUrl

Form = tuple[Ref, int]


class Cluster(NamedTuple):
    """A cluster that was refused: its name, and the hash of its bytes."""

    name: str
    version: str


@dataclass(slots=True)
class Refusal:
    """What Envoy said, of which field, and which proxies said it."""

    message: str
    path: str
    proxies: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        message = self.message.strip()
        return f"{message} ({self.path})" if self.path else message


def form_of(origin: Origin) -> Form:
    """The policy, and which generation of it."""
    return (Ref(origin.kind, origin.namespace, origin.name), origin.generation)


def _is_current(form: Form, world: World) -> bool:
    policy = world.policies.get(form[0])
    return policy is not None and policy.generation == form[1]


class Quarantine:
    """The forms (policy and generation) that were refused, that were accepted, and that wait to be tried."""

    def __init__(self) -> None:
        self.refused: dict[Form, Refusal] = {}
        self._good: dict[Ref, LoadBalancerPolicy] = {}
        self._ended: dict[Form, Refusal] = {}
        self._clusters: dict[Form, set[Cluster] | None] = {}  # refused of each form; None: something else was, too
        self._said: dict[Cluster, Refusal] = {}
        self._waiting: dict[Form, None] = {}
        self._trial: Form | None = None

    def refuse(self, origins: Iterable[Origin], message: str, proxy: str, cluster: Cluster | None = None) -> bool:
        """A proxy refused a resource of *origins*, which is *cluster* if it is one. True: what is held has changed."""
        new = {form_of(origin): origin.field for origin in origins if not self._accepted(form_of(origin))}
        if not new:
            return False
        self._note(new, cluster)
        if cluster is not None:
            self._said.setdefault(cluster, Refusal(message, "")).proxies.add(proxy)
        if len(new) == 1:
            form, where = next(iter(new.items()))
            known = form in self.refused
            self._ended.pop(form, None)
            self.refused.setdefault(form, Refusal(message, where)).proxies.add(proxy)
            if self._trial == form:
                self._next_trial()
            return not known
        self._trial, *rest = sorted(new)
        self._waiting.update(dict.fromkeys(rest))
        return True

    def repeat(self, snapshots: Mapping[str, Snapshot], world: World) -> bool:
        """Refuse again what is in *snapshots* and was refused: no proxy says so twice. True: as of ``refuse``.

        So it is of a cluster that several suspects share, whoever of them is on trial. A form that is no more, and served
        still, is nobody's to hold.
        """
        again = False
        for cluster, said in list(self._said.items()):
            for snapshot in snapshots.values():
                resource = snapshot.get(TypeUrl.CLUSTER, cluster.name)
                if resource is not None and resource.version == cluster.version:
                    origins = [origin for origin in resource.origins if _is_current(form_of(origin), world)]
                    for proxy in sorted(said.proxies):
                        again |= self.refuse(origins, said.message, proxy, cluster)
        return again

    def of_clusters(self) -> dict[Form, set[Cluster]]:
        """The forms that are or were held because of clusters alone, and those clusters."""
        held = self.refused.keys() | self._waiting.keys() | self._ended.keys()
        return {form: clusters for form, clusters in self._clusters.items() if clusters and form in held}

    def settle(self, forms: Iterable[Form], still: Collection[Form]) -> None:
        """Of *forms*, those of ``of_clusters``, *still* would bring what was refused. The others are not held any more."""
        for form in forms:
            if form in still:
                if form in self._ended:
                    self.refused[form] = self._ended.pop(form)
            elif form in self.refused:
                self._ended[form] = self.refused.pop(form)
            else:
                self._waiting.pop(form, None)

    def blames(self, origins: Iterable[Origin]) -> bool:
        """Whether a refused resource of *origins* has a suspect: a form that no fleet has accepted."""
        return any(not self._accepted(form_of(origin)) for origin in origins)

    def accept(self, policy: LoadBalancerPolicy) -> bool:
        """Every proxy has this form. True: a policy that waited is tried now, reconcile again."""
        self._good[policy.ref] = policy
        self._ended.pop((policy.ref, policy.generation), None)
        self._clusters.pop((policy.ref, policy.generation), None)
        if self._trial == (policy.ref, policy.generation):
            self._next_trial()
            return True
        return False

    def held(self, world: World, more: Iterable[Form] = ()) -> dict[Ref, LoadBalancerPolicy | None]:
        """Policies that are not to be served as they are -> what is served instead. *more*: as if they were held too."""
        out: dict[Ref, LoadBalancerPolicy | None] = {}
        for form in (*self.refused, *self._waiting, *more):
            if _is_current(form, world):
                good = self._good.get(form[0])
                out[form[0]] = good if good is not None and good.generation != form[1] else None
        return out

    def forget(self, world: World) -> None:
        """Drop what concerns policies, or generations of them, that are no more."""
        current = {ref: policy.generation for ref, policy in world.policies.items()}
        self.refused = {form: why for form, why in self.refused.items() if current.get(form[0]) == form[1]}
        self._ended = {form: why for form, why in self._ended.items() if current.get(form[0]) == form[1]}
        self._clusters = {form: which for form, which in self._clusters.items() if current.get(form[0]) == form[1]}
        if self._said:
            asked = {cluster for which in self._clusters.values() for cluster in which or ()}
            self._said = {cluster: said for cluster, said in self._said.items() if cluster in asked}
        self._waiting = {form: None for form in self._waiting if current.get(form[0]) == form[1]}
        self._good = {ref: policy for ref, policy in self._good.items() if ref in current}
        if self._trial is not None and current.get(self._trial[0]) != self._trial[1]:
            self._next_trial()

    def _note(self, forms: Collection[Form], cluster: Cluster | None) -> None:
        for form in forms:
            known = self._clusters.get(form, set())
            if len(forms) == 1 and form not in self.refused:
                known = known or set()  # what it was a suspect of beside others was their doing
            self._clusters[form] = None if cluster is None or known is None else known | {cluster}

    def _accepted(self, form: Form) -> bool:
        good = self._good.get(form[0])
        return good is not None and good.generation == form[1]

    def _next_trial(self) -> None:
        self._trial = next(iter(self._waiting), None)
        if self._trial is not None:
            del self._waiting[self._trial]
