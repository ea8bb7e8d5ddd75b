"""The life of an episode: opened by a cause, tried under guards, ended by an outcome.

An attempt is written to status before its Job is created, and the Job's name derives from episode and attempt: the
operator may die between the two, come back, and create the very same Job.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from stationkeeper.api.base import parse_duration
from stationkeeper.api.conditions import Reason
from stationkeeper.api.meta import TRAINING_CONTAINERS
from stationkeeper.api.status import Cause, Episode, LastTraining, SourceStatus, TrainingOutcome, Waiting
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.control.planning import evidence, workload
from stationkeeper.control.planning.causes import Situation, Wanted, by_the_clock, is_final, pending, wanted
from stationkeeper.control.planning.guards import Refusal, growing, refusal
from stationkeeper.control.planning.published import fetched
from stationkeeper.control.planning.types import Object, Observed, Ref
from stationkeeper.control.resources import names

_REMEMBERED_STARTS = 64
_FAILURE_BACKOFF = timedelta(seconds=30)
_FAILURE_BACKOFF_MAX = timedelta(hours=6)
_LABELS_BACKOFF = timedelta(seconds=15)
_LABELS_BACKOFF_MAX = timedelta(hours=1)
# Guards that hold an episode for what became of its own attempts.
_OWN_GUARDS = (Reason.BACKOFF, Reason.WAITING_FOR_LABELS, Reason.CHALLENGERS_REFUSED)
# These end with their attempt, however it ended: the clock or the person asks again.
_SINGLE = (Cause.GROWTH, Cause.SCHEDULE, Cause.MANUAL)


@dataclass(frozen=True)
class Training:
    """What is to be done about training, and what status will say of it."""

    episode: Episode | None
    last: LastTraining | None
    waiting: Waiting | None
    starts: tuple[datetime, ...]
    handled_retrain: str | None
    scheduled_at: datetime | None
    grown_at: datetime | None
    source: SourceStatus | None = None  # what another pipeline has published, as far as it is known now
    run: bool = False  # the Job of episode.attempt is wanted
    delete: tuple[Ref, ...] = ()
    published: TrainingSummary | None = None  # a record must be made of it
    refused: tuple[Episode, TrainingSummary] | None = None  # and of this: what the gates refused, and the attempt that made it
    running: bool = False
    workload: bool = False  # what trains across machines is to be created beside the Job
    look_again: float | None = None  # seconds


def job_of(observed: Observed, situation: Situation, episode: Episode) -> Object | None:
    """The Job of the episode's current attempt, if it exists."""
    owner = situation.owner
    name = names.training_job(owner.name, owner.uid, episode.id, episode.attempt)
    return next((j for j in observed.jobs if j["metadata"]["name"] == name and evidence.controlled_by(j, owner.uid)), None)


def plan_training(observed: Observed, situation: Situation) -> Training:
    """Follow the open episode, or open the next one. Pure."""
    status = situation.status
    training = Training(
        episode=status.episode,
        last=status.last_training,
        waiting=None,
        starts=tuple(status.trainings),
        handled_retrain=status.handled_retrain,
        scheduled_at=status.scheduled_at,
        grown_at=status.grown_at,
        source=situation.published,
    )
    if training.episode and _attempt_open(training.episode, training.last):
        training = _follow(observed, situation, training)
        if training.running:
            return training
        situation = replace(situation, published=training.source)
    if training.episode:
        training = _close_if_over(situation, training)
    return _start(replace_status(situation, training), training)


def replace_status(situation: Situation, training: Training) -> Situation:
    """The situation after what was just learned, so that guards see the outcome that this very pass read."""
    used = training.last.revision if training.last and training.last.revision else 0
    status = situation.status.model_copy(
        update={
            "episode": training.episode,
            "last_training": training.last,
            "trainings": list(training.starts),
            "latest_revision": max(situation.status.latest_revision, used),
        }
    )
    return replace(situation, status=status)


