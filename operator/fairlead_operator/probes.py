"""Active checks that ask as the pods' own probes do. Pure.

Envoy has one check for a cluster, pods may have different probes while their template changes: the probe that most of those
that get traffic have is the cluster's, a pod whose probe differs in its port only is asked there, and one whose probe differs
otherwise is not asked until most pods are like it. Until then Kubernetes alone judges it, as it does where no probe can be
asked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final, Literal, NamedTuple

from pydantic import ValidationError

from fairlead_operator import liveness
from fairlead_operator.api.pod_status import PodState
from fairlead_operator.api.probes import Probe, Probes
from fairlead_operator.api.slices import EndpointSlice, SliceEndpoint
from fairlead_operator.health import NEVER
from fairlead_xds.features.active import (
    JITTER,
    LONGEST_TIMEOUT,
    TIMEOUT,
    ActiveHealthCheck,
    CheckHeader,
    GrpcCheck,
    HttpCheck,
    TcpCheck,
)
from fairlead_xds.features.value import milliseconds
from fairlead_xds.model import NOT_ASKED

Kind = Literal["ReadinessProbe", "LivenessProbe"]
_WORDS: Final[Mapping[str, str]] = {"ReadinessProbe": "readiness probe", "LivenessProbe": "liveness probe"}
_ALONE: Final = "what Kubernetes says of them decides alone"
_NOBODY: Final = f"nobody asks these endpoints, {_ALONE}"
_NO_POD: Final = "no pod of it is known"
#: Seconds that a pod has been ready: in a rollout some have another probe for a while, and nobody has to know.
_SETTLED: Final = 600.0
#: By the fields of ``HttpCheck``, ``CheckHeader`` and ``GrpcCheck``.
_FIELDS: Final = {
    "path": "its path",
    "host": "its Host header",
    "headers": "it has more headers than a check may have",
    "name": "a header's name",
    "value": "a header's value",
    "service": "its gRPC service",
}
_SERVES: Final = 2
#: Seconds: the API lets a period be as long as anybody can write.
_DAY: Final = 86400
_NUMBERS: Final = re.compile(r"^\d+ of \d+ endpoints (is|are) not asked: ")

_NO_PODS: Final = f"no pod of it is known, so there is no probe to take; {_NOBODY}, or use type HTTP, GRPC or TCP"


def kind_of(problem: str) -> str:
    """*problem* without numbers, which are others with each endpoint that comes or goes."""
    return _NUMBERS.sub("", problem)


class Choice(NamedTuple):
    """How the endpoints of a Service's port are asked.

    Attributes:
        check: explicit; ``None``: nobody asks.
        problem: what is wrong with the probes, of some or of all, and what is done instead; empty: nothing.
        ports: pod -> the port where it is asked, or ``NOT_ASKED``.
        until: when something else may be told of it, though nothing was heard: seconds since the epoch.
    """

    check: ActiveHealthCheck | None
    problem: str
    ports: Mapping[str, int]
    until: float = NEVER


def choose(
    wanted: ActiveHealthCheck,
    slices: Iterable[EndpointSlice],
    port_name: str,
    pods: Mapping[str, PodState],
    now: float = 0.0,
) -> Choice:
    """*wanted* is of a probe; *pods* are those of the Service's namespace, by name; *now*: seconds since the epoch."""
    of_port = [
        (endpoint, port)
        for entry in slices
        if (port := entry.ports.get(port_name)) is not None
        for endpoint in entry.endpoints
    ]
    found = {one.pod: _of(pods[one.pod].probes, port, wanted.type) for one, port in of_port if one.pod in pods}
    words = _WORDS[wanted.type]
    if not found:
        # A pod is there long before its endpoint; but its watch may be late for a moment.
        late = bool(pods) and any(one.pod for one, _ in of_port)
        return Choice(None, "" if late or not of_port else _NO_PODS, {})
    best = max(_rank(one) for one, _ in of_port if one.pod in found)
    voters = {one.pod: found[one.pod] for one, _ in of_port if one.pod in found and _rank(one) == best}
    counts = Counter(probe._replace(port=0) for probe in voters.values() if probe is not None and not probe.problem)
    if not counts:
        problems = sorted({probe.problem for probe in voters.values() if probe is not None})
        why = f"no proxy can ask as the {words} does: {problems[0]}" if problems else f"the pods have no {words}"
        return Choice(None, f"{why}; {_NOBODY}", {})
    most = max(counts, key=lambda probe: (counts[probe], probe))
    check = _explicit(wanted, most)
    if isinstance(check, str):
        return Choice(None, f"no proxy can ask as the {words} does: {check}; {_NOBODY}", {})
    ports = {
        name: probe.port if probe is not None and probe._replace(port=0) == most else NOT_ASKED
        for name, probe in found.items()
    }
    some = {name: probe for name, probe in voters.items() if ports[name] == NOT_ASKED}
    others = {one.address: one.pod for one, _ in of_port if one.pod not in found and _rank(one) == best}
    if not some and all(others.values()):
        return Choice(check, "", ports)
    ready = {name: _ready_since(pods[name], now, late=best == _SERVES) for name in voters}
    until = min((since + _SETTLED for since in ready.values() if since + _SETTLED > now and since), default=NEVER)
    settled = {name for name, since in ready.items() if since + _SETTLED <= now or not since}
    if settled <= some.keys():
        return Choice(check, "", ports, until)
    reasons = Counter(_why(probe, words) for name, probe in some.items() if name in settled)
    reasons[_NO_POD] += sum(not pod for pod in others.values())  # the pod of another one is told of in a moment
    return Choice(check, _not_asked(reasons, len(voters) + len(others)), ports, until)


