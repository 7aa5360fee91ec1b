"""What resolution finds about a policy, to become its conditions: values only, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

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


def origin(policy: LoadBalancerPolicy, path: str) -> Origin:
    """*policy* as the origin of what comes from its field *path*."""
    return Origin(policy.ref.kind, policy.ref.namespace, policy.ref.name, policy.generation, path)
