"""What resolution finds about a policy, to become its conditions: values only, no clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_xds.snapshot import Origin


class Problem(NamedTuple):
    """Something wrong: the field, what is wrong with it, and what to do."""

    reason: str
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found, by the condition that it belongs to (DESIGN §2)."""

    accepted: tuple[Problem, ...] = ()
    resolved: tuple[Problem, ...] = ()
    degraded: tuple[Problem, ...] = ()

    def also(self, *degraded: Problem) -> Findings:
        """The same, and *degraded* as well."""
        return replace(self, degraded=(*self.degraded, *degraded))


#: Most names that a message lists.
_NAMED: Final = 5


def some_of(names: Sequence[str]) -> str:
    """The first few of *names*, and how many there are beside: ``a, b, c, d, e and 4 more``."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def origin(policy: LoadBalancerPolicy, path: str) -> Origin:
    """*policy* as the origin of what comes from its field *path*."""
    return Origin(policy.ref.kind, policy.ref.namespace, policy.ref.name, policy.generation, path)
