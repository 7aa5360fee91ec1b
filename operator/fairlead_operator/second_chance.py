"""A refusal of what the world has caused ends with its cause: forms that would bring no refused cluster any more are tried again.

What a policy asks of a cluster is not all of its bytes: an active check may be that of the pods' probes. So where clusters were
refused, and nothing else of a form, ``loop`` computes before each run of the config lane what these forms would be served as.
Route tables change with every other policy in them, and say nothing. Nothing is computed while no cluster is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from fairlead_operator import bindings
from fairlead_operator.api.meta import Ref
from fairlead_operator.bindings import Binding
from fairlead_operator.quarantine import Cluster, Form, Quarantine, form_of
from fairlead_operator.reconcile import Held
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.world import World
from fairlead_xds.model import ProxyConfig
from fairlead_xds.snapshot import Resource, TypeUrl
from fairlead_xds.translate import translate

Run = Callable[[Held], Reconciled]
"""``reconcile`` of the world as it is, with these held."""


@dataclass(slots=True)
class Judged:
    """What would come of forms that are held.

    Attributes:
        still: those that would bring a cluster that was refused of them.
        over: of each Service, the clusters over it that these forms would bring.
    """

    still: set[Form] = field(default_factory=set)
    over: dict[Ref, list[Binding]] = field(default_factory=dict)


def judge(refused: Mapping[Form, AbstractSet[Cluster]], held: Held, run: Run) -> Judged:
    """Which of the forms that have *refused* clusters can be served. *held*: these and all others, as if all were held.

    What one of them brings depends on the others (of two policies one may be attached to the other's Service): those that
    cannot be served are held, and the rest is computed again, until nothing refused is left.
    """
    found, free = Judged(), set(refused)
    while free:
        refs = {ref for ref, _ in free}
        done = run({ref: instead for ref, instead in held.items() if ref not in refs})
        bad: set[Form] = set()
        clusters: set[str] = set()
        for cluster in _clusters(done, free):
            forms = free.intersection(map(form_of, cluster.origins))
            guilty = {form for form in forms if (cluster.name, cluster.version) in refused[form]}
            bad |= guilty
            if guilty:
                clusters.add(cluster.name)
        if not bad:
            break
        for service, over in done.bindings.items():
            if watched := [binding for name, (binding, _) in over.items() if name in clusters]:
                found.over.setdefault(service, []).extend(watched)
        found.still |= bad
        free -= bad
    return found


def _clusters(done: Reconciled, forms: AbstractSet[Form]) -> Iterator[Resource]:
    """Those of *forms*."""
    for config in done.proxies.values():
        some = tuple(one for one in config.backends if not forms.isdisjoint(map(form_of, one.origins)))
        if some:
            yield from translate(ProxyConfig(backends=some)).resources(TypeUrl.CLUSTER).values()


class SecondChances:
    """One for a control plane."""

    def __init__(self, world: World, quarantine: Quarantine) -> None:
        self._world, self._quarantine = world, quarantine
        self._over: Mapping[Ref, list[Binding]] = {}

    def give(self, run: Run) -> None:
        """End the refusals that have no cause any more, and begin again those that have it again."""
        refused = self._quarantine.of_clusters()
        judged = judge(refused, self._quarantine.held(self._world, refused), run) if refused else Judged()
        self._quarantine.settle(refused, judged.still)
        self._over = judged.over

    def may_end(self, service: Ref) -> bool:
        """The endpoints of *service*, or its pods, have changed so that a refused cluster over it would be another."""
        return any(self._differs(binding) for binding in self._over.get(service, ()))

    def _differs(self, binding: Binding) -> bool:
        if bindings.asked_otherwise(self._world, binding):
            return True
        return bindings.ejects_otherwise(binding, bindings.load_assignment(self._world, binding))
