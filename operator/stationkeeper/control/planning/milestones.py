"""Events of what conditions do not tell: a revision published or serving, a canary's step, a training that ended."""

from typing import Literal

from stationkeeper.api.conditions import Reason
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.status import Cause, ModelStatus, TrainingOutcome
from stationkeeper.control.planning.episodes import Training
from stationkeeper.control.planning.rollout import Rollout
from stationkeeper.control.planning.types import Event, Settings


def milestones(before: ModelStatus, rollout: Rollout, training: Training) -> list[Event]:
    """What has happened since the status of before."""
    return [
        *_trained(before, training),
        *_kept_out(before, training),
        *_stepped(before, rollout),
        *_rolled_back(before, rollout),
        *_switched(before, rollout),
    ]


def unknown_receivers(spec: ModelSpec, before: ModelStatus, generation: int, settings: Settings) -> list[Event]:
    """Names in `spec.notify` that nobody has; told once for each edit of the spec."""
    unknown = sorted(set(spec.notify) - settings.receivers)
    if not unknown or before.observed_generation == generation:
        return []
    known = ", ".join(sorted(settings.receivers)) or "none"
    return [Event("Warning", "UnknownReceiver", f"spec.notify: {', '.join(unknown)}; the operator's configuration has {known}")]


def unknown_queries(spec: ModelSpec, before: ModelStatus, generation: int, settings: Settings) -> list[Event]:
    """Names in the analysis of a rollout that the operator's configuration does not have; told once for each edit of the spec."""
    unknown = sorted({query.name for query in spec.serving.rollout.analysis.queries} - settings.queries)
    if not unknown or before.observed_generation == generation:
        return []
    known = ", ".join(sorted(settings.queries)) or "none"
    said = f"spec.serving.rollout.analysis.queries: {', '.join(unknown)}; the operator's configuration has {known}"
    return [Event("Warning", "UnknownQuery", said)]


def _trained(before: ModelStatus, training: Training) -> list[Event]:
    last = training.last
    if training.published:
        message = f"revision {training.published.revision}: {training.published.message}"
        return [Event("Normal", "RevisionPublished", message)]
    if not last or last == before.last_training:
        return []
    kind: Literal["Normal", "Warning"] = "Normal" if last.outcome == TrainingOutcome.WAITING_FOR_LABELS else "Warning"
    return [Event(kind, f"Training{last.outcome}", f"{last.cause}, {last.reason}: {last.message}")]


def _kept_out(before: ModelStatus, training: Training) -> list[Event]:
    """A published file that is quarantined: no attempt ends to tell of it."""
    waiting = training.waiting
    if waiting is None or waiting.cause != Cause.SOURCE or waiting.reason != Reason.QUARANTINED:
        return []
    if before.waiting and (before.waiting.reason, before.waiting.message) == (waiting.reason, waiting.message):
        return []
    return [Event("Normal", Reason.QUARANTINED, f"wanted for {waiting.cause}: {waiting.message}")]


def _stepped(before: ModelStatus, rollout: Rollout) -> list[Event]:
    known, now = before.candidate, rollout.candidate
    if now is None or now.step is None or (known and (known.digest, known.step) == (now.digest, now.step)):
        return []
    return [Event("Normal", "CanaryStep", rollout.message)]


def _rolled_back(before: ModelStatus, rollout: Rollout) -> list[Event]:
    """What has served and must not any more. (A candidate that failed is told by its condition.)"""
    known, serving = {entry.digest for entry in before.quarantine}, before.serving
    new = [entry for entry in rollout.quarantine if entry.promoted and entry.digest not in known]
    of = f"revision {serving.number}" if serving else "the revision"
    return [Event("Warning", "RolledBack", f"{of}: {entry.reason}") for entry in new]


def _switched(before: ModelStatus, rollout: Rollout) -> list[Event]:
    known, now = before.serving, rollout.serving
    if now is None or (known and known.number == now.number):
        return []
    old = f", revision {known.number} drains" if known else ""
    return [Event("Normal", "RevisionServing", f"revision {now.number} serves now{old}")]
