"""How many proxies the intervals of active checks are made for (``checks``), so that few of their moves change these. Pure.

Each interval is another cluster to Envoy, which starts to ask anew and forgets what it has ejected. So numbers are rounded
up to a power of two; they grow with the proxies and shrink a while after them, so that who leaves and comes back changes
nothing. A process that starts goes on with what the one before it has written into the statuses of policies, until its
proxies are back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fairlead_operator.api.lenient import child
from fairlead_operator.api.meta import Ref
from fairlead_operator.world import World

#: Seconds without a step down before it shrinks.
SHRINKS: Final = 60.0


class Crowd:
    """One for a control plane. Times are seconds of whatever clock the caller has.

    Attributes:
        now: proxies by key, rounded up: what intervals are made for.
    """

    def __init__(self) -> None:
        self.now: dict[str, int] = {}
        self._counted: dict[str, int] = {}
        self._until: dict[str, float] = {}

    def start(self, before: Mapping[str, int], connected: Mapping[str, int], now: float) -> None:
        """The process begins: so many proxies there were *before*, so many are *connected* already, to others."""
        self.count(before, now)
        self.count(connected, now)

    def count(self, connected: Mapping[str, int], now: float, *, lag: float = 0.0) -> bool:
        """So many proxies of each key are *connected*. Whether ``now`` is another for that, or for the time that has passed.

        *lag*: seconds for which more may be a mistake: a proxy that moved was counted twice.
        """
        before, self._counted = self._counted, rounded(connected)
        changed = False
        for key in self.now.keys() | self._counted.keys() | self._until.keys():  # it may have gone before it counted
            held, was, size = (of.get(key, 0) for of in (self.now, before, self._counted))
            if size == held:
                self._until.pop(key, None)
                continue
            if size > held >= was:
                self._until[key] = now + lag
            elif size < held and (was >= held or size < was):
                self._until[key] = now + SHRINKS
            if self._until[key] <= now:
                self._become(key, size)
                changed = True
        return changed

    def due(self) -> float | None:
        """When ``count`` has something to change if nobody comes or goes; ``None``: nothing waits."""
        return min(self._until.values(), default=None)

    def _become(self, key: str, size: int) -> None:
        del self._until[key]
        if size:
            self.now[key] = size
        else:
            del self.now[key]


def rounded(connected: Mapping[str, int]) -> dict[str, int]:
    """*connected* proxies by key, rounded up to a power of two."""
    return {key: 1 << (count - 1).bit_length() for key, count in connected.items() if count > 0}


def of_statuses(world: World, statuses: Mapping[Ref, Mapping[str, Any]]) -> dict[str, int]:
    """Proxies by key, as *statuses* of policies have them: those of gateways exactly.

    The sidecars of a policy may have several keys: of each there are as many as pods, if the policies know of so many.
    """
    told = {ref: _connected(status) for ref, status in statuses.items()}
    found: dict[str, int] = {}
    attached: dict[str, int] = {}
    for policy in world.valid_policies():
        count, proxies = told.get(policy.ref, 0), policy.spec.proxies
        if policy.spec.target_refs is not None:
            attached[policy.ref.namespace] = max(count, attached.get(policy.ref.namespace, 0))
        elif proxies is not None and proxies.gateway is not None:
            found[proxies.gateway] = max(count, found.get(proxies.gateway, 0))
    for group, pods in world.pods.groups().items():
        refs = (Ref("LoadBalancerPolicy", group.namespace, name) for name in group.policies)
        most = max((told.get(ref, 0) for ref in refs), default=0)
        found[group.key] = min(pods, max(most, attached.get(group.namespace, 0) if group.capture else 0))
    return found


def _connected(status: Mapping[str, Any]) -> int:
    count = child(status, "proxies").get("connected")
    return count if isinstance(count, int) else 0
