"""Which policies a proxy refused, and what stands in for them meanwhile (DESIGN §8). Pure.

Resources are shared: one bad policy can make a proxy refuse a route table that holds many. The policies that are new in
a refused resource are the suspects. A single one is guilty; several are held back and tried one by one. A policy that
is held is replaced by the last form of it that was accepted, so that its resources stay consistent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.world import World
from fairlead_xds.snapshot import Origin

Form = tuple[Ref, int]


@dataclass(slots=True)
class Refusal:
    """What Envoy said, of which field, and which proxies said it."""

    message: str
    path: str
    proxies: set[str] = field(default_factory=set)

    def __str__(self) -> str:
        message = self.message.strip()
        return f"{message} ({self.path})" if self.path else message


def _form(origin: Origin) -> Form:
    return (Ref(origin.kind, origin.namespace, origin.name), origin.generation)


class Quarantine:
    """The forms (policy and generation) that were refused, that were accepted, and that wait to be tried."""

    def __init__(self) -> None:
        self.refused: dict[Form, Refusal] = {}
        self._good: dict[Ref, LoadBalancerPolicy] = {}
        self._waiting: dict[Form, None] = {}
        self._trial: Form | None = None

    def refuse(self, origins: Iterable[Origin], message: str, proxy: str) -> bool:
        """A proxy refused a resource of *origins*. True: what is held has changed, reconcile again."""
        new = {_form(origin): origin.field for origin in origins if not self._accepted(_form(origin))}
        if not new:
            return False
        if len(new) == 1:
            form, where = next(iter(new.items()))
            known = form in self.refused
            self.refused.setdefault(form, Refusal(message, where)).proxies.add(proxy)
            if self._trial == form:
                self._next_trial()
            return not known
        self._trial, *rest = sorted(new)
        self._waiting.update(dict.fromkeys(rest))
        return True

    def blames(self, origins: Iterable[Origin]) -> bool:
        """Whether a refused resource of *origins* has a suspect: a form that no fleet has accepted."""
        return any(not self._accepted(_form(origin)) for origin in origins)

    def accept(self, policy: LoadBalancerPolicy) -> bool:
        """Every proxy has this form. True: a policy that waited is tried now, reconcile again."""
        self._good[policy.ref] = policy
        if self._trial == (policy.ref, policy.generation):
            self._next_trial()
            return True
        return False

    def held(self, world: World) -> dict[Ref, LoadBalancerPolicy | None]:
        """Policies that are not to be served as they are -> what is served instead."""
        out: dict[Ref, LoadBalancerPolicy | None] = {}
        for form in (*self.refused, *self._waiting):
            current = world.policies.get(form[0])
            if current is not None and current.generation == form[1]:
                good = self._good.get(form[0])
                out[form[0]] = good if good is not None and good.generation != form[1] else None
        return out

    def forget(self, world: World) -> None:
        """Drop what concerns policies, or generations of them, that are no more."""
        current = {ref: policy.generation for ref, policy in world.policies.items()}
        self.refused = {form: why for form, why in self.refused.items() if current.get(form[0]) == form[1]}
        self._waiting = {form: None for form in self._waiting if current.get(form[0]) == form[1]}
        self._good = {ref: policy for ref, policy in self._good.items() if ref in current}
        if self._trial is not None and current.get(self._trial[0]) != self._trial[1]:
            self._next_trial()

    def _accepted(self, form: Form) -> bool:
        good = self._good.get(form[0])
        return good is not None and good.generation == form[1]

    def _next_trial(self) -> None:
        self._trial = next(iter(self._waiting), None)
        if self._trial is not None:
            del self._waiting[self._trial]