def _attempt_open(episode: Episode, last: LastTraining | None) -> bool:
    """Whether an attempt was started whose outcome has not been written."""
    done = last is not None and last.episode == episode.id and last.attempt >= episode.attempt
    return episode.attempt > 0 and not done


def _follow(observed: Observed, situation: Situation, training: Training) -> Training:
    """Look at the attempt under way: still running, superseded, lost, or ended."""
    episode = training.episode
    assert episode is not None
    job = job_of(observed, situation, episode)
    if episode.template_digest != situation.template_digest:
        # The training was edited: what runs now is not wanted any more. Its outcome stays in the store, unserved.
        return replace(training, episode=None, delete=(Ref.to(job),) if job else ())
    if job is None:
        return replace(training, run=True, running=True)  # never created, or collected: the same Job finds its outcome
    summary = evidence.training_summary(observed, job)
    if summary and (summary.episode, summary.attempt) == (episode.id, episode.attempt):
        return _conclude(situation, training, summary)
    match evidence.finished(job):
        case None:
            # A Job cannot be changed: it goes on as it was begun.
            return _beside(observed, situation, replace(training, running=True), job)
        case "Complete":
            return replace(training, running=True, delete=(Ref.to(job),))  # its message is lost: run it again to hear it
        case reason:
            return _conclude(situation, training, _failed(observed, situation, job, episode, reason))


def _beside(observed: Observed, situation: Situation, training: Training, job: Object) -> Training:
    """What trains across machines, if anything does; when it failed, the Job waits in vain."""
    episode = training.episode
    assert episode is not None
    if situation.template is None:
        return training
    course = workload.course(observed, job, situation.template, situation.now)
    if course.failure:
        ended = _ended_as(episode, situation.now, *course.failure)
        over = replace(training, run=False, running=False, delete=(Ref.to(job),))
        return _conclude(situation, over, ended)
    return replace(training, workload=course.due, look_again=workload.LOOK_AGAIN)


def _failed(observed: Observed, situation: Situation, job: Object, episode: Episode, reason: str) -> TrainingSummary:
    said = evidence.failure(observed, job, TRAINING_CONTAINERS)
    if reason == "DeadlineExceeded":
        word, message = reason, _too_long(situation)
    elif said:
        word, message = said.reason, said.message
    else:
        word, message = "TrainingFailed", f"the training Job failed ({reason}) and left no message; its pods' logs tell more"
    return _ended_as(episode, situation.now, word, message)


def _ended_as(episode: Episode, now: datetime, reason: str, message: str) -> TrainingSummary:
    return TrainingSummary(
        episode=episode.id,
        attempt=episode.attempt,
        outcome=TrainingOutcome.FAILED,
        reason=reason,
        message=message[:1024],
        finished_at=now,
    )


def _too_long(situation: Situation) -> str:
    spec = situation.owner.spec
    if spec.training:
        limit = spec.training.time_limit
        return f"the training took longer than spec.training.timeLimit ({limit}); raise it or train on fewer rows"
    return "the import took longer than spec.source.timeLimit; raise it, or see what the store is at"


def _conclude(situation: Situation, training: Training, summary: TrainingSummary) -> Training:
    """Write down how the attempt ended and when, if ever, the next may follow."""
    episode = training.episode
    assert episode is not None
    last = LastTraining(
        episode=episode.id,
        attempt=episode.attempt,
        cause=episode.asked,
        outcome=summary.outcome,
        reason=summary.reason,
        message=summary.message,
        finished_at=summary.finished_at,
        template_digest=episode.template_digest,
        revision=_number(episode, summary),
        source=(summary.data_digest or episode.source) if situation.owner.spec.source else None,
    )
    published = summary if summary.outcome == TrainingOutcome.PUBLISHED else None
    refused = (episode, summary) if summary.outcome == TrainingOutcome.REFUSED else None
    starts = training.starts
    untrained = summary.outcome in (TrainingOutcome.WAITING_FOR_LABELS, TrainingOutcome.QUARANTINED)
    if (untrained or (situation.owner.spec.source and not published)) and starts:
        starts = starts[:-1]  # nothing was trained, or what was looked at was not imported
    after = _after(situation, episode, summary)
    training = replace(training, source=_source(situation, episode, summary))
    return replace(training, episode=after, last=last, published=published, refused=refused, starts=starts)


