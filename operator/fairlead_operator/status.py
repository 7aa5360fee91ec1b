"""What ``kubectl get lbp`` shows: findings and the proxies' answers -> ``status``. Pure; time enters as an argument."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fairlead_operator import sidecars
from fairlead_operator.api.objects import LoadBalancerPolicy
from fairlead_operator.bindings import Survey
from fairlead_operator.checks import Checks
from fairlead_operator.conditions import Findings, Problem
from fairlead_operator.faults import REASON as FAULT
from fairlead_operator.health import Row
from fairlead_xds.features import algorithm
from fairlead_xds.features.endpoints import Health

_NONE_SELECTED = "no sidecar of the pods that it selects"
#: Messages end here. The API server would take eight times that (metav1.Condition), people would not.
LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Rollout:
    """How far the proxies of a policy are.

    Attributes:
        gateways: the keys that carry it: names of gateways, groups of sidecars.
        connected: their proxies that are connected now.
        programmed: those that have acknowledged everything that the policy asks for.
        rejected: names of those that refused something of it.
        refusal: Envoy's own words, and the field that they are about; empty when nothing was refused.
    """

    gateways: tuple[str, ...] = ()
    connected: int = 0
    programmed: int = 0
    rejected: tuple[str, ...] = ()
    refusal: str = ""

    @property
    def complete(self) -> bool:
        """There are proxies, and each has all of it."""
        return self.connected > 0 and self.programmed == self.connected


class Ejected(NamedTuple):
    """An endpoint that proxies keep out by themselves.

    Attributes:
        ejected: so many of them by passive checks.
        failed: so many by active checks.
        proxies: that were asked and answered.
    """

    backend: str
    address: str
    pod: str
    node: str
    ejected: int
    failed: int
    proxies: int

    @property
    def reason(self) -> str:
        """In words."""
        of_all = f"{self.proxies} {'proxy' if self.proxies == 1 else 'proxies'}"

        def of(count: int) -> str:
            return of_all if count == self.proxies else f"{count} of {of_all}"

        passive = f"passive checks of {of(self.ejected)} eject it" if self.ejected else ""
        active = f"active checks of {of(self.failed)} fail" if self.failed else ""
        return "; ".join(part for part in (passive, active) if part)


class Asked(NamedTuple):
    """What is known of the endpoints' checks.

    Attributes:
        checks: how often active checks ask.
        ejected: the endpoints that proxies keep out. ``None``: the proxies have not been asked yet, and what was said of them
            before still stands.
    """

    checks: tuple[Checks, ...] = ()
    ejected: tuple[Ejected, ...] | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class Subject:
    """A policy as far as its status needs it."""

    generation: int
    kind: str
    algorithm: str


def kind_of(policy: LoadBalancerPolicy) -> tuple[str, str]:
    """What the columns TYPE and ALGORITHM show."""
    balancer = policy.spec.load_balancer or algorithm.DEFAULT
    proxies = policy.spec.proxies
    inline = "Sidecar" if proxies is not None and proxies.sidecars is not None else "Gateway"
    return ("Attached" if policy.spec.target_refs is not None else inline, balancer.type)


def status(
    subject: Subject,
    findings: Findings,
    rollout: Rollout,
    endpoints: Survey,
    asked: Asked = NOTHING_ASKED,
    *,
    previous: dict[str, Any],
    now: str,
) -> dict[str, Any]:
    """The whole ``status``. *previous* is the one before: a condition keeps its time while its status stays."""
    conditions = [
        _problems("Accepted", findings.accepted, "Accepted", "valid, and nothing it claims is taken"),
        _problems("ResolvedRefs", findings.resolved, "ResolvedRefs", "everything it refers to exists"),
        _programmed(subject, findings, rollout),
        _degraded(findings, rollout),
    ]
    counts = endpoints.counts
    total, ready = sum(counts.values()), counts[Health.HEALTHY]
    shape = {"type": subject.kind, "algorithm": subject.algorithm}
    return {
        "observedGeneration": subject.generation,
        **{name: value for name, value in shape.items() if value},  # a policy that cannot be read has neither
        "conditions": _timed(conditions, previous.get("conditions") or [], subject.generation, now),
        "proxies": {
            "connected": rollout.connected,
            "programmed": rollout.programmed,
            "rejected": len(rollout.rejected),
            "summary": f"{rollout.programmed}/{rollout.connected}",
        },
        "endpoints": {
            "ready": ready,
            "draining": counts[Health.DRAINING],
            "degraded": counts[Health.DEGRADED],
            "excluded": counts[Health.EXCLUDED],
            "summary": f"{ready}/{total}",
        },
        # Empty ones too: the API server fills in what is absent, and would be written to again and again.
        "activeChecks": [_checks(one) for one in asked.checks],
        "unhealthyEndpoints": [_unfit(one) for one in endpoints.unfit],
        "ejectedEndpoints": _kept_out(asked.ejected, previous),
    }


def stale(problem: Problem, generation: int, *, previous: dict[str, Any], now: str) -> dict[str, Any]:
    """*previous* with *problem*, because of which there is no newer one."""
    others = [entry for entry in previous.get("conditions") or [] if entry["type"] != "Degraded"]
    degraded = _problems("Degraded", (problem,), "", "") | {"status": "True"}
    timed = _timed([degraded], previous.get("conditions") or [], generation, now)
    return {"observedGeneration": 0, **previous, "conditions": others + timed}


def _checks(one: Checks) -> dict[str, str]:
    return {"backend": one.backend, "interval": f"{one.every:g}s", "perSecond": f"{one.per_second:.3g}"}


def _unfit(one: Row) -> dict[str, Any]:
    words = {"pod": one.pod, "node": one.node, "since": rfc3339(one.since) if one.since else ""}
    known = {name: value for name, value in words.items() if value}
    return {"backend": one.backend, "address": one.address, **known, "health": one.health.value, "reason": one.reason}


def _kept_out(ejected: Sequence[Ejected] | None, previous: dict[str, Any]) -> list[dict[str, Any]]:
    if ejected is None:
        return list(previous.get("ejectedEndpoints") or [])
    return [_ejected(one) for one in ejected]


def _ejected(one: Ejected) -> dict[str, Any]:
    known = {name: value for name, value in {"pod": one.pod, "node": one.node}.items() if value}
    counts = {"ejectedBy": one.ejected, "failedChecksBy": one.failed, "proxies": one.proxies}
    return {"backend": one.backend, "address": one.address, **known, **counts, "reason": one.reason}


def rfc3339(seconds: float) -> str:
    """A time of the epoch as Kubernetes writes it; empty: it is in no year that can be written."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""


