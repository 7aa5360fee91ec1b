"""The statuses of all policies: which may have changed, what they say now, and who is told of those that differ.

The status lane of ``loop`` runs it; it brings together what was found (``reconcile``), what the proxies have (``fleet``),
what they refused (``quarantine``, ``refused_secrets``) and how many endpoints there are (``tally``). No I/O; time enters
as a function. The words of the conditions are ``status.status``'s.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

from fairlead_operator import checks, propagation
from fairlead_operator.api.meta import Ref
from fairlead_operator.api.objects import InvalidPolicy, LoadBalancerPolicy
from fairlead_operator.bindings import Survey
from fairlead_operator.conditions import Findings
from fairlead_operator.faults import Fault
from fairlead_operator.fleet import Fleet
from fairlead_operator.late_refusals import LateRefusals
from fairlead_operator.quarantine import Quarantine, Refusal
from fairlead_operator.reconciled import Reconciled
from fairlead_operator.refused_secrets import RefusedSecrets
from fairlead_operator.replicas.peers import Peers
from fairlead_operator.status import Asked, Ejected, Rollout, Subject, kind_of, stale, status
from fairlead_operator.tally import Tally
from fairlead_operator.world import World

StatusSink = Callable[[Ref, dict[str, Any]], None]
_Says = tuple[Subject, Findings, Rollout, Survey, Asked]


class Statuses:
    """What each policy says, as of the last run.

    Attributes:
        now: the status of each policy. One that was there before the first run keeps the times of its conditions.
    """

    def __init__(
        self,
        world: World,
        *,
        fleet: Fleet,
        tally: Tally,
        quarantine: Quarantine,
        refused_secrets: RefusedSecrets,
        late_refusals: LateRefusals,
        sink: StatusSink,
        clock: Callable[[], datetime.datetime],
        on_fault: Callable[[Fault], None],
        peers: Peers | None = None,
    ) -> None:
        """*on_fault* hears of policies whose status cannot be computed; *peers*: the replicas whose proxies count too."""
        self.now: dict[Ref, dict[str, Any]] = {}
        self._world, self._fleet, self._tally = world, fleet, tally
        self._quarantine, self._refused_secrets, self._late_refusals = quarantine, refused_secrets, late_refusals
        self._sink, self._clock, self._on_fault, self._peers = sink, clock, on_fault, peers
        self._slowest = 0.0
        self._rates: Mapping[Ref, float] = {}
        self._unsure: set[Ref] | None = None
        self._ejected: Mapping[Ref, tuple[Ejected, ...]] | None = None
        self._said: dict[Ref, _Says] = {}
        self._served: dict[Ref, LoadBalancerPolicy] = {}

    def doubt(self, policies: set[Ref] | None = None) -> None:
        """Some of *policies* may have another status now; ``None``: any may, the proxies have changed."""
        if policies is None:
            self._unsure = None
        elif self._unsure is not None:
            self._unsure |= policies

    def ejected(self, found: Mapping[Ref, tuple[Ejected, ...]] | None) -> set[Ref]:
        """What proxies keep out, as of now; ``None``: nobody asks them any more. The policies that have another status now."""
        before, self._ejected = self._ejected, found
        if found is None:
            return set()
        if before is None:  # whatever stood in the statuses of the process before this one
            return set(self.now)
        return {ref for ref in found.keys() | before.keys() if found.get(ref) != before.get(ref)}

    def slowest(self, seconds: float) -> None:
        """How long the slowest change took to reach every proxy."""
        before, self._slowest = self._slowest, seconds
        if propagation.pre_stop(seconds) != propagation.pre_stop(before):
            self._unsure = None

    def again(self, actual: Mapping[Ref, dict[str, Any]]) -> None:
        """Say everything anew, whether it differs or not, after what is *actual*: conditions go on with its times."""
        self.now.update({ref: status for ref, status in actual.items() if status})
        self._said.clear()
        self._unsure = None

    def forget(self, ref: Ref) -> None:
        """The policy is no more."""
        self.now.pop(ref, None)
        self._said.pop(ref, None)
        if self._peers is not None:
            self._peers.forget(ref)

    def run(self, done: Reconciled) -> bool:
        """Compute what is in doubt, hand on what differs. True: a policy was accepted for which another one waited."""
        again = False
        now = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        held = self._quarantine.held(self._world)
        unsure, self._unsure = self._unsure, set()
        if unsure is None:
            unsure = set(self._world.policies)
            self._fleet.survey()
            if self._peers is not None:
                self._peers.serves(self._fleet.connected())
        self._rates = checks.rates(done.checked, self.connected()) if done.checked else {}
        for ref in sorted(unsure & self._world.policies.keys()):
            findings = done.findings.get(ref)
            if findings is None:  # arrived after the last run of the config lane, which is marked
                continue
            try:
                again |= self._run(self._world.policies[ref], findings, done, now, held=ref in held)
            except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
                self._fail(Fault(ref, error), now)
        return again

    def _run(
        self,
        policy: LoadBalancerPolicy | InvalidPolicy,
        findings: Findings,
        done: Reconciled,
        now: str,
        *,
        held: bool,
    ) -> bool:
        rollout = self._rollout(policy, findings, done, held=held)
        again = False
        if rollout.complete and not findings.accepted and isinstance(policy, LoadBalancerPolicy):
            again = self._quarantine.accept(policy)
        self._say(policy, findings, self._of_all(policy, rollout), done, now)
        return again

    def _fail(self, fault: Fault, now: str) -> None:
        """The status of a policy cannot be computed: the one before stands."""
        self._on_fault(fault)
        self._said.pop(fault.policy, None)
        previous = self.now.get(fault.policy, {})
        problem = fault.problem("what else is said here may be of before")
        computed = stale(problem, self._world.policies[fault.policy].generation, previous=previous, now=now)
        if computed != previous:
            self.now[fault.policy] = computed
            self._sink(fault.policy, computed)

    def connected(self) -> dict[str, int]:
        """Proxies of each key, those of other replicas too, as of the last run."""
        return self._peers.connected() if self._peers is not None else self._fleet.connected()

    @property
    def lag(self) -> float:
        """Seconds for which ``connected`` may count a proxy twice."""
        return self._peers.lag if self._peers is not None else 0.0

    def reconciled(self, done: Reconciled, held: Collection[Ref]) -> None:
        """The config lane has run: what is served now, each policy in its own form."""
        self._served = {
            policy.ref: policy
            for policy in self._world.policies.values()
            if isinstance(policy, LoadBalancerPolicy)
            and policy.ref not in held
            and not done.findings[policy.ref].accepted
        }

    def overtaken(self, done: Reconciled) -> None:
        """The config lane is about to run: a form that is replaced is good if every proxy has it, told already or not."""
        policies = self._world.policies
        replaced = [was for ref, was in self._served.items() if policies.get(ref, was) is not was]
        if replaced:
            self._fleet.survey()
        for policy in replaced:
            try:
                complete = self._rollout(policy, done.findings[policy.ref], done, held=False).complete
            except Exception as error:  # noqa: BLE001 - a mistake of ours, see faults
                self._on_fault(Fault(policy.ref, error))
                continue
            if complete:
                self._quarantine.accept(policy)

    def _of_all(self, policy: LoadBalancerPolicy | InvalidPolicy, rollout: Rollout) -> Rollout:
        """*rollout* with the proxies of other replicas, who are told of ours."""
        if self._peers is None:
            return rollout
        self._peers.has(policy.ref, policy.generation, rollout)
        return self._peers.total(policy.ref, policy.generation, rollout)

    def _rollout(
        self, policy: LoadBalancerPolicy | InvalidPolicy, findings: Findings, done: Reconciled, *, held: bool
    ) -> Rollout:
        gateways = done.gateways.get(policy.ref, ())
        refusal = self._refusal(policy.ref, policy.generation, gateways)
        rollout = self._fleet.rollout(policy.ref, gateways, refusal, served=not held and not findings.accepted)
        late = None if rollout.refusal else self._late_refusals.refusals(policy.ref, gateways)
        if late is None:
            return rollout
        return replace(rollout, rejected=tuple(sorted(late.proxies)), refusal=str(late))

    def _refusal(self, ref: Ref, generation: int, gateways: Iterable[str]) -> Refusal | None:
        if (ref, generation) in self._quarantine.refused:
            return self._quarantine.refused[ref, generation]
        return self._refused_secrets.refusal(ref, gateways)

    def _checks(self, ref: Ref, done: Reconciled) -> tuple[checks.Checks, ...]:
        """How often the endpoints of a policy are asked."""
        if not self._rates:
            return ()
        names = [one.cluster for one in (*done.clusters.get(ref, ()), *done.named.get(ref, ()))]
        return checks.of_clusters(names, done.checked, self._rates)

    def _say(
        self,
        policy: LoadBalancerPolicy | InvalidPolicy,
        findings: Findings,
        rollout: Rollout,
        done: Reconciled,
        now: str,
    ) -> None:
        kind, algorithm = kind_of(policy) if isinstance(policy, LoadBalancerPolicy) else ("", "")
        subject = Subject(policy.generation, kind, algorithm)
        previous = self.now.get(policy.ref, {})
        survey = self._tally.survey(self._world, policy.ref)
        if hasty := propagation.too_short(survey.graces, self._slowest):
            findings = findings.also(hasty)
        ejected = self._ejected.get(policy.ref, ()) if self._ejected is not None else None
        says = (subject, findings, rollout, survey, Asked(self._checks(policy.ref, done), ejected))
        said = self._said.get(policy.ref)
        if previous and said == says:
            return
        self._said[policy.ref] = says
        computed = status(*says, previous=previous, now=now)
        if computed != previous or said is None:
            self.now[policy.ref] = computed
            self._sink(policy.ref, computed)
