"""Plans of a Model that nothing can be planned for yet: its spec has no meaning, its name is taken, or its storage is being read. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from stationkeeper.api.conditions import Reason
from stationkeeper.api.status import ModelStatus
from stationkeeper.control.planning import conditions, evidence
from stationkeeper.control.planning.given import Given, generation, status_of
from stationkeeper.control.planning.notices import outbox
from stationkeeper.control.planning.restoring import Restoring, plan_restore
from stationkeeper.control.planning.types import Observed, Plan
from stationkeeper.control.resources.revision import model_revision


def plan_hindered(given: Given) -> Plan | None:
    """The plan while something stands in the way of all others; None when nothing does."""
    if conflict := _name_conflict(given):
        return stalled(given.observed, Reason.NAME_CONFLICT, conflict, given.now, look_again=60)
    known = bool(given.records or given.rejected)
    restoring = plan_restore(given.observed, given.owner, given.status, known, given.image, given.now)
    return _restoring(given, restoring) if restoring else None


def stalled(observed: Observed, reason: Reason, message: str, now: datetime, look_again: float | None = None) -> Plan:
    """The plan of a Model that cannot be followed: its conditions say why, and what serves keeps serving."""
    before = status_of(observed.model)
    claims = conditions.invalid(reason, message, before.conditions)
    return _saying(observed, claims, before, Plan(requeue_after=look_again), now)


def _name_conflict(given: Given) -> str | None:
    """A Service with the Model's name that is not ours is never adopted, nor is an HTTPRoute."""
    owner = given.owner
    routes = given.observed.routes if owner.spec.serving.route else ()
    for child in (*given.observed.services, *routes):
        if child["metadata"]["name"] == owner.name and not evidence.controlled_by(child, owner.uid):
            article = "an" if child["kind"] == "HTTPRoute" else "a"
            return (
                f"{article} {child['kind']} named {owner.name} exists in this namespace and is not this Model's; "
                "delete it, or give the Model another name"
            )
    return None


def _restoring(given: Given, restoring: Restoring) -> Plan:
    """The plan while nothing but storage is looked at."""
    claims = conditions.restoring(restoring.message, restoring.failed)
    done = Plan(
        records=tuple(model_revision(given.owner, record) for record in restoring.records),
        apply=restoring.apply,
        delete=restoring.delete,
        events=restoring.events,
    )
    return _saying(given.observed, claims, restoring.status, done, given.now)


def _saying(observed: Observed, claims: Sequence[conditions.Claim], known: ModelStatus, plan: Plan, now: datetime) -> Plan:
    """The plan with the status that it leaves: what is known now, and conditions that say what stands in the way."""
    before = status_of(observed.model)
    settled = conditions.settle(claims, before.conditions, generation(observed.model), now)
    events = (*conditions.events(settled, before.conditions), *plan.events)
    notices = outbox(before.notices, observed.delivered, events, bool(observed.model["spec"].get("notify")), now)
    told = {"observed_generation": generation(observed.model), "conditions": settled, "notices": notices}
    return replace(plan, status=known.model_copy(update=told).wire(), events=events)
