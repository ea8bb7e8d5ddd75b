"""All conditions of a Model, computed in one place from what was found. `lastTransitionTime` moves only with the status."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.conditions import Condition, ConditionType, Reason
from stationkeeper.api.status import LastTraining, TrainingOutcome
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning.candidacy import RolloutState
from stationkeeper.control.planning.drift import Finding
from stationkeeper.control.planning.episodes import Training
from stationkeeper.control.planning.evidence import Blocked
from stationkeeper.control.planning.rollout import Rollout
from stationkeeper.control.planning.types import Event

_MESSAGE_LIMIT = 1024
# Training failures that only a changed spec, secret or storage can mend: the spec is not reconciled until then.
SPEC_FAULTS = frozenset(
    {
        "UnknownEstimator",
        "InvalidParameters",
        "UnknownMetric",
        "InvalidSpec",
        "StorageInUse",
        "StorageDenied",
        "ConfigurationInvalid",
    }
)


@dataclass(frozen=True)
class Claim:
    """A condition before its time is known."""

    type: ConditionType
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Facts:
    """What conditions are computed from."""

    rollout: Rollout
    training: Training
    data: Finding | None
    drift: Finding | None
    watched: bool  # some policy watches the model
    skew: Finding | None = None
    imported: bool = False  # another pipeline makes it
    name_conflict: str | None = None
    training_blocked: Blocked | None = None


def of(facts: Facts) -> list[Claim]:
    """All conditions of a Model whose spec could be read."""
    available = _available(facts)
    stalled = _stalled(facts)
    return [
        _ready(available, stalled),
        _reconciling(available, stalled),
        stalled,
        available,
        _data_valid(facts),
        _drifted(facts),
        _skewed(facts),
        _retraining(facts),
        _rolling(facts),
        *_routed(facts),
    ]


def invalid(reason: str, message: str, before: Sequence[Condition]) -> list[Claim]:
    """The conditions of a Model whose spec cannot be followed: the last good state keeps serving."""
    kept = [Claim(ConditionType(c.type), c.status, c.reason, c.message) for c in before if c.type in _DOMAIN]
    return [
        Claim(ConditionType.READY, "False", reason, message),
        Claim(ConditionType.RECONCILING, "False", reason, message),
        Claim(ConditionType.STALLED, "True", reason, message),
        *kept,
    ]


def restoring(message: str, failed: bool) -> list[Claim]:
    """The conditions of a fresh Model whose storage is read before anything else."""
    stalled = Claim(ConditionType.STALLED, "False", Reason.UP_TO_DATE, "nothing stands in the way")
    if failed:
        stalled = Claim(ConditionType.STALLED, "True", Reason.RESTORING, message)
    available = Claim(ConditionType.AVAILABLE, "False", Reason.RESTORING, message)
    return [_ready(available, stalled), _reconciling(available, stalled), stalled, available]


_DOMAIN = (
    ConditionType.AVAILABLE,
    ConditionType.DATA_VALID,
    ConditionType.DRIFTED,
    ConditionType.SKEWED,
    ConditionType.RETRAINING,
    ConditionType.ROLLOUT_PROGRESSING,
    ConditionType.ROUTED,
)


def _ready(available: Claim, stalled: Claim) -> Claim:
    if stalled.status == "True":
        return Claim(ConditionType.READY, "False", stalled.reason, stalled.message)
    return Claim(ConditionType.READY, available.status, available.reason, available.message)


def _reconciling(available: Claim, stalled: Claim) -> Claim:
    waits = available.status != "True" and stalled.status != "True"
    status = "True" if waits else "False"
    reason = available.reason if waits else Reason.UP_TO_DATE
    return Claim(ConditionType.RECONCILING, status, reason, available.message if waits else "the spec is applied")


def _available(facts: Facts) -> Claim:
    rollout = facts.rollout
    kind = ConditionType.AVAILABLE
    if rollout.serving is None:
        if facts.training.running:
            what = "the first import" if facts.imported else "the first training"
            return Claim(kind, "False", Reason.FIRST_TRAINING, f"{what} is under way")
        if rollout.candidate:
            return Claim(kind, "False", Reason.STARTING, rollout.message)
        return Claim(kind, "False", Reason.NEVER_TRAINED, _why_untrained(facts.training))
    number = rollout.serving.number
    if facts.rollout.wanted == 0:
        return Claim(kind, "True", Reason.SCALED_TO_ZERO, f"revision {number} is scaled to zero as spec.serving.replicas asks")
    if rollout.ready_replicas == 0:
        why = f"no pod of revision {number} is ready" + (f": {rollout.message}" if rollout.blocked else "")
        return Claim(kind, "False", Reason.REPLICAS_UNAVAILABLE, why)
    return Claim(kind, "True", Reason.SERVING, f"revision {number} serves")


def _why_untrained(training: Training) -> str:
    if training.last and training.last.outcome != TrainingOutcome.PUBLISHED:
        return f"no revision to serve: {training.last.reason}: {training.last.message}"
    return training.waiting.message if training.waiting else "no revision to serve"


def _stalled(facts: Facts) -> Claim:
    kind, rollout, last = ConditionType.STALLED, facts.rollout, facts.training.last
    if facts.name_conflict:
        return Claim(kind, "True", Reason.NAME_CONFLICT, facts.name_conflict)
    blocked = facts.training_blocked or rollout.blocked
    if blocked and blocked.lasting:
        return Claim(kind, "True", blocked.reason, blocked.message)
    failed = last is not None and last.outcome in (TrainingOutcome.FAILED, TrainingOutcome.INVALID_DATA, TrainingOutcome.REFUSED)
    if last and failed and not facts.training.running and (last.reason in SPEC_FAULTS or rollout.serving is None):
        return Claim(kind, "True", last.reason, last.message)
    if rollout.serving is None and rollout.candidate is None and rollout.quarantine:
        return Claim(kind, "True", Reason.CANDIDATE_FAILED, rollout.quarantine[-1].reason)
    return Claim(kind, "False", Reason.UP_TO_DATE, "nothing stands in the way")


def _finding(kind: ConditionType, finding: Finding | None, watched: bool, breached: tuple[str, str], passed: str) -> Claim:
    """A condition from a finding; `breached` is the status and reason of a breach, `passed` the status of a pass."""
    if finding is None:
        message = "no window checked yet" if watched else "no DriftPolicy watches this model"
        return Claim(kind, "Unknown", Reason.NOT_CHECKED, message)
    match finding.verdict:
        case Verdict.BREACHED:
            return Claim(kind, *breached, finding.message)
        case Verdict.PASSED:
            reason = Reason.CALIBRATING if finding.calibrating else Reason.CHECKS_PASSED
            return Claim(kind, passed, reason, finding.message)
        case Verdict.ERROR:
            return Claim(kind, "Unknown", Reason.CHECK_FAILED, finding.message)
        case Verdict.INSUFFICIENT_DATA:
            return Claim(kind, "Unknown", _unknown(finding), finding.message)


def _unknown(finding: Finding) -> Reason:
    if finding.skewed:
        return Reason.SKEW_DETECTED
    if finding.calibrating:
        return Reason.CALIBRATING
    return Reason.VERDICTS_EXPIRED if finding.expired else Reason.INSUFFICIENT_DATA


def _data_valid(facts: Facts) -> Claim:
    return _finding(ConditionType.DATA_VALID, facts.data, facts.watched, ("False", Reason.SCHEMA_BREACHED), "True")


def _drifted(facts: Facts) -> Claim:
    reason = Reason.QUALITY_LOST if facts.drift and facts.drift.group == "quality" else Reason.DRIFT_DETECTED
    claim = _finding(ConditionType.DRIFTED, facts.drift, facts.watched, ("True", reason), "False")
    waiting = facts.training.waiting
    if claim.status == "True" and waiting and waiting.reason == Reason.CHALLENGERS_REFUSED:
        return Claim(claim.type, claim.status, Reason.CHALLENGERS_REFUSED, f"{waiting.message}; {claim.message}")
    return claim


def _skewed(facts: Facts) -> Claim:
    return _finding(ConditionType.SKEWED, facts.skew, facts.watched, ("True", Reason.SKEW_DETECTED), "False")


def _retraining(facts: Facts) -> Claim:
    kind, training = ConditionType.RETRAINING, facts.training
    episode, last = training.episode, training.last
    if training.running and episode:
        waits = f": {facts.training_blocked.message}" if facts.training_blocked else ""
        return Claim(
            kind, "True", Reason.TRAINING, f"attempt {episode.attempt} for {episode.asked} (episode {episode.id}){waits}"
        )
    if training.waiting:
        return Claim(kind, "False", training.waiting.reason, f"wanted for {training.waiting.cause}: {training.waiting.message}")
    if last:
        return Claim(kind, "False", _last_reason(last), f"{last.cause}: {last.message}")
    return Claim(kind, "False", Reason.IDLE, "nothing asks for a training")


def _last_reason(last: LastTraining) -> str:
    match last.outcome:
        case TrainingOutcome.PUBLISHED:
            return Reason.PUBLISHED
        case TrainingOutcome.REFUSED:
            return Reason.REFUSED
        case TrainingOutcome.WAITING_FOR_LABELS:
            return Reason.WAITING_FOR_LABELS
        case TrainingOutcome.QUARANTINED:
            return Reason.QUARANTINED
        case TrainingOutcome.INVALID_DATA | TrainingOutcome.FAILED:
            return last.reason


def _rolling(facts: Facts) -> Claim:
    kind, rollout = ConditionType.ROLLOUT_PROGRESSING, facts.rollout
    match rollout.state:
        case RolloutState.STARTING:
            return Claim(kind, "True", Reason.CANDIDATE_STARTING, rollout.message)
        case RolloutState.CANARY:
            return Claim(kind, "True", Reason.CANARY, rollout.message)
        case RolloutState.UNROUTED:
            reason = rollout.routed.reason if rollout.routed else Reason.ROUTE_PENDING
            return Claim(kind, "True", reason, rollout.message)
        case RolloutState.SHADOW:
            return Claim(kind, "True", Reason.SHADOW, rollout.message)
        case RolloutState.PAUSED:
            return Claim(kind, "True", Reason.PAUSED, f"{rollout.message}; paused by a person")
        case RolloutState.WAITING:
            return Claim(kind, "True", Reason.WAITING_FOR_APPROVAL, rollout.message)
        case RolloutState.BLOCKED:
            return Claim(kind, "False", rollout.blocked.reason if rollout.blocked else Reason.STARTING, rollout.message)
        case RolloutState.PROVEN:
            return Claim(kind, "True", Reason.PROVEN, rollout.message)
        case RolloutState.DRAINING:
            return Claim(kind, "True", Reason.DRAINING, rollout.message)
        case RolloutState.FAILED:
            return Claim(kind, "False", Reason.CANDIDATE_FAILED, rollout.message)
        case RolloutState.STABLE | RolloutState.NOTHING_TO_SERVE if rollout.problem:
            return Claim(kind, "False", Reason.REVISION_NOT_FOUND, rollout.problem)
        case RolloutState.NOTHING_TO_SERVE:
            return _nothing_to_roll_out(facts)
        case RolloutState.STABLE:
            return Claim(kind, "False", Reason.STABLE, rollout.message)


def _nothing_to_roll_out(facts: Facts) -> Claim:
    """Before the first revision."""
    kind = ConditionType.ROLLOUT_PROGRESSING
    if not facts.training.running:
        return Claim(kind, "False", Reason.NEVER_TRAINED, _why_untrained(facts.training))
    made = "imported" if facts.imported else "trained"
    return Claim(kind, "False", Reason.FIRST_TRAINING, f"the first revision is being {made}")


def _routed(facts: Facts) -> list[Claim]:
    """Whether requests come through the Gateway; said only where the spec asks for a route."""
    word = facts.rollout.routed
    if word is None:
        return []
    if word.accepted is None and word.before:  # weights change, the way in does not
        return [Claim(ConditionType.ROUTED, "True", Reason.ROUTE_ACCEPTED, "the Gateway takes new weights over")]
    status = {True: "True", False: "False", None: "Unknown"}[word.accepted]
    return [Claim(ConditionType.ROUTED, status, word.reason, word.message)]


def settle(claims: Sequence[Claim], before: Sequence[Condition], generation: int, now: datetime) -> list[Condition]:
    """Give each claim its time: kept while the status is the same, `now` when it has changed."""
    known = {condition.type: condition for condition in before}
    settled = []
    for claim in claims:
        old = known.get(claim.type)
        same = old is not None and old.status == claim.status
        settled.append(
            Condition(
                type=claim.type,
                status=claim.status,
                reason=claim.reason,
                message=claim.message[:_MESSAGE_LIMIT],
                observed_generation=generation,
                last_transition_time=old.last_transition_time if old and same else now.replace(microsecond=0),
            )
        )
    return settled


_BAD = {
    (ConditionType.STALLED, "True"),
    (ConditionType.DATA_VALID, "False"),
    (ConditionType.DRIFTED, "True"),
    (ConditionType.SKEWED, "True"),
    (ConditionType.AVAILABLE, "False"),
    (ConditionType.ROUTED, "False"),
}
_EXPECTED = {
    Reason.FIRST_TRAINING,
    Reason.STARTING,
    Reason.NEVER_TRAINED,
    Reason.RESTORING,
}  # a model on its way to its first revision
_BAD_REASONS = {
    Reason.REFUSED,
    Reason.CANDIDATE_FAILED,
    Reason.NO_ROOM,
    Reason.CHALLENGERS_REFUSED,
    Reason.CHECK_FAILED,
    Reason.REVISION_NOT_FOUND,
    Reason.ROUTE_NOT_ACCEPTED,
    Reason.GATEWAY_API_MISSING,
}
_TOLD = (*_DOMAIN, ConditionType.STALLED)


def events(after: Sequence[Condition], before: Sequence[Condition]) -> list[Event]:
    """What people are told: each change of a condition's status or reason, once, and what two conditions say alike by the graver one."""
    known = {condition.type: (condition.status, condition.reason) for condition in before}
    told: dict[str, Event] = {}
    for condition in after:
        changed = known.get(condition.type) != (condition.status, condition.reason)
        if condition.type not in _TOLD or not changed or condition.reason in _DULL:
            continue
        if condition.type == ConditionType.RETRAINING and condition.reason in _OUTCOMES:
            continue  # told by the training itself
        if condition.type == ConditionType.ROLLOUT_PROGRESSING and condition.reason in _EXPECTED:
            continue  # told by Available
        if condition.type == ConditionType.SKEWED and "True" not in (condition.status, known.get(condition.type, ("",))[0]):
            continue  # that nothing is wrong is told of drift already
        bad = (condition.type, condition.status) in _BAD and condition.reason not in _EXPECTED
        bad = bad or condition.reason in _BAD_REASONS
        alike = told.get(condition.message)
        if alike is None or (bad and alike.type == "Normal"):
            told[condition.message] = Event("Warning" if bad else "Normal", condition.reason, condition.message)
    return list(told.values())


_DULL = {
    Reason.CANARY,
    Reason.ROUTE_PENDING,
    Reason.UP_TO_DATE,
    Reason.NOT_CHECKED,
    Reason.IDLE,
    Reason.STABLE,
    Reason.INSUFFICIENT_DATA,
    Reason.VERDICTS_EXPIRED,
}
_OUTCOMES = {Reason.PUBLISHED, Reason.REFUSED, Reason.WAITING_FOR_LABELS, Reason.QUARANTINED}
