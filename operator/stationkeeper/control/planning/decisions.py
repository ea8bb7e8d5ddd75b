"""Decisions about revisions, and their evidence: kept in the status until a Job has written it to storage. Pure.

What a canary measured is gone with its pods, so a decision is written to the status together with what it rests on, before
its Job is created; the Job's name derives from it. A crash between any two writes leaves nothing to repair.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api import layout
from stationkeeper.api.base import canonical_json, sha256, short
from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.meta import (
    ANNOTATION_APPROVE,
    ANNOTATION_BY,
    ANNOTATION_REJECT,
    ANNOTATION_ROLLBACK,
    CONTAINER_RECORD,
    LABEL_REVISION,
    SERVING_CONTAINERS,
    TRAINING_CONTAINERS,
)
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import CandidateRef, Decision, DecisionKind, ModelStatus, StepEvidence
from stationkeeper.control.planning import canary, evidence, history, queries
from stationkeeper.control.planning.episodes import Training
from stationkeeper.control.planning.rollout import Rollout
from stationkeeper.control.planning.shadowing import Shadowing
from stationkeeper.control.planning.types import Event, Object, Observed
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.record import record_job

MOST = 16  # in the status
_MESSAGE = 512
# What people are told of a decision, by the reason of the event that tells it.
_TOLD_BY = {
    "RevisionServing": (DecisionKind.PROMOTED, DecisionKind.PINNED),
    "RolledBack": (DecisionKind.ROLLED_BACK,),
    "CandidateFailed": (DecisionKind.REJECTED,),
    "TrainingRefused": (DecisionKind.TRAINING_REFUSED,),
}
_SAID = {
    DecisionKind.PROMOTED: "was promoted",
    DecisionKind.PINNED: "was pinned",
    DecisionKind.REJECTED: "was rejected",
    DecisionKind.ROLLED_BACK: "was rolled back",
    DecisionKind.TRAINING_REFUSED: "was refused by the gates",
}


@dataclass(frozen=True)
class Decided:
    """What status remembers of decisions, and what is done about them now."""

    kept: tuple[Decision, ...]
    new: tuple[Decision, ...] = ()
    apply: tuple[Object, ...] = ()
    events: tuple[Event, ...] = ()


def decide(
    observed: Observed,
    owner: Owner,
    before: ModelStatus,
    records: Sequence[ModelRevisionSpec],
    rollout: Rollout,
    training: Training,
    image: Image,
    now: datetime,
) -> Decided:
    """Follow the decisions that wait to be written down, and add those that this plan takes. `records`: refused ones too."""
    known = [_followed(observed, owner, decision) for decision in before.decisions]
    jobs = [
        record_job(owner, _config(owner, decision, records), image)
        for decision in known
        if not decision.recorded and _job(observed, owner, decision) is None
    ]
    new = tuple(_Decider(observed, owner, before, records, rollout, training, now).decisions())
    was = {decision.id: decision for decision in before.decisions}
    events = [event for decision in known for event in _news(was[decision.id], decision)]
    return Decided(kept=_bounded([*known, *new]), new=new, apply=tuple(jobs), events=tuple(events))


def cited(events: Sequence[Event], new: Sequence[Decision]) -> list[Event]:
    """The events, each that tells a new decision with the address of its evidence; of what serves now, also why it may."""
    return [_cited(event, new) for event in events]


def _cited(event: Event, new: Sequence[Decision]) -> Event:
    decision = next((d for d in new if d.kind in _TOLD_BY.get(event.reason, ())), None)
    if decision is None:
        return event
    where = f"; evidence: {decision.uri}"
    room = _MESSAGE - len(where)
    message = event.message
    if decision.kind == DecisionKind.PROMOTED:
        message += f": it {decision.message.removeprefix(f'revision {decision.revision} ')}"
    message = message if len(message) <= room else message[: max(room - 3, 0)] + "..."
    return Event(event.type, event.reason, message + where)


# -- those that wait ---------------------------------------------------------------------------------------------------


def _job(observed: Observed, owner: Owner, decision: Decision) -> Object | None:
    name = names.record_job(owner.name, owner.uid, decision.id)
    return next((j for j in observed.jobs if j["metadata"]["name"] == name and evidence.controlled_by(j, owner.uid)), None)


def _config(owner: Owner, decision: Decision, records: Sequence[ModelRevisionSpec]) -> RecordConfig:
    record = next((record for record in records if record.digest == decision.digest), None)
    return RecordConfig(model=owner.identity, storage=owner.spec.storage, decision=decision, record=record)


def _followed(observed: Observed, owner: Owner, decision: Decision) -> Decision:
    """The decision after a look at its Job. Once it is written down only where it is need be remembered."""
    job = None if decision.recorded else _job(observed, owner, decision)
    match evidence.finished(job) if job else None:
        case None:
            return decision
        case "Complete":
            done: dict[str, object] = {
                "recorded": True,
                "trouble": None,
                "measured": [],
                "queries": [],
                "reports": [],
                "images": [],
            }
            return decision.model_copy(update=done)
        case reason:
            said = evidence.failure(observed, job, (CONTAINER_RECORD,)) if job else None
            trouble = f"{said.reason}: {said.message}" if said else f"its Job failed ({reason})"
            return decision.model_copy(update={"trouble": trouble[:512]})


def _news(before: Decision, after: Decision) -> Iterator[Event]:
    what = f"revision {after.revision} {_SAID[after.kind]}"
    if after.recorded and not before.recorded:
        yield Event("Normal", "DecisionRecorded", f"{what}; the evidence is at {after.uri}")
    elif after.trouble and after.trouble != before.trouble:
        why = f"{what}; the evidence is not in storage yet: {after.trouble}; it is tried again within the hour"
        yield Event("Warning", "DecisionNotRecorded", why[:1024])


def _bounded(decisions: list[Decision]) -> tuple[Decision, ...]:
    """The newest; what is written down goes before what is not."""
    surplus = len(decisions) - MOST
    for gone in [*(d for d in decisions if d.recorded), *(d for d in decisions if not d.recorded)][: max(surplus, 0)]:
        decisions = [decision for decision in decisions if decision.id != gone.id]
    return tuple(decisions)


# -- those that are taken ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Decider:
    observed: Observed
    owner: Owner
    before: ModelStatus
    records: Sequence[ModelRevisionSpec]
    rollout: Rollout
    training: Training
    now: datetime

    def decisions(self) -> Iterator[Decision]:
        if self.before.observed_generation is None:
            return  # nothing is remembered, so nothing can be told to be new
        yield from self._refused()
        yield from self._quarantined()
        yield from self._switched()

    def _refused(self) -> Iterator[Decision]:
        """Of the training that has just ended."""
        if self.training.refused and (record := history.rejected(self.owner, *self.training.refused)):
            message = f"{record.cause}, {record.reason}: {record.message}"
            yield self._decision(DecisionKind.TRAINING_REFUSED, record, message, at=record.trained_at)

    def _quarantined(self) -> Iterator[Decision]:
        known = {entry.digest for entry in self.before.quarantine}
        for entry in self.rollout.quarantine:
            record = next((record for record in self.records if record.digest == entry.digest), None)
            if entry.digest in known or record is None:
                continue
            kind = DecisionKind.ROLLED_BACK if entry.promoted else DecisionKind.REJECTED
            asked = ANNOTATION_ROLLBACK if entry.promoted else ANNOTATION_REJECT
            yield self._decision(kind, record, entry.reason, approver=self._who(asked, record))

    def _switched(self) -> Iterator[Decision]:
        serving, known = self.rollout.serving, self.before.serving
        record = next((r for r in self.records if serving and r.digest == serving.digest), None)
        if serving is None or record is None or (known and known.number == serving.number):
            return
        last = next((d for d in reversed(self.before.decisions) if d.kind != DecisionKind.TRAINING_REFUSED), None)
        if known is None and last and last.digest == record.digest and last.kind in _TOLD_BY["RevisionServing"]:
            return  # it serves again after its Service was lost: nobody has decided anything
        candidate = self._candidate(record)
        message = (candidate.proof if candidate else None) or "is what the Service's label names"
        if self.owner.spec.revision == serving.number:
            yield self._decision(DecisionKind.PINNED, record, message, approver="spec.revision")
        elif known is None or serving.number > known.number:  # else it is what a rollback led to
            yield self._decision(DecisionKind.PROMOTED, record, message, approver=self._who(ANNOTATION_APPROVE, record))

    def _decision(
        self, kind: DecisionKind, record: ModelRevisionSpec, message: str, approver: str | None = None, at: datetime | None = None
    ) -> Decision:
        moment = (at or self.now).replace(microsecond=0)
        identity = short(sha256(canonical_json([self.owner.uid, kind, record.digest, moment.isoformat()])))
        candidate = self._candidate(record)
        shown = self._shown(kind, record, candidate)
        return Decision(
            id=identity,
            at=moment,
            kind=kind,
            revision=record.number,
            digest=record.digest,
            message=message[:_MESSAGE],
            approver=approver,
            steps=candidate.step if candidate else None,
            measured=shown.measured,
            shift=shown.shift,
            deviation=shown.deviation,
            queries=shown.queries,
            reports=list(self._reports(record))[:4],
            images=list(self._images(record))[:4],
            uri=layout.uri(self.owner.spec.storage, layout.decision(moment, identity)),
        )

    def _candidate(self, record: ModelRevisionSpec) -> CandidateRef | None:
        candidate = self.before.candidate
        return candidate if candidate and candidate.digest == record.digest else None

    def _who(self, annotation: str, record: ModelRevisionSpec) -> str | None:
        """Who answered for this revision by this annotation: a name where one was left for it, else that somebody did."""
        annotations = self.observed.model["metadata"].get("annotations") or {}
        if annotations.get(annotation) != record.digest:
            return None
        name, _, of = annotations.get(ANNOTATION_BY, "").rpartition(" ")
        return name[:256] if name and of == record.digest else f"somebody who may annotate the Model ({annotation})"

    def _shown(self, kind: DecisionKind, record: ModelRevisionSpec, candidate: CandidateRef | None) -> StepEvidence:
        """What the canary showed: a fault is seen at this very look; who is promoted has shown it in the last step."""
        if candidate is None or candidate.step is None:
            return StepEvidence()
        seen = self.observed.measured or self.observed.answers
        if candidate.shown and not (kind == DecisionKind.REJECTED and seen):
            return candidate.shown
        asked = queries.results(self.owner.spec.serving.rollout.analysis.queries, self.observed.answers)
        return canary.shown(self.observed.measured, self.before.serving, record, asked)

    def _reports(self, record: ModelRevisionSpec) -> Iterator[str]:
        """The comparison of a shadow with what served, and what drift checks found last."""
        candidate = self._candidate(record)
        stable = next((r for r in self.records if candidate and r.digest == candidate.shadow_of), None)
        if candidate and candidate.shadowed_since and stable:
            begun, known = candidate.shadowed_since, candidate.shadow
            found = Shadowing(self.observed, self.owner, stable, record, begun, known, self.now).found()
            if found.report:
                yield found.report
        yield from (check.report for check in self.before.checks if check.report)

    def _images(self, record: ModelRevisionSpec) -> Iterator[str]:
        """What trained and serves it, as far as its pods are still there."""
        name = names.training_job(self.owner.name, self.owner.uid, record.episode, record.attempt)
        uids = [job["metadata"].get("uid") for job in self.observed.jobs if job["metadata"]["name"] == name]
        trained = [pod for pod in self.observed.pods for uid in uids if uid and evidence.controlled_by(pod, uid)]
        number = str(record.number)
        serves = [p for p in self.observed.pods if (p["metadata"].get("labels") or {}).get(LABEL_REVISION) == number]
        found: dict[str, str] = {}
        for pod in (*trained, *serves):
            found |= evidence.images(pod, (*TRAINING_CONTAINERS, *SERVING_CONTAINERS))
        for container, image in found.items():
            yield f"{container}={image}"[:512]
