"""The parts of a Model, each planned by what the ones before it found: what serves, what checks say, what is trained. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import RetiredRef, SourceStatus
from stationkeeper.api.verdicts import CheckStatus
from stationkeeper.control.planning import afterlife, evidence, watching
from stationkeeper.control.planning.candidacy import RolloutState
from stationkeeper.control.planning.causes import Situation
from stationkeeper.control.planning.episodes import Training, job_of, plan_training
from stationkeeper.control.planning.findings import Findings, findings
from stationkeeper.control.planning.given import Given
from stationkeeper.control.planning.intent import intent_digest
from stationkeeper.control.planning.memory import remember
from stationkeeper.control.planning.published import seen
from stationkeeper.control.planning.rollout import Rollout, plan_rollout
from stationkeeper.control.planning.skew import origin_of
from stationkeeper.control.planning.types import Object
from stationkeeper.control.planning.watching import Watching
from stationkeeper.control.resources import names


@dataclass(frozen=True)
class Parts:
    """What was found and planned of each part; put together they are the plan."""

    watching: Watching
    rollout: Rollout
    retired: RetiredRef | None  # the revision that served before
    serving: ModelRevisionSpec | None  # the record of what serves
    checks: Sequence[CheckStatus]
    found: Findings
    training: Training
    job: Object | None  # of the attempt under way
    blocked: evidence.Blocked | None  # why that cannot start


def plan_parts(given: Given) -> Parts:
    """Plan each part, in the order in which they rest on one another."""
    trained = _trained(given)
    watched = watching.plan_watch(given.observed, given.owner, given.status.watched, trained, given.image, given.now)
    rollout = plan_rollout(given.observed, given.owner, given.status, given.records, given.policies, given.now, given.settings)
    retired = afterlife.retired(given.status, rollout.serving, given.now)
    checks = _checks(given, rollout, retired)
    found = findings(given.policies, checks, given.now)
    situation = _situation(given, rollout, found, intent_digest(given.spec, watched.status, trained))
    training = plan_training(given.observed, situation)
    job = job_of(given.observed, situation, training.episode) if training.episode else None
    return Parts(
        watching=watched,
        rollout=rollout,
        retired=retired,
        serving=situation.serving,
        checks=checks,
        found=found,
        training=training,
        job=job,
        blocked=_blocked(given, job) if training.running else None,
    )


def _trained(given: Given) -> list[str]:
    """Digests of the intents that have been trained, and of the one that is, the newest last."""
    found = [record.template_digest for record in given.records]
    return [*found, given.status.episode.template_digest] if given.status.episode else found


def _checks(given: Given, rollout: Rollout, retired: RetiredRef | None) -> list[CheckStatus]:
    """What is remembered of the checks of what serves."""
    if rollout.serving is None:
        return []
    summaries = {}
    for policy in given.policies:
        if cronjob := _cronjob(given, names.check_cronjob(given.owner.name, given.owner.uid, policy.uid)):
            summaries[policy.uid] = evidence.check_summaries(given.observed, cronjob)
    known = {record.number: record for record in given.records}
    before = known.get(retired.number) if retired else None
    return remember(
        given.status.checks,
        given.policies,
        summaries,
        rollout.serving.digest,
        given.now,
        origin=origin_of(known.get(rollout.serving.number), before),
        retired=retired,
    )


def _published(given: Given) -> SourceStatus | None:
    """What another pipeline has published, as far as it is known."""
    cronjob = _cronjob(given, names.look_cronjob(given.owner.name, given.owner.uid))
    summary = evidence.source_summary(given.observed, cronjob) if cronjob else None
    return seen(given.spec.source, given.status.source, summary)


def _cronjob(given: Given, name: str) -> Object | None:
    """Ours of this name, if there is one."""
    ours = (job for job in given.observed.cronjobs if evidence.controlled_by(job, given.owner.uid))
    return next((job for job in ours if job["metadata"]["name"] == name), None)


def _situation(given: Given, rollout: Rollout, found: Findings, template_digest: str) -> Situation:
    meta = given.observed.model["metadata"]
    created = meta.get("creationTimestamp")
    return Situation(
        owner=given.owner,
        annotations=meta.get("annotations") or {},
        status=given.status.model_copy(update={"quarantine": list(rollout.quarantine)}),
        records=tuple(given.records),
        serving=given.record(rollout.serving),
        template_digest=template_digest,
        published=_published(given),
        data=found.data,
        drift=found.drift,
        quality=found.quality,
        rollout_running=rollout.candidate is not None or rollout.state == RolloutState.DRAINING,
        created_at=datetime.fromisoformat(created) if created else given.now,
        now=given.now,
        template=given.template,
    )


def _blocked(given: Given, job: Object | None) -> evidence.Blocked | None:
    """Why a pod of the attempt under way cannot start."""
    uid = job["metadata"].get("uid") if job else None
    pods = [pod for pod in given.observed.pods if uid and evidence.controlled_by(pod, uid)]
    return next((found for pod in pods if (found := evidence.blocked(pod))), None)
