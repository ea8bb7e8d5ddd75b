"""Why a wanted training must wait: an ordered list of small checks, each with a reason that goes to status (DESIGN §4.3)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stationkeeper.api.base import parse_duration, short
from stationkeeper.api.conditions import Reason
from stationkeeper.api.status import Cause, Episode, TrainingOutcome
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning.causes import Situation


@dataclass(frozen=True)
class Refusal:
    """A guard that holds a training."""

    reason: Reason
    message: str
    until: datetime | None = None


_UNHURRIED = (Cause.DRIFT, Cause.QUALITY, Cause.GROWTH, Cause.SCHEDULE)  # causes that cooldown and limit are made for
# Endings of `prepare` alone: nothing was trained, and only the data can say when it is worth another look.
_UNTRAINED = {
    TrainingOutcome.WAITING_FOR_LABELS: Reason.WAITING_FOR_LABELS,
    TrainingOutcome.QUARANTINED: Reason.QUARANTINED,
}


def _suspended(s: Situation, _: Episode) -> Refusal | None:
    if not s.owner.spec.retraining.suspend:
        return None
    return Refusal(Reason.SUSPENDED, "retraining is suspended; set spec.retraining.suspend to false to go on")


def _data_invalid(s: Situation, episode: Episode) -> Refusal | None:
    imported = s.owner.spec.source is not None  # it learns nothing here
    if imported or episode.cause == Cause.INITIAL or s.data is None or s.data.verdict != Verdict.BREACHED or not s.data.acts:
        return None
    return Refusal(
        Reason.DATA_INVALID, f"the incoming data is broken, and a model must not learn from a bug: {s.data.message}"[:512]
    )


def _rollout_running(s: Situation, _: Episode) -> Refusal | None:
    if not s.rollout_running:
        return None
    return Refusal(Reason.ROLLOUT_RUNNING, "a new revision is being rolled out; the next training waits for its end")


def _sweeping(s: Situation, _: Episode) -> Refusal | None:
    if s.status.sweep is None or s.status.sweep.done:
        return None
    return Refusal(Reason.SWEEPING, "storage is being swept; the next training waits for its end")


def _pinned(s: Situation, episode: Episode) -> Refusal | None:
    if s.owner.spec.revision is None or episode.cause in (Cause.INITIAL, Cause.MANUAL):
        return None
    return Refusal(Reason.PINNED, f"spec.revision pins revision {s.owner.spec.revision}; remove it to train again")


def _rolled_back(s: Situation, episode: Episode) -> Refusal | None:
    """After a rollback the same world would only bring the same model back (SEMANTICS §8.18)."""
    if episode.cause not in _UNHURRIED or s.serving is None:
        return None
    newer = {record.digest: record for record in s.records if record.number > s.serving.number}
    back = next((q for q in reversed(s.status.quarantine) if q.promoted and not q.lifted and q.digest in newer), None)
    if back is None or (episode.onset and episode.onset > back.at) or newer[back.digest].template_digest != s.template_digest:
        return None
    number = newer[back.digest].number
    return Refusal(
        Reason.AUTO_RETRAIN_HELD,
        f"revision {number} was rolled back ({back.reason}); ask for a training, change its code, or run: "
        f"stationkeeper resume --trainings {s.owner.name}"[:512],
    )


def _quarantined(s: Situation, episode: Episode) -> Refusal | None:
    """What was rolled back stays away, however often it is published."""
    if episode.cause != Cause.SOURCE or episode.source is None:
        return None
    tried = (entry for entry in reversed(s.status.quarantine) if entry.data_digest == episode.source and not entry.lifted)
    bad = next(tried, None)
    if bad is None:
        return None
    return Refusal(
        Reason.QUARANTINED,
        f"the published file {short(episode.source)} was tried before ({bad.reason}); publish another, ask for this one by "
        f"annotation, or run: stationkeeper resume --trainings {s.owner.name}"[:512],
    )


def _exhausted(s: Situation, episode: Episode) -> Refusal | None:
    limit = s.owner.spec.retraining.max_attempts
    if episode.cause == Cause.INITIAL or episode.refusals < limit:
        return None
    advice = "look at the gates and the data, then ask for a training by annotation or change the training"
    return Refusal(Reason.CHALLENGERS_REFUSED, f"{episode.refusals} challengers were refused for this cause; {advice}")


def _cooldown(s: Situation, episode: Episode) -> Refusal | None:
    last = s.status.last_training
    if episode.cause not in _UNHURRIED or last is None or last.outcome in _UNTRAINED:
        return None
    until = last.finished_at + parse_duration(s.owner.spec.retraining.cooldown)
    if s.now >= until:
        return None
    return Refusal(
        Reason.COOLDOWN,
        f"the last training ended at {last.finished_at:%H:%M:%S} UTC; cooldown until {until:%Y-%m-%d %H:%M:%S} UTC",
        until,
    )


def _limit(s: Situation, episode: Episode) -> Refusal | None:
    if episode.cause in (Cause.INITIAL, Cause.MANUAL):
        return None
    limit = s.owner.spec.retraining.limit
    period = parse_duration(limit.per)
    recent = sorted(start for start in s.status.trainings if start > s.now - period)
    if len(recent) < limit.max:
        return None
    until = recent[-limit.max] + period
    return Refusal(Reason.LIMIT_REACHED, f"{len(recent)} trainings in the last {limit.per}, the limit is {limit.max}", until)


def _backoff(s: Situation, episode: Episode) -> Refusal | None:
    until = episode.next_attempt_at
    if until is None or s.now >= until:
        return None
    last = s.status.last_training
    if last and last.outcome in _UNTRAINED:
        return Refusal(_UNTRAINED[last.outcome], last.message[:512], until)
    return Refusal(
        Reason.BACKOFF, f"the last attempt ended as {last.outcome if last else 'unknown'}; next at {until:%H:%M:%S} UTC", until
    )


GUARDS: Sequence[Callable[[Situation, Episode], Refusal | None]] = (
    _suspended,
    _data_invalid,
    _pinned,
    _rollout_running,
    _sweeping,
    _rolled_back,
    _quarantined,
    _exhausted,
    _cooldown,
    _limit,
    _backoff,
)


def refusal(situation: Situation, episode: Episode) -> Refusal | None:
    """The first guard that holds this episode's next attempt, or None."""
    return next((found for guard in GUARDS if (found := guard(situation, episode))), None)


def growing(base: timedelta, times: int, most: timedelta) -> timedelta:
    """A distance that doubles: base, 2 base, 4 base ..., bounded."""
    factor: int = 2 ** min(max(times - 1, 0), 20)
    return min(most, base * factor)
