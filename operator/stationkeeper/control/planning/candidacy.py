"""Where a candidate stands on its way to all requests: starting, a canary, waiting for a person, proven, failed. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from stationkeeper.api.base import parse_duration
from stationkeeper.api.meta import ANNOTATION_APPROVE, ANNOTATION_PAUSE, CONTAINER_SERVE, EXIT_INVALID
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.serving import Rollout
from stationkeeper.api.status import CandidateRef, Verdict
from stationkeeper.control.planning import canary, evidence
from stationkeeper.control.planning.fleet import Fleet

_CRASHES = 2  # restarts of a canary's container that are one too many


class RolloutState(StrEnum):
    """Where the rollout of the revision that should serve stands."""

    NOTHING_TO_SERVE = "NothingToServe"  # no revision yet, or none that may serve
    STABLE = "Stable"  # the newest good revision serves
    DRAINING = "Draining"  # it serves, and its predecessor finishes what it has
    STARTING = "Starting"  # a candidate comes up
    CANARY = "Canary"  # it takes a share of the requests
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

    @property
    def shares(self) -> bool:
        """Whether the candidate answers beside the stable revision."""
        return self.step is not None and self.state not in (RolloutState.PROVEN, RolloutState.FAILED)


@dataclass(frozen=True)
class Candidacy:
    """One candidate, and what decides about it."""

    fleet: Fleet
    record: ModelRevisionSpec
    stable: ModelRevisionSpec | None
    at_once: bool  # a person or a rollback wants it: no steps, no approval
    status: CandidateRef | None  # what was written of this very candidate
    draining: bool  # the last switch has not drained
    now: datetime

    @property
    def _rules(self) -> Rollout:
        return self.fleet.owner.spec.serving.rollout

    @property
    def _name(self) -> str:
        return f"revision {self.record.number}"

    @property
    def _stepwise(self) -> bool:
        return self._rules.strategy == "Canary" and self.stable is not None and not self.at_once

    def replicas(self, step: int | None) -> int:
        """Pods of the candidate: its share while it is a canary, else as many as shall serve; one proves it where none shall."""
        wanted = self.fleet.size(self.stable)
        if not self._stepwise or (step or 0) >= len(self._rules.steps):
            return max(1, wanted)
        return min(max(1, wanted), canary.pods_for(self._rules.steps[step or 0].weight, wanted))

    def progress(self) -> Progress:
        """Name the state, from what is; a fault first, for a bad canary must not wait for anything."""
        step = self.status.step if self.status and self._stepwise else None
        since = self.status.step_since if self.status and step is not None else None
        fault = self._fault(step)
        if fault:
            return Progress(RolloutState.FAILED, fault)
        if coming := self._coming_up(step):
            return replace(coming, step=step, since=since)
        if not self._stepwise:
            return self._asked(Progress(RolloutState.PROVEN, f"{self._name} reproduced its golden rows and is ready"))
        if step is None or since is None:
            return self._first_step()
        if step >= len(self._rules.steps):
            passed = f"{self._name} passed every step and is ready"
            return self._asked(Progress(RolloutState.PROVEN, passed, step=step, since=since))
        return self._held(step, since)

    # -- faults ------------------------------------------------------------------------------------------------------

    def _fault(self, step: int | None) -> str | None:
        """Why the candidate is given up."""
        if failure := self._cannot_start(step):
            return f"{self._name} failed to start: {failure}"
        if step is None:
            return None
        crashed = next((p for p in self.fleet.pods(self.record) if evidence.restarts(p, CONTAINER_SERVE) >= _CRASHES), None)
        if crashed:
            said = evidence.serving_failure(crashed)
            return f"{self._name} crashes while it answers" + (f": {said.message}" if said else "")
        found = self._analysed()
        return f"{self._name} failed as a canary: {found.message}" if found.verdict == Verdict.BREACHED else None

    def _cannot_start(self, step: int | None) -> str | None:
        """Without a stable revision only a fault of its own counts, not the time."""
        deployment = self.fleet.deployment(self.record)
        pods = self.fleet.pods(self.record)
        if deployment is None or self._is_ready(step):
            return None
        for pod in pods:
            for end in evidence.ended(pod, (CONTAINER_SERVE,)):
                if end.exit_code == EXIT_INVALID and (failure := evidence.serving_failure(pod)):
                    return f"{failure.reason}: {failure.message}"
        if self.stable is None or self.fleet.blocked(self.record) or not _expired(deployment):
            return None
        said = next((f.message for pod in pods if (f := evidence.serving_failure(pod))), "")
        return f"not ready within {self.fleet.owner.spec.serving.progress_deadline}" + (f"; {said}" if said else "")

    def _analysed(self) -> canary.Analysed:
        measured, nothing = self.fleet.observed.measured, canary.Measured()
        stable = measured.get(self.stable.number, nothing) if self.stable else nothing
        return canary.analyse(self._rules.analysis, stable, measured.get(self.record.number, nothing))

    # -- the way -----------------------------------------------------------------------------------------------------

    def _is_ready(self, step: int | None) -> bool:
        return self.fleet.ready(self.record) >= self.replicas(step)

    def _coming_up(self, step: int | None) -> Progress | None:
        """Why the candidate's pods are not all ready; None when they are."""
        if self.fleet.deployment(self.record) is None:
            return Progress(RolloutState.STARTING, f"{self._name} is being started")
        if self._is_ready(step):
            return None
        if blocked := self.fleet.blocked(self.record):
            return Progress(RolloutState.BLOCKED, blocked.message, blocked)
        ready, wanted = self.fleet.ready(self.record), self.replicas(step)
        state = RolloutState.STARTING if step is None else RolloutState.CANARY
        return Progress(state, f"{self._name} comes up: {ready} of {wanted} replicas ready")

    def _first_step(self) -> Progress:
        if self.draining:
            return Progress(RolloutState.STARTING, f"{self._name} waits until the last switch has drained")
        if self._paused:
            return Progress(RolloutState.PAUSED, f"{self._name} is ready and answers nobody yet")
        return self._step(0, self.now, "it begins to answer")

    def _held(self, step: int, since: datetime) -> Progress:
        """One look at a step: hold it, go on, or give up."""
        found, limits = self._analysed(), self._rules.analysis
        here = self._step(step, since, found.message)
        if self._paused:
            return replace(here, state=RolloutState.PAUSED)
        if found.verdict == Verdict.INSUFFICIENT_DATA:
            if limits.without_evidence == "Rollback" and canary.expired(limits, since, self.now):
                why = f"{self._name} could not be judged within {limits.deadline}: {found.message}"
                return Progress(RolloutState.FAILED, why)
            return here
        if self.now < since + parse_duration(self._rules.steps[step].hold):
            return here
        return self._step(step + 1, self.now, found.message)

    def _step(self, step: int, since: datetime, analysis: str) -> Progress:
        steps = self._rules.steps
        where = f"step {step + 1} of {len(steps)} ({steps[step].weight} %)" if step < len(steps) else "every step passed"
        message = f"{self._name} answers beside the stable revision, {where}: {analysis}"
        return Progress(RolloutState.CANARY, message, step=step, since=since, analysis=analysis[:512])

    def _asked(self, proven: Progress) -> Progress:
        """A proven candidate, unless a person holds it, and once one has approved it where the spec asks for that."""
        if self._paused:
            return replace(proven, state=RolloutState.PAUSED)
        approved = self._annotations.get(ANNOTATION_APPROVE) == self.record.digest
        if self.at_once or self._rules.approval == "Automatic" or approved:
            return proven
        ask = f"stationkeeper -n {self.fleet.owner.namespace} approve {self.fleet.owner.name}"
        return replace(proven, state=RolloutState.WAITING, message=f"{self._name} is proven and waits for: {ask}")

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