def _source(situation: Situation, episode: Episode, summary: TrainingSummary) -> SourceStatus | None:
    """What lies at the source, after an import that fetched whatever was there."""
    source, known = situation.owner.spec.source, situation.published
    if source is None or episode.source or summary.data_digest is None or episode.attempted_at is None:
        return known
    return fetched(known, source.uri, summary.data_digest, episode.attempted_at)


def _number(episode: Episode, summary: TrainingSummary) -> int | None:
    """The number that the attempt has used up: of what it published, or of the challenger that was refused."""
    match summary.outcome:
        case TrainingOutcome.PUBLISHED:
            return summary.revision
        case TrainingOutcome.REFUSED:
            return episode.revision
        case _:
            return None


def _after(situation: Situation, episode: Episode, summary: TrainingSummary) -> Episode:
    now = situation.now
    match summary.outcome:
        case TrainingOutcome.PUBLISHED:
            return episode.model_copy(update={"failures": 0, "next_attempt_at": None})
        case TrainingOutcome.REFUSED:
            refusals = episode.refusals + 1
            cooldown = parse_duration(situation.owner.spec.retraining.cooldown)
            at = now + growing(max(cooldown, _FAILURE_BACKOFF), refusals, timedelta(days=7))
            if episode.onset is not None:
                at = max(at, now + (now - episode.onset))  # as many new rows again: the same ones would be judged the same
            number = episode.revision + 1  # the challenger's own stays with its record
            return _postponed(episode, at, refusals=refusals, failures=0, revision=number)
        case TrainingOutcome.WAITING_FOR_LABELS | TrainingOutcome.QUARANTINED:
            waits = episode.waits + 1
            return _postponed(episode, now + growing(_LABELS_BACKOFF, waits, _LABELS_BACKOFF_MAX), waits=waits, failures=0)
        case TrainingOutcome.INVALID_DATA | TrainingOutcome.FAILED:
            failures = episode.failures + 1
            return _postponed(episode, now + growing(_FAILURE_BACKOFF, failures, _FAILURE_BACKOFF_MAX), failures=failures)


def _postponed(episode: Episode, at: datetime, **counts: int) -> Episode:
    """The episode until its next attempt, which one that the clock asked for does not bring nearer."""
    return episode.model_copy(update={**counts, "next_attempt_at": max(at, episode.next_attempt_at or at)})


def _close_if_over(situation: Situation, training: Training) -> Training:
    episode, last = training.episode, training.last
    assert episode is not None
    if episode.template_digest != situation.template_digest:
        return replace(training, episode=None)  # a changed spec starts afresh, backoff included
    tried = last is not None and last.episode == episode.id
    if last is not None and _published(episode, last):
        return training if _rolling_out(situation, last) or training.published else replace(training, episode=None)
    if tried and episode.cause in _SINGLE:
        return replace(training, episode=None)
    if tried and last is not None and is_final(last):
        return replace(training, episode=None)  # this file was looked at; only another is looked at again
    if tried and episode.cause == Cause.CODE_CHANGE and last is not None and last.outcome == TrainingOutcome.REFUSED:
        return replace(training, episode=None)  # this code was tried and was not better
    if not _still_wanted(situation, episode):
        return replace(training, episode=None)
    return training


def _published(episode: Episode, last: LastTraining | None) -> bool:
    return last is not None and last.episode == episode.id and last.outcome == TrainingOutcome.PUBLISHED


def _rolling_out(situation: Situation, last: LastTraining) -> bool:
    """Whether the published revision is still on its way: neither serving nor given up."""
    record = next((r for r in situation.records if r.number == last.revision), None)
    if situation.owner.spec.revision is not None:
        return False  # a pin: it may come up when the pin is lifted
    if record is None or (situation.serving and situation.serving.number >= record.number):
        return False
    return record.digest not in {entry.digest for entry in situation.status.quarantine}


