"""When storage is swept, and what a sweep must leave alone. Pure.

A sweep is written to the status before its Job is created. None runs beside a training, and no training begins beside a sweep:
a training may reuse a file that nothing else names any more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from stationkeeper.api.base import format_time
from stationkeeper.api.jobs import SweepConfig
from stationkeeper.api.meta import COMPONENT_TRAINING, CONTAINER_SWEEP, LABEL_COMPONENT
from stationkeeper.api.revision import RevisionOutcome
from stationkeeper.api.status import ModelStatus, Sweep
from stationkeeper.control.planning import evidence
from stationkeeper.control.planning.candidacy import RolloutState
from stationkeeper.control.planning.episodes import Training
from stationkeeper.control.planning.rollout import Rollout
from stationkeeper.control.planning.types import Event, Object, Observed, Ref
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.sweep import sweep_job

EVERY = timedelta(days=7)
AGAIN = timedelta(days=1)  # after one that failed, or that left something


@dataclass(frozen=True)
class Sweeping:
    """What status says of the last sweep, and what is done about it now."""

    status: Sweep | None
    apply: tuple[Object, ...] = ()
    delete: tuple[Ref, ...] = ()
    events: tuple[Event, ...] = ()
    look_again: float | None = None  # seconds


def plan_sweep(
    observed: Observed, owner: Owner, before: ModelStatus, rollout: Rollout, training: Training, image: Image, now: datetime
) -> Sweeping:
    """Follow the sweep that was begun, or begin the next."""
    last = before.sweep
    if last and not last.done:
        return _follow(observed, owner, last, rollout, before, image)
    if not owner.spec.retention.sweeps or rollout.serving is None:
        return Sweeping(last)
    due = _due(last, rollout)
    if due and now < due:
        return Sweeping(last, look_again=(due - now).total_seconds())
    busy = training.running or training.published is not None or _trains(observed, owner)
    quiet = rollout.state == RolloutState.STABLE and not busy
    return Sweeping(Sweep(at=now.replace(microsecond=0)) if quiet else last)


def _due(last: Sweep | None, rollout: Rollout) -> datetime | None:
    """When the next one is due; None: now. A revision that began to serve since has left others behind."""
    if last is None:
        return None
    if last.failed:
        return last.at + AGAIN
    promoted = rollout.serving and rollout.serving.since and rollout.serving.since > last.at
    return None if promoted else last.at + EVERY


def _trains(observed: Observed, owner: Owner) -> bool:
    """Whether a training Job of ours has not ended: one that was superseded may still be ending."""
    ours = [job for job in observed.jobs if evidence.controlled_by(job, owner.uid)]
    trains = [job for job in ours if (job["metadata"].get("labels") or {}).get(LABEL_COMPONENT) == COMPONENT_TRAINING]
    return any(evidence.finished(job) is None for job in trains)


def _follow(observed: Observed, owner: Owner, sweep: Sweep, rollout: Rollout, before: ModelStatus, image: Image) -> Sweeping:
    name = names.sweep_job(owner.name, owner.uid, format_time(sweep.at))
    job = next((j for j in observed.jobs if j["metadata"]["name"] == name and evidence.controlled_by(j, owner.uid)), None)
    if not owner.spec.retention.sweeps:
        ended = sweep.model_copy(update={"done": True, "message": "spec.retention sweeps nothing any more"})
        return Sweeping(ended, delete=(Ref.to(job),) if job else ())
    if job is None:
        live = _live(rollout, before)
        if rollout.serving is None:  # what serves must be known before anything may go
            return Sweeping(sweep.model_copy(update={"done": True, "failed": True, "message": "nothing serves"}))
        return Sweeping(sweep, apply=(sweep_job(owner, _config(observed, owner, before, live), sweep.at, image),))
    match evidence.finished(job):
        case None:
            return Sweeping(sweep)
        case "Complete":
            told = _told(observed, job, sweep)
            return Sweeping(told, events=(Event("Normal", "StorageSwept", told.message),))
        case reason:
            said = evidence.failure(observed, job, (CONTAINER_SWEEP,))
            message = f"{said.reason}: {said.message}" if said else f"its Job failed ({reason})"
            failed = sweep.model_copy(update={"done": True, "failed": True, "message": message[:512]})
            return Sweeping(failed, events=(Event("Warning", "SweepFailed", message[:1024]),))


def _told(observed: Observed, job: Object, sweep: Sweep) -> Sweep:
    """What the sweep said. That its message was lost changes nothing in storage."""
    summary = evidence.sweep_summary(observed, job)
    if summary is None:
        return sweep.model_copy(update={"done": True, "message": "it has ended, and its word was lost"})
    counts = {
        "revisions": summary.manifests,
        "files": summary.files,
        "captured files": summary.captured,
        "reports": summary.reports,
    }
    parts = [f"{count} {what.removesuffix('s') if count == 1 else what}" for what, count in counts.items() if count]
    message = ", ".join(parts) or "nothing"
    more = "" if summary.complete else "; more is left for the next one"
    return sweep.model_copy(update={"done": True, "failed": not summary.complete, "message": f"deleted: {message}{more}"})


def _kept(observed: Observed, owner: Owner, live: Sequence[str]) -> list[str]:
    """Digests of the manifests that must stay: of every record, whether this version can read it or not, and of what runs."""
    specs: Sequence[Object] = [r.get("spec") or {} for r in observed.revisions if evidence.controlled_by(r, owner.uid)]
    recorded = {spec["digest"] for spec in specs if spec.get("digest") and spec.get("outcome") != RevisionOutcome.REJECTED}
    return sorted(recorded | set(live))


def _live(rollout: Rollout, before: ModelStatus) -> list[str]:
    """What runs, and the revision before: what it answered last is judged yet."""
    return [ref.digest for ref in (rollout.serving, rollout.candidate, before.retired) if ref]


def _judged(before: ModelStatus) -> Iterator[str]:
    """Revisions whose windows are still judged: of the one that served before, labels may yet come."""
    yield from (check.revision_digest for check in before.checks)


def _config(observed: Observed, owner: Owner, before: ModelStatus, live: list[str]) -> SweepConfig:
    return SweepConfig(
        model=owner.identity,
        storage=owner.spec.storage,
        retention=owner.spec.retention,
        kept=_kept(observed, owner, live),
        pinned=owner.spec.revision,
        serving=sorted({*live, *_judged(before)}),
    )
