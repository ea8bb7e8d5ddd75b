"""The plan of one Model: observe (given) → rollout, checks, training (parts) → objects, status, events. Pure."""

from collections.abc import Sequence
from datetime import datetime

from stationkeeper.api.conditions import Condition, Reason
from stationkeeper.control.planning import causes, children, conditions, cron, decisions, history
from stationkeeper.control.planning.decisions import Decided
from stationkeeper.control.planning.given import Given, SpecError, read
from stationkeeper.control.planning.hindered import plan_hindered, stalled
from stationkeeper.control.planning.milestones import milestones, unknown_queries, unknown_receivers
from stationkeeper.control.planning.parts import Parts, plan_parts
from stationkeeper.control.planning.status import conditions_after, status_after
from stationkeeper.control.planning.sweeps import Sweeping, plan_sweep
from stationkeeper.control.planning.types import Event, Observed, Plan, Settings


def plan_model(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """What to do about one Model, from what is. Never mutates its input."""
    if observed.model["metadata"].get("deletionTimestamp"):
        return Plan()  # the owner references of the children do the rest
    try:
        given = read(observed, now, settings)
    except SpecError as error:
        return stalled(observed, Reason.INVALID_SPEC, str(error), now)
    return plan_hindered(given) or _composed(given, plan_parts(given))


def _composed(given: Given, parts: Parts) -> Plan:
    """The parts put together, and what follows from all of them: decisions, a sweep, conditions, events."""
    rollout, training = parts.rollout, parts.training
    decided = _decided(given, parts)
    swept = plan_sweep(given.observed, given.owner, given.status, rollout, training, given.image, given.now)
    settled = conditions_after(given, parts)
    events = _events(given, parts, settled, decided, swept)
    return Plan(
        status=status_after(given, parts, settled, decided, swept, events).wire(),
        status_first=_starts(given, parts) or _rests_on_evidence(given, parts),
        records=history.new(given.owner, training),
        apply=(
            *rollout.apply,
            *children.checks(given, parts),
            *decided.apply,
            *swept.apply,
            *parts.watching.apply,
            *children.trainings(given, parts),
        ),
        delete=(
            *rollout.delete,
            *training.delete,
            *swept.delete,
            *children.stale_cronjobs(given, parts),
            *history.old(given, rollout),
        ),
        events=events,
        requeue_after=_look_again(given, parts, swept),
    )


def _decided(given: Given, parts: Parts) -> Decided:
    every = [*given.records, *given.rejected]
    return decisions.decide(
        given.observed, given.owner, given.status, every, parts.rollout, parts.training, given.image, given.now
    )


def _events(given: Given, parts: Parts, settled: Sequence[Condition], decided: Decided, swept: Sweeping) -> tuple[Event, ...]:
    """What people are told, once."""
    told = (
        *milestones(given.status, parts.rollout, parts.training),
        *unknown_receivers(given.spec, given.status, given.generation, given.settings),
        *unknown_queries(given.spec, given.status, given.generation, given.settings),
        *conditions.events(settled, given.status.conditions),
        *decided.events,
        *swept.events,
        *parts.watching.events,
    )
    return tuple(decisions.cited(told, decided.new))


def _starts(given: Given, parts: Parts) -> bool:
    """Whether an attempt begins: it is remembered before its Job is created."""
    training = parts.training
    return bool(training.run and training.episode and training.episode != given.status.episode)


def _rests_on_evidence(given: Given, parts: Parts) -> bool:
    """Whether a step or a verdict is new: what rests on evidence is remembered before it is acted on, for a crash loses the evidence."""
    before, now = given.status.candidate, parts.rollout.candidate
    stepped = now is not None and now.step is not None and (before is None or now.step != before.step)
    proven = now is not None and now.proof is not None
    return stepped or proven or list(parts.rollout.quarantine) != given.status.quarantine


def _look_again(given: Given, parts: Parts, swept: Sweeping) -> float | None:
    """Seconds until something changes by the clock alone."""
    spec, waiting = given.spec, parts.training.waiting
    times = [seconds for seconds in (parts.rollout.look_again, parts.training.look_again, swept.look_again) if seconds]
    if waiting and waiting.until:
        times.append((waiting.until - given.now).total_seconds())
    schedule = spec.training.schedule if spec.training else None
    if schedule and "Schedule" in spec.retraining.causes:
        times.append((cron.next_after(schedule, given.now) - given.now).total_seconds())
    if grown := causes.grows_at(spec, parts.serving, given.now):
        times.append((grown - given.now).total_seconds())
    return max(1.0, min(times)) if times else None