def _still_wanted(situation: Situation, episode: Episode) -> bool:
    """Whether the cause of an idle episode still holds; code and people are asked by what the episode itself knows."""
    if episode.cause in (*_SINGLE, Cause.CODE_CHANGE):
        return True
    # Verdicts that have expired open nothing, and say no more than before of what they opened.
    finding = {Cause.DRIFT: situation.drift, Cause.QUALITY: situation.quality}.get(episode.cause)
    if finding is not None and finding.expired:
        return True
    return any((want.cause, want.source) == (episode.cause, episode.source) for want in pending(situation))


def _start(situation: Situation, training: Training) -> Training:
    """Open an episode if something asks for one, and start its next attempt if no guard holds it."""
    want = wanted(situation)
    episode = training.episode
    if episode and _published(episode, training.last):
        return training  # its rollout comes first
    if want and (episode is None or _claims_more(want.cause, episode.cause)):
        episode = _open(situation, want)
    if episode is None:
        return training
    held = refusal(situation, episode)
    if held and (asked := _by_the_clock(situation, episode, held)):
        return _attempt(situation, training, asked)
    if held:
        waiting = Waiting(cause=episode.cause, reason=held.reason, message=held.message[:512], until=held.until)
        return replace(training, episode=episode, waiting=waiting)
    return _attempt(situation, training, episode.model_copy(update={"asked_by": None, "next_attempt_at": None}))


def _by_the_clock(situation: Situation, episode: Episode, held: Refusal) -> Episode | None:
    """The episode, with an attempt that the clock asks for: a drift whose challengers were refused stops no schedule.

    It takes the place of the clock's own episode, so that the drift's is not forgotten: one training answers both.
    """
    if held.reason not in _OWN_GUARDS or episode.failures or (want := by_the_clock(situation)) is None:
        return None
    asked = episode.model_copy(update={"asked_by": want.cause})
    as_its_own = asked.model_copy(update={"cause": want.cause, "onset": None, "refusals": 0, "next_attempt_at": None})
    return None if refusal(situation, as_its_own) else asked


_CLAIM = [Cause.INITIAL, Cause.MANUAL, Cause.CODE_CHANGE, Cause.SOURCE, Cause.QUALITY, Cause.DRIFT, Cause.GROWTH, Cause.SCHEDULE]


def _claims_more(cause: Cause, other: Cause) -> bool:
    return _CLAIM.index(cause) < _CLAIM.index(other)


def _open(situation: Situation, want: Wanted) -> Episode:
    """A new episode. The moment is part of its identity: the same drift, come back, is another episode with its own Jobs."""
    owner = situation.owner
    key = f"{want.key}/{situation.now.isoformat()}"
    highest = max((record.number for record in situation.records), default=0)
    return Episode(
        id=names.episode(owner.uid, want.cause, key),
        cause=want.cause,
        opened_at=situation.now,
        onset=want.onset,
        revision=max(highest, situation.status.latest_revision) + 1,
        template_digest=situation.template_digest,
        source=want.source,
        evidence=want.evidence,
        token=want.token,
    )


def _attempt(situation: Situation, training: Training, episode: Episode) -> Training:
    """Start the next attempt. It absorbs every cause that is pending now."""
    wants = pending(situation)
    token = next((want.token for want in wants if want.token), None) or episode.token
    schedule = next((datetime.fromisoformat(want.key) for want in wants if want.cause == Cause.SCHEDULE), None)
    grown = any(want.cause == Cause.GROWTH for want in wants)
    started = episode.model_copy(update={"attempt": episode.attempt + 1, "attempted_at": situation.now})
    return replace(
        training,
        episode=started,
        waiting=None,
        starts=(*training.starts, situation.now)[-_REMEMBERED_STARTS:],
        handled_retrain=token or training.handled_retrain,
        scheduled_at=schedule or training.scheduled_at,
        grown_at=situation.now if grown else training.grown_at,
        run=True,
        running=True,
    )
