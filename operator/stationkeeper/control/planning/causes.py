"""Why the model should be trained: an ordered list of small checks. The first that holds opens the episode and absorbs the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.meta import ANNOTATION_RETRAIN
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import Cause, ModelStatus, Verdict
from stationkeeper.control.planning import cron
from stationkeeper.control.planning.drift import Finding
from stationkeeper.control.resources.common import Owner
from stationkeeper.control.resources.templates import WorkloadTemplate


@dataclass(frozen=True)
class Situation:
    """What causes and guards look at."""

    owner: Owner
    annotations: dict[str, str]
    status: ModelStatus
    records: tuple[ModelRevisionSpec, ...]
    serving: ModelRevisionSpec | None
    template_digest: str
    data: Finding | None  # the finding about broken data
    drift: Finding | None  # the worst finding about drift among groups that retrain
    quality: Finding | None  # the worst finding about quality among policies that retrain
    rollout_running: bool
    created_at: datetime
    now: datetime
    template: WorkloadTemplate | None = None  # what trains across machines, where the Model names one


@dataclass(frozen=True)
class Wanted:
    """A training that something asks for. `key` makes the episode's identity."""

    cause: Cause
    key: str
    message: str
    onset: datetime | None = None
    evidence: str | None = None
    token: str | None = None


def _initial(s: Situation) -> Wanted | None:
    if s.records:
        return None
    return Wanted(Cause.INITIAL, s.template_digest, "the model has never been trained")


def _manual(s: Situation) -> Wanted | None:
    token = s.annotations.get(ANNOTATION_RETRAIN, "")[:128]
    if not token or token == s.status.handled_retrain:
        return None
    return Wanted(Cause.MANUAL, token, f"a person asked for it ({token})", token=token)


def _code_change(s: Situation) -> Wanted | None:
    if "CodeChange" not in s.owner.spec.retraining.causes or not s.records:
        return None
    newest = max(s.records, key=lambda record: record.number)
    tried = s.status.last_training.template_digest if s.status.last_training else None
    if s.template_digest in (newest.template_digest, s.serving.template_digest if s.serving else None, tried):
        return None
    return Wanted(Cause.CODE_CHANGE, f"{newest.digest}/{s.template_digest}", "the training's code, parameters or data changed")


def _drift(s: Situation) -> Wanted | None:
    if "Drift" not in s.owner.spec.retraining.causes or s.serving is None:
        return None
    if s.drift is None or s.drift.verdict != Verdict.BREACHED:
        return None
    key = f"{s.serving.digest}/{s.drift.policy.uid}/{s.drift.onset}"
    return Wanted(Cause.DRIFT, key, s.drift.message, onset=_onset(s, s.drift), evidence=s.drift.report)


def _quality(s: Situation) -> Wanted | None:
    if "Quality" not in s.owner.spec.retraining.causes or s.serving is None:
        return None
    if s.quality is None or s.quality.verdict != Verdict.BREACHED:
        return None
    key = f"{s.serving.digest}/{s.quality.policy.uid}/{s.quality.onset}"
    return Wanted(Cause.QUALITY, key, s.quality.message, onset=_onset(s, s.quality), evidence=s.quality.report)


def _onset(s: Situation, found: Finding) -> datetime | None:
    """When what was found began: not before the revision served, though its first window did."""
    since = s.status.serving.since if s.status.serving else None
    return max(found.onset, since) if found.onset and since else found.onset


def _schedule(s: Situation) -> Wanted | None:
    schedule = s.owner.spec.training.schedule
    if not schedule or "Schedule" not in s.owner.spec.retraining.causes or not s.records:
        return None
    due = cron.last_before(schedule, s.now)
    if due <= (s.status.scheduled_at or s.created_at):
        return None
    return Wanted(Cause.SCHEDULE, due.isoformat(), f"scheduled for {due:%Y-%m-%d %H:%M} UTC")


# In the order of their claim: a person's word before the code's, the code's before the world's, proven harm before changed
# inputs, the world's before the clock's.
CAUSES: Sequence[Callable[[Situation], Wanted | None]] = (_initial, _manual, _code_change, _quality, _drift, _schedule)


def wanted(situation: Situation) -> Wanted | None:
    """The first cause that holds, or None."""
    return next((found for cause in CAUSES if (found := cause(situation))), None)
