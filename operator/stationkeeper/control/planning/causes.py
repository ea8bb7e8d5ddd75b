"""Why the model should be trained, or imported: an ordered list of small checks. The first that holds opens the episode and absorbs the rest."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.base import short
from stationkeeper.api.meta import ANNOTATION_RETRAIN
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import Cause, LastTraining, ModelStatus, SourceStatus, TrainingOutcome
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning import cron, growth
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
    published: SourceStatus | None  # what another pipeline has published, as last seen
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
    source: str | None = None  # digest of the published file that is to be imported; None: whatever is there


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
    schedule = s.owner.spec.training.schedule if s.owner.spec.training else None
    if not schedule or "Schedule" not in s.owner.spec.retraining.causes or not s.records:
        return None
    due = cron.last_before(schedule, s.now)
    if due <= (s.status.scheduled_at or s.created_at):
        return None
    return Wanted(Cause.SCHEDULE, due.isoformat(), f"scheduled for {due:%Y-%m-%d %H:%M} UTC")


def _growth(s: Situation) -> Wanted | None:
    if "Growth" not in s.owner.spec.retraining.causes or s.serving is None or s.owner.spec.training is None:
        return None
    due, _ = growth.moments(s.serving, s.owner.spec.training.data, s.now)
    if due is None or (s.status.grown_at and due <= s.status.grown_at):
        return None
    known = f"revision {s.serving.number} was trained on {s.serving.trained_at:%Y-%m-%d}"
    return Wanted(
        Cause.GROWTH, f"{s.serving.digest}/{due.isoformat()}", f"{known}, and as much time has passed again as its rows span"
    )


def grows_at(spec: ModelSpec, serving: ModelRevisionSpec | None, now: datetime) -> datetime | None:
    """When Growth will next ask, if ever."""
    if "Growth" not in spec.retraining.causes or serving is None or spec.training is None:
        return None
    return growth.moments(serving, spec.training.data, now)[1]


def by_the_clock(situation: Situation) -> Wanted | None:
    """What asks because of the time alone, while an episode of another cause waits for its next attempt."""
    return _growth(situation) or _schedule(situation)


def _first_import(s: Situation) -> Wanted | None:
    """The file is not waited for: the import itself looks whether it is there."""
    seen = s.published.digest if s.published else None
    if s.records or _refused(s, seen):
        return None
    return Wanted(Cause.INITIAL, seen or s.template_digest, "no file has been imported yet", source=seen)


def _new_file(s: Situation) -> Wanted | None:
    """Another content than that of the newest revision that may serve, or the same taken for something else."""
    seen = s.published.digest if s.published else None
    if "Source" not in s.owner.spec.retraining.causes or seen is None or not s.records or _refused(s, seen):
        return None
    bad = {entry.digest for entry in s.status.quarantine}
    newest = max((record for record in s.records if record.digest not in bad), key=lambda record: record.number, default=None)
    if newest and (newest.data_digest, newest.template_digest) == (seen, s.template_digest):
        return None
    # The number tells a second import of a file from the first, whose outcome is written and would only be repeated.
    key = f"{newest.digest if newest else ''}/{s.status.latest_revision}/{seen}/{s.template_digest}"
    if newest and newest.data_digest == seen:
        # Another format mostly comes with another file, which nobody has looked at yet: whatever is there is meant.
        return Wanted(Cause.SOURCE, key, "the spec takes the published file for something else than before")
    return Wanted(Cause.SOURCE, key, f"a file was published ({short(seen)})", source=seen)


def _refused(s: Situation, seen: str | None) -> bool:
    """Whether the file that is there was the last to be imported, in vain; one that nobody has seen since is taken for the same."""
    last = s.status.last_training
    if last is None or last.template_digest != s.template_digest or not is_final(last):
        return False
    return seen in (None, last.source)


def is_final(last: LastTraining) -> bool:
    """Whether an import said no to the file itself: then only another file, or a person, can change that."""
    wrong = last.outcome == TrainingOutcome.REFUSED or last.reason in ("InvalidModel", "SignatureMismatch")
    return wrong and last.source is not None


# In the order of their claim: a person's word before the code's, the code's before the world's, proven harm before changed
# inputs, the world's before the clock's.
CAUSES: Sequence[Callable[[Situation], Wanted | None]] = (_initial, _manual, _code_change, _quality, _drift, _growth, _schedule)
# Drift and the clock ask in vain for a model that is made elsewhere: the same file would only come again.
IMPORTS: Sequence[Callable[[Situation], Wanted | None]] = (_first_import, _manual, _new_file)


def pending(situation: Situation) -> list[Wanted]:
    """Every cause that holds, in the order of their claim."""
    causes = IMPORTS if situation.owner.spec.source else CAUSES
    return [found for cause in causes if (found := cause(situation))]


def wanted(situation: Situation) -> Wanted | None:
    """The first cause that holds, or None."""
    return next(iter(pending(situation)), None)