def _ready_since(pod: PodState, now: float, *, late: bool) -> float:
    """0: unknown. *late*: its slice says that it is ready; the pod may say so only in a moment."""
    return now if late and pod.ready_since and not pod.ready else pod.ready_since


def _why(probe: Probe | None, words: str) -> str:
    if probe is None:
        return f"their pods have no {words}"
    return (
        f"no proxy can ask as the {words} does: {probe.problem}" if probe.problem else f"most pods have another {words}"
    )


def _not_asked(why: Counter[str], total: int) -> str:
    """The reason of most of them is enough."""
    why = +why
    if not why:
        return ""
    number, most = why.total(), max(why, key=lambda one: (why[one], one))
    more = ", and more" if len(why) > 1 else ""
    return f"{number} of {total} endpoints {'is' if number == 1 else 'are'} not asked: {most}{more}; {_ALONE}"


def _rank(endpoint: SliceEndpoint) -> int:
    """Those that get traffic say how all are asked: else a Deployment's old pods do while they end."""
    return _SERVES if endpoint.ready and not endpoint.terminating else 1 if endpoint.serving else 0


def _of(containers: Probes, port: int, kind: str) -> Probe | None:
    """The probe of the container that names *port*, else of one that is probed there, else of the first that has a probe.

    Nobody has to name a port. A sidecar that does not serve this one says nothing of who does.
    """
    found = [
        (0 if port in container.ports else 1 if probe.port == port else 2, number, probe)
        for number, container in enumerate(containers)
        if (probe := container.readiness if kind == "ReadinessProbe" else container.liveness) is not None
        and (not container.sidecar or port in container.ports or probe.port == port)
    ]
    probe = min(found)[2] if found else None
    if probe is not None and probe.type == "GRPC" and probe.port != port:
        return Probe(problem="it is gRPC on another port than requests, and Envoy speaks one protocol to a cluster")
    return probe


def _explicit(wanted: ActiveHealthCheck, probe: Probe) -> ActiveHealthCheck | str:
    """What the policy says comes first. A text: what the pod template says no check can have, and why."""
    if wanted.timeout is None and probe.timeout * 1000 > milliseconds(LONGEST_TIMEOUT):
        return (
            f"an answer may take {probe.timeout} s, and proxies wait for {LONGEST_TIMEOUT} at most (the policy's timeout"
            " may say for how long)"
        )
    interval, timeout = _times(wanted, probe)
    try:
        check = ActiveHealthCheck(
            type=probe.type or "TCP",
            http=_http(probe) if probe.type == "HTTP" else None,
            grpc=GrpcCheck(service=probe.service) if probe.type == "GRPC" else None,
            tcp=TcpCheck() if probe.type == "TCP" else None,
            interval=interval,
            timeout=timeout,
            unhealthy_threshold=wanted.unhealthy_threshold or min(probe.failure, 100),
            healthy_threshold=wanted.healthy_threshold or min(probe.success, 100),
            jitter=wanted.jitter or f"{min(milliseconds(JITTER), milliseconds(interval) // 2)}ms",
            max_checks_per_second=wanted.max_checks_per_second,
        )
    except ValidationError as error:
        return _FIELDS[str(error.errors()[0]["loc"][0])]
    return check if wanted.type == "ReadinessProbe" else _ahead(wanted, probe, check)


def _ahead(wanted: ActiveHealthCheck, probe: Probe, check: ActiveHealthCheck) -> ActiveHealthCheck:
    """*check* of a liveness probe: an endpoint should have no requests any more when its container is ended for it.

    An interval that the policy says is kept, with one failure less than the kubelet waits for. Else it may be shorter than
    the timeout, which no policy may say: an interval begins when a check ends.
    """
    if wanted.interval is not None:
        fewer = wanted.unhealthy_threshold or min(max(1, probe.failure - 1), 100)
        return check.model_copy(update={"unhealthy_threshold": fewer})
    found = liveness.ahead(
        period=1000 * min(probe.period, _DAY),
        patience=1000 * probe.timeout,
        failures=probe.failure,
        timeout=milliseconds(check.timeout or TIMEOUT),
        unhealthy=wanted.unhealthy_threshold,
        jitter=milliseconds(wanted.jitter) if wanted.jitter is not None else None,
    )
    return check.model_copy(
        update={
            "interval": f"{found.interval}ms",
            "jitter": f"{found.jitter}ms",
            "unhealthy_threshold": found.unhealthy,
        }
    )


def _times(wanted: ActiveHealthCheck, probe: Probe) -> tuple[str, str]:
    """Interval and timeout. What the policy does not say gives way: a check has to end before the next one begins.

    The API lets a probe take longer than its period, and a kubelet waits for it: so the interval grows where the policy says
    none, for with a shorter timeout pods that are slow and well would fail.
    """
    interval, timeout = wanted.interval or f"{min(probe.period, _DAY)}s", wanted.timeout or f"{probe.timeout}s"
    if milliseconds(timeout) <= milliseconds(interval):
        return interval, timeout
    return (interval, interval) if wanted.interval is not None else (timeout, timeout)


def _http(probe: Probe) -> HttpCheck:
    headers = tuple(CheckHeader(name=name, value=value) for name, value in probe.headers)
    return HttpCheck(path=probe.path, host=probe.host or None, scheme=probe.scheme, headers=headers)
