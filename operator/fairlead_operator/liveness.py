"""How often proxies ask, so that a dead pod is out before its liveness probe ends it. Pure.

A kubelet that finds a pod dead at the very moment it died, and then each period, ends it the soonest; a proxy that asked just
before takes the longest. The schedule is such that the proxy is first even then: with a ``failureThreshold`` of 2 or more for a
pod that refuses or answers wrongly, and for one that hangs, where each check takes its timeout and Envoy's next one begins an
interval after that. With a threshold of 1 the kubelet may ask in the next moment, and nobody is always before it: proxies
ask two and a half times as often as it does.

Source: the kubelet's prober, a ticker of ``periodSeconds`` that waits for a probe to end; Envoy's
``HealthCheck.interval``, which begins when a check ends.
"""

from __future__ import annotations

from typing import Final, NamedTuple

#: Of what there is: timers are late, and proxies are told late.
_MARGIN: Final = 0.95
#: Of the kubelet's period: proxies ask no more often.
_LEAST: Final = 0.4
#: Of the time between two checks: so that proxies drift apart.
_JITTER: Final = 0.1
_MOST_JITTER: Final = 1000


class Schedule(NamedTuple):
    """Of one proxy's checks; times in milliseconds.

    Attributes:
        interval: from a check's end to the next one's begin, at least.
        jitter: at most so much is added to each interval.
        unhealthy: failures in a row that take an endpoint out.
    """

    interval: int
    jitter: int
    unhealthy: int


def ahead(
    *,
    period: int,
    patience: int,
    failures: int,
    timeout: int,
    unhealthy: int | None = None,
    jitter: int | None = None,
) -> Schedule:
    """Checks that find a pod dead before its kubelet has seen so many *failures*.

    *period* and *patience*: of the probe, between two and for an answer; *timeout*: a proxy's patience. Milliseconds.
    *unhealthy* and *jitter*: what a policy says of them, taken as it is. As many failures as can be, at most one fewer than the
    kubelet's, so that one lost packet takes nothing out; but no more than two and a half checks for one of the kubelet's.
    """
    slow = max(period, patience)  # from one of its probes to the next, of a pod that hangs
    refusing = _MARGIN * (failures - 1) * period
    hanging = _MARGIN * ((failures - 1) * slow + patience)
    least = _LEAST * period
    most = max(1, min(failures - 1, int(hanging // (least + timeout)), 100))
    count = unhealthy or most
    between = max(least, min(period, refusing / count, hanging / count - timeout))
    spread = min(_MOST_JITTER, int(between * _JITTER)) if jitter is None else jitter
    return Schedule(max(int(between) - spread, int(least) // 2), spread, count)
