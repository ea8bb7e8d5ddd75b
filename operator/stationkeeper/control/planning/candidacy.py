"""Where a candidate stands on its way to all requests: starting, a canary, a shadow, waiting for a person, proven, failed. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TypedDict

from stationkeeper.api.base import parse_duration
from stationkeeper.api.meta import ANNOTATION_APPROVE, ANNOTATION_PAUSE, CONTAINER_FETCH, CONTAINER_SERVE, EXIT_INVALID
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.serving import Rollout
from stationkeeper.api.status import CandidateRef, QueryResult, ShadowStatus, StepEvidence
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning import canary, evidence, queries
from stationkeeper.control.planning.fleet import Fleet
from stationkeeper.control.planning.routing import LAG, Routing
from stationkeeper.control.planning.shadowing import Shadowing

_CRASHES = 2  # restarts of a canary's container that are one too many


class _SoFar(TypedDict, total=False):
    """What is known of a shadow, as fields of `Progress`."""

    shadowed_since: datetime
    shadow: ShadowStatus


class RolloutState(StrEnum):
    """Where the rollout of the revision that should serve stands."""

    NOTHING_TO_SERVE = "NothingToServe"  # no revision yet, or none that may serve
    STABLE = "Stable"  # the newest good revision serves
    DRAINING = "Draining"  # it serves, and its predecessor finishes what it has
    STARTING = "Starting"  # a candidate comes up
    CANARY = "Canary"  # it takes a share of the requests
    UNROUTED = "Unrouted"  # it is to take a share, and the Gateway does not give it one
    SHADOW = "Shadow"  # it is asked what the stable revision was asked, and nobody hears its answers
    PAUSED = "Paused"  # a person holds it where it is
    WAITING = "WaitingForApproval"  # it is proven and waits for a person
    BLOCKED = "Blocked"  # a candidate cannot start, and that is not its fault
    PROVEN = "Proven"  # the candidate may take all requests: switch
    FAILED = "Failed"  # the candidate failed: quarantine


@dataclass(frozen=True)
class Progress:
    """Where the candidate stands, and why."""

    state: RolloutState
    message: str
    blocked: evidence.Blocked | None = None
    step: int | None = None  # of the canary; as many as there are steps: it gets all its pods
    since: datetime | None = None  # of the step
    analysis: str | None = None
    shown: StepEvidence | None = None  # the numbers of the step that `analysis` tells of
    shadowed_since: datetime | None = None
    shadow: ShadowStatus | None = None

    @property
    def shares(self) -> bool:
        """Whether the candidate answers beside the stable revision."""
        return self.step is not None and self.state != RolloutState.FAILED


@dataclass(frozen=True)
class Candidacy:
    """One candidate, and what decides about it."""

    fleet: Fleet
    record: ModelRevisionSpec
    stable: ModelRevisionSpec | None
    at_once: bool  # a person or a rollback wants it: no steps, no approval
    status: CandidateRef | None  # what was written of this very candidate
    draining: bool  # the last switch has not drained
    routing: Routing
    now: datetime

    @property
    def _rules(self) -> Rollout:
        return self.fleet.owner.spec.serving.rollout

    @property
    def _name(self) -> str:
        return f"revision {self.record.number}"

    @property
    def _foreign(self) -> bool:
        """Whether a server of the team's own choice serves it."""
        return self.fleet.owner.spec.serving.container is not None

    @property
    def _stepwise(self) -> bool:
        steps = self._rules.strategy == "Canary" or (self._rules.strategy == "Shadow" and self._rules.shadow.then == "Canary")
        return steps and self.stable is not None and not self.at_once

    @property
    def _shadowed(self) -> bool:
        return self._rules.strategy == "Shadow" and self.stable is not None and not self.at_once

    @property
    def shadowing(self) -> Shadowing | None:
        """The comparison with the stable revision, once it has begun."""
        known = self.status
        if not self._shadowed or self.stable is None or known is None or known.shadowed_since is None:
            return None
        if known.shadow_of != self.stable.digest:
            return None  # what it was compared with does not serve any more
        fleet = self.fleet
        return Shadowing(fleet.observed, fleet.owner, self.stable, self.record, known.shadowed_since, known.shadow, self.now)

    @property
    def _steps(self) -> int:
        """Steps before it may have all its pods."""
        return len(self._rules.steps) if self._stepwise else 0

    @property
    def _bounded(self) -> bool:
        """Whether there is less room than for as many pods again, so that it takes over pod by pod."""
        serving, surge = self.fleet.owner.spec.serving, self._rules.max_surge
        replaced = self._rules.strategy == "Recreate" or serving.autoscaling is not None or self.stable is None
        return surge is not None and not replaced and surge < serving.replicas

    def hands_over(self, progress: Progress) -> bool:
        """Whether each of its ready pods lets one of the stable revision go."""
        return self._bounded and progress.shares and progress.step is not None and progress.step >= self._steps

    def replicas(self, step: int | None) -> int:
        """Pods of the candidate: its share while it is a canary, else as many as shall serve; one proves it where none shall."""
        wanted = self.fleet.size(self.stable)
        pods = max(1, wanted)
        if self._stepwise and (step or 0) < self._steps:
            weight = self._rules.steps[step or 0].weight
            pods = min(pods, canary.pods_behind(weight, wanted) if self.routing.wanted else canary.pods_for(weight, wanted))
        if self._bounded and self._rules.max_surge:
            pods = max(1, min(pods, wanted + self._rules.max_surge - self.fleet.live_size(self.stable)))
        return pods

    def weight(self, progress: Progress) -> int:
        """Percent of the requests that the Gateway is to give it: those of its step, once the pods for them are ready."""
        step, weights = progress.step, [step.weight for step in self._rules.steps]
        if not progress.shares or step is None or not self.fleet.answering(self.record):
            return 0
        if step == 0 and progress.since and self.now < progress.since + LAG:
            return 0  # its endpoints must be known first
        if step >= self._steps and self._bounded and self.stable:
            return canary.achieved(self.fleet.answering(self.record), self.fleet.answering(self.stable))
        if step >= len(weights) or self._is_ready(step):
            return weights[min(step, len(weights) - 1)]
        # Its pods come up, or one was lost: what it gets already it keeps.
        return min(self.routing.asked.get(self.record.number, 0), weights[step])

    def progress(self) -> Progress:
        """Name the state, from what is; what the last step has shown stays known while nothing newer is."""
        found, known = self._progress(), self.status
        if found.step is None or known is None:
            return found
        return replace(found, analysis=found.analysis or known.analysis, shown=found.shown or known.shown)

    def _progress(self) -> Progress:
        """A fault first, for a bad canary must not wait for anything."""
        step = self.status.step if self.status and (self._stepwise or self._bounded) else None
        since = self.status.step_since if self.status and step is not None else None
        fault = self._fault(step)
        if fault:
            return Progress(RolloutState.FAILED, fault)
        if coming := self._coming_up(step):
            return replace(coming, step=step, since=since, **self._shadow_so_far())
        if self._shadowed and not (self._stepwise and self._agreed):
            return self._shadow()
        return replace(self._stepping(step, since), **self._shadow_so_far())

    def _stepping(self, step: int | None, since: datetime | None) -> Progress:
        """One look at a candidate whose pods are ready, on its way through the steps where there are any."""
        if not self._stepwise:
            proof = "is ready" if self._foreign else "reproduced its golden rows and is ready"
            return self._asked(Progress(RolloutState.PROVEN, f"{self._name} {proof}", step=step, since=since))
        if step is None or since is None:
            return self._first_step()
        if step >= len(self._rules.steps):
            seen = self.status.analysis if self.status else None
            passed = f"{self._name} passed every step" + (f": {seen}" if seen else "")
            return self._asked(Progress(RolloutState.PROVEN, passed, step=step, since=since))
        return self._held(step, since)

    # -- faults ------------------------------------------------------------------------------------------------------

    def _fault(self, step: int | None) -> str | None:
        """Why the candidate is given up."""
        if failure := self._cannot_start(step):
            return f"{self._name} failed to start: {failure}"
        if step is None and self.shadowing is None:
            return None
        crashed = next((p for p in self.fleet.pods(self.record) if evidence.restarts(p, CONTAINER_SERVE) >= _CRASHES), None)
        if crashed:
            said = evidence.serving_failure(crashed)
            return f"{self._name} crashes while it answers" + (f": {said.message}" if said else "")
        if self.shadowing and not (self._stepwise and self._agreed):
            shown = self.shadowing.found()
            return f"{self._name} failed as a shadow: {shown.message}" if shown.verdict == Verdict.BREACHED else None
        found = self._analysed()
        return f"{self._name} failed as a canary: {found.message}" if found.verdict == Verdict.BREACHED else None

    def _cannot_start(self, step: int | None) -> str | None:
        """Without a stable revision only a fault of its own counts, not the time."""
        deployment = self.fleet.deployment(self.record)
        pods = self.fleet.pods(self.record)
        if deployment is None or self._is_ready(step):
            return None
        for pod in pods:
            # Of a server that is not ours, exit codes mean nothing: only who fetched its model can say that it is no good.
            for end in evidence.ended(pod, (CONTAINER_FETCH if self._foreign else CONTAINER_SERVE,)):
                if end.exit_code == EXIT_INVALID and (failure := evidence.serving_failure(pod)):
                    return f"{failure.reason}: {failure.message}"
        if self.stable is None or self.fleet.blocked(self.record) or not _expired(deployment):
            return None
        said = next((f.message for pod in pods if (f := evidence.serving_failure(pod))), "")
        return f"not ready within {self.fleet.owner.spec.serving.progress_deadline}" + (f"; {said}" if said else "")

    def _analysed(self) -> canary.Analysed:
        if self._foreign:
            return canary.analyse_foreign(self._asked_now)
        measured, nothing = self.fleet.observed.measured, canary.Measured()
        stable = measured.get(self.stable.number, nothing) if self.stable else nothing
        candidate = measured.get(self.record.number, nothing)
        expected = canary.expected_shift(self.record, self.stable.digest if self.stable else None)
        return canary.analyse(self._rules.analysis, stable, candidate, self._asked_now, expected)

    @property
    def _asked_now(self) -> list[QueryResult]:
        return queries.results(self._rules.analysis.queries, self.fleet.observed.answers)

    # -- the way -----------------------------------------------------------------------------------------------------

    def _is_ready(self, step: int | None) -> bool:
        return self.fleet.ready(self.record) >= self.replicas(step)

    def _coming_up(self, step: int | None) -> Progress | None:
        """Why the candidate's pods are not all ready; None when they are."""
        if self.fleet.deployment(self.record) is None:
            return Progress(RolloutState.STARTING, f"{self._name} is being started")
        if self._is_ready(step):
            return None
        ready, wanted = self.fleet.ready(self.record), self.replicas(step)
        if blocked := self.fleet.blocked(self.record):
            if self._awaits_room(step, blocked):
                message = (
                    f"{self._name} takes over pod by pod: {ready} of {wanted} are ready, and a pod that ends still has the room"
                )
                return Progress(RolloutState.CANARY, message)
            return Progress(RolloutState.BLOCKED, f"{self._name} waits: {blocked.message}", blocked)
        state = RolloutState.STARTING if step is None else RolloutState.CANARY
        return Progress(state, f"{self._name} comes up: {ready} of {wanted} replicas ready")

    def _awaits_room(self, step: int | None, blocked: evidence.Blocked) -> bool:
        """Whether the room that it lacks is about to be free: that of a pod which it replaces one for one."""
        handing = self._bounded and step is not None and step >= self._steps
        return handing and blocked.reason == "NoRoom" and self.stable is not None and self.fleet.ending(self.stable)

    def _first_step(self) -> Progress:
        if self.draining:
            return Progress(RolloutState.STARTING, f"{self._name} waits until the last switch has drained")
        if self._paused:
            return Progress(RolloutState.PAUSED, f"{self._name} is ready and answers nobody yet")
        if self.routing.wanted and not (word := self.routing.word()).accepted:
            return Progress(RolloutState.UNROUTED, f"{self._name} is ready and gets no share of the requests yet: {word.message}")
        return self._step(0, self.now, "it begins to answer")

    def _held(self, step: int, since: datetime) -> Progress:
        """One look at a step: hold it, go on, or give up."""
        found, limits = self._analysed(), self._rules.analysis
        here = self._step(step, since, found.message)
        if self._paused:
            return replace(here, state=RolloutState.PAUSED)
        if self.routing.wanted:
            taken = self.routing.since(self.record.number, self._rules.steps[step].weight)
            if taken is None:
                return self._untaken(here)
            since = max(since, taken)
        if found.verdict == Verdict.INSUFFICIENT_DATA:
            if limits.without_evidence == "Rollback" and canary.expired(limits, since, self.now):
                why = f"{self._name} could not be judged within {limits.deadline}: {found.message}"
                return Progress(RolloutState.FAILED, why)
            return here
        if self.now < since + parse_duration(self._rules.steps[step].hold):
            return here
        return self._step(step + 1, self.now, found.message)

    def _untaken(self, here: Progress) -> Progress:
        """A step whose weight the Gateway has not taken over: nobody can be blamed for what it does not show."""
        word = self.routing.word()
        why = "the Gateway has not taken its weight over yet" if word.accepted else word.message
        state = RolloutState.UNROUTED if word.accepted is False else RolloutState.CANARY
        return replace(here, state=state, message=f"{here.message}; {why}")

    @property
    def _agreed(self) -> bool:
        """Whether it has passed as a shadow of the revision that serves."""
        return self.shadowing is not None and self.shadowing.found().verdict == Verdict.PASSED

    def _shadow_so_far(self) -> "_SoFar":
        shadowing = self.shadowing
        if shadowing is None:
            return {}
        return {"shadowed_since": shadowing.since, "shadow": shadowing.found()}

    def _shadow(self) -> Progress:
        """One look at a shadow: begin it, wait for what it shows, or go on."""
        shadowing, limits = self.shadowing, self._rules.analysis
        if shadowing is None:
            return self._first_shadow()
        found = shadowing.found()
        if found.verdict == Verdict.PASSED:
            passed, begun = f"{self._name} passed as a shadow: {found.message}", self.status
            step, since = (begun.step, begun.step_since) if begun and self._bounded else (None, None)
            return self._asked(Progress(RolloutState.PROVEN, passed, step=step, since=since, **self._shadow_so_far()))
        told = shadowing.trouble() or found.message or "the requests are gathered"
        message = f"{self._name} is asked what the stable revision is asked, off the request path: {told}"
        here = Progress(RolloutState.SHADOW, message, analysis=told[:512], **self._shadow_so_far())
        if self._paused:
            return replace(here, state=RolloutState.PAUSED)
        if limits.without_evidence == "Rollback" and shadowing.expired():
            why = f"{self._name} could not be judged as a shadow within {limits.deadline}: {told}"
            return Progress(RolloutState.FAILED, why)
        return here

    def _first_shadow(self) -> Progress:
        if self.draining:
            return Progress(RolloutState.STARTING, f"{self._name} waits until the last switch has drained")
        if self._paused:
            return Progress(RolloutState.PAUSED, f"{self._name} is ready and answers nobody yet")
        message = f"{self._name} is asked what the stable revision is asked, off the request path, from now on"
        since = self.now.replace(microsecond=0)
        return Progress(RolloutState.SHADOW, message, shadowed_since=since, shadow=ShadowStatus())

    def _step(self, step: int, since: datetime, analysis: str) -> Progress:
        steps = self._rules.steps
        where = f"step {step + 1} of {len(steps)} ({steps[step].weight} %)" if step < len(steps) else "every step passed"
        message = f"{self._name} answers beside the stable revision, {where}: {analysis}"
        shown = canary.shown(self.fleet.observed.measured, self.stable, self.record, self._asked_now)
        return Progress(RolloutState.CANARY, message, step=step, since=since, analysis=analysis[:512], shown=shown)

    def _asked(self, proven: Progress) -> Progress:
        """A proven candidate, unless a person holds it, and once one has approved it where the spec asks for that."""
        if self._paused:
            return replace(proven, state=RolloutState.PAUSED)
        approved = self._annotations.get(ANNOTATION_APPROVE) == self.record.digest
        if self.at_once or self._rules.approval == "Automatic" or approved:
            return self._taken_over(proven)
        ask = f"stationkeeper -n {self.fleet.owner.namespace} approve {self.fleet.owner.name}"
        return replace(proven, state=RolloutState.WAITING, message=f"{self._name} is proven and waits for: {ask}")

    def _taken_over(self, proven: Progress) -> Progress:
        """A proven candidate, once it has all its pods; where there is no room for them beside the others, it gets one for one."""
        ready, wanted = self.fleet.ready(self.record), self.fleet.size(self.stable)
        if not self._bounded or ready >= wanted:
            return proven
        if proven.step is None and self.draining:
            return Progress(RolloutState.STARTING, f"{self._name} waits until the last switch has drained")
        message = f"{self._name} takes over pod by pod: {ready} of {wanted} are ready"
        since = proven.since if proven.step == self._steps and proven.since else self.now
        return replace(proven, state=RolloutState.CANARY, message=message, step=self._steps, since=since)

    @property
    def _paused(self) -> bool:
        """A pin or a rollback is a later word than a pause."""
        return ANNOTATION_PAUSE in self._annotations and not self.at_once

    @property
    def _annotations(self) -> dict[str, str]:
        return self.fleet.observed.model["metadata"].get("annotations") or {}


def _expired(deployment: dict[str, object]) -> bool:
    status = deployment.get("status")
    conditions = status.get("conditions") or [] if isinstance(status, dict) else []
    return any(c.get("type") == "Progressing" and c.get("reason") == "ProgressDeadlineExceeded" for c in conditions)