def _condition(kind: str, value: str, reason: str, message: str) -> dict[str, Any]:
    if len(message) > LONGEST:
        message = message[: LONGEST - 1] + "…"
    return {"type": kind, "status": value, "reason": reason, "message": message}


def _problems(kind: str, problems: Sequence[Problem], fine: str, fine_message: str) -> dict[str, Any]:
    if not problems:
        return _condition(kind, "True", fine, fine_message)
    return _condition(kind, "False", problems[0].reason, "; ".join(str(problem) for problem in problems))


def _programmed(subject: Subject, findings: Findings, rollout: Rollout) -> dict[str, Any]:
    share = f"{rollout.programmed}/{rollout.connected} proxies"
    if findings.accepted:
        gets = "what was served of it may stay" if findings.accepted[0].reason == FAULT else "no proxy gets it"
        return _condition("Programmed", "False", "NotAccepted", f"not accepted: {gets}")
    if rollout.refusal:
        who = ", ".join(rollout.rejected[:5])
        return _condition("Programmed", "False", "Rejected", f"{share}; refused by {who}: {rollout.refusal}")
    if not rollout.gateways and subject.kind == "Sidecar":
        message = f"{share}: no pod with a sidecar has the labels of spec.proxies.sidecars"
        return _condition("Programmed", "False", "NoProxies", message)
    if not rollout.gateways:
        return _condition("Programmed", "False", "NotUsed", "no route leads to its Services, no sidecar captures them")
    if rollout.connected == 0:
        return _condition(
            "Programmed", "False", "NoProxies", f"{share}: {_nobody(subject, rollout.gateways)} is connected"
        )
    if rollout.programmed < rollout.connected:
        return _condition(
            "Programmed", "False", "Pending", f"{share} have acknowledged generation {subject.generation}"
        )
    return _condition("Programmed", "True", "Programmed", f"{share} have acknowledged generation {subject.generation}")


def _nobody(subject: Subject, keys: Sequence[str]) -> str:
    """Who is not there."""
    gateways = [key for key in keys if not sidecars.is_sidecar(key)]
    nobody = [f"no proxy of gateway {', '.join(gateways)}"] if gateways else []
    if len(gateways) < len(keys):
        nobody.append("no sidecar that calls its Services" if subject.kind == "Attached" else _NONE_SELECTED)
    return " and ".join(nobody)


def _degraded(findings: Findings, rollout: Rollout) -> dict[str, Any]:
    if findings.degraded and not findings.accepted:
        return _problems("Degraded", findings.degraded, "", "") | {"status": "True"}
    return _condition("Degraded", "False", "Fine" if rollout.connected else "Unused", "")


def _timed(
    conditions: list[dict[str, Any]], previous: list[dict[str, Any]], generation: int, now: str
) -> list[dict[str, Any]]:
    before = {entry["type"]: entry for entry in previous}
    for entry in conditions:
        known = before.get(entry["type"])
        same = known is not None and known["status"] == entry["status"]
        entry["lastTransitionTime"] = known["lastTransitionTime"] if same and known else now
        entry["observedGeneration"] = generation
    return conditions
