"""The plan of one Model: observe (given) → situation → rollout, training, checks → objects, status, events. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from stationkeeper.api.conditions import Condition, Reason
from stationkeeper.api.jobs import CheckConfig, ImportConfig, LookConfig, RevisionIdentity, TrainConfig
from stationkeeper.api.meta import (
    COMPONENT_SERVING,
    LABEL_COMPONENT,
    LABEL_MODEL,
    LABEL_REVISION,
    PORT_SERVICE,
)
from stationkeeper.api.model import ModelSpec
from stationkeeper.api.revision import Champion, ModelRevisionSpec
from stationkeeper.api.status import Cause, CheckStatus, Episode, ModelStatus, RetiredRef, SourceStatus
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.control.planning import (
    afterlife,
    causes,
    conditions,
    cron,
    decisions,
    evidence,
    history,
    probation,
    quarantine,
    sweeps,
    watching,
)
from stationkeeper.control.planning.anchor import anchor
from stationkeeper.control.planning.candidacy import RolloutState
from stationkeeper.control.planning.causes import Situation
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.episodes import Training, job_of, plan_training
from stationkeeper.control.planning.findings import Findings, findings
from stationkeeper.control.planning.intent import intent_digest
from stationkeeper.control.planning.memory import remember
from stationkeeper.control.planning.milestones import milestones, unknown_queries, unknown_receivers
from stationkeeper.control.planning.notices import outbox
from stationkeeper.control.planning.observed import policies, records, rejected
from stationkeeper.control.planning.published import seen
from stationkeeper.control.planning.restoring import Restoring, plan_restore
from stationkeeper.control.planning.rollout import Rollout, plan_rollout
from stationkeeper.control.planning.skew import origin_of
from stationkeeper.control.planning.types import Event, Object, Observed, Plan, Ref, Settings
from stationkeeper.control.resources import names
from stationkeeper.control.resources.check import check_cronjob
from stationkeeper.control.resources.common import Image, Owner
from stationkeeper.control.resources.revision import model_revision
from stationkeeper.control.resources.source import import_job, look_cronjob
from stationkeeper.control.resources.templates import MisfitError, WorkloadTemplate, chosen, values_of
from stationkeeper.control.resources.training import training_job
from stationkeeper.control.resources.workload import training_workload


def plan_model(observed: Observed, now: datetime, settings: Settings) -> Plan:
    """What to do about one Model, from what is. Never mutates its input."""
    meta = observed.model["metadata"]
    if meta.get("deletionTimestamp"):
        return Plan()  # the owner references of the children do the rest
    status = _status(observed.model)
    try:
        owner = Owner(meta["namespace"], meta["name"], meta["uid"], ModelSpec.model_validate(observed.model["spec"]))
        _check_schedules(owner.spec, now)
        template = template_of(owner, settings)
    except ValidationError as error:
        return _stalled(observed, status, Reason.INVALID_SPEC, _explain(error), now)
    except cron.InvalidCronError as error:
        return _stalled(observed, status, Reason.INVALID_SPEC, str(error), now)
    except MisfitError as error:
        return _stalled(observed, status, Reason.INVALID_SPEC, str(error), now)
    return _Planner(observed, owner, status, now, settings, template).plan()


def template_of(owner: Owner, settings: Settings) -> WorkloadTemplate | None:
    """The template that a Model trains with across machines; None where it trains in one pod, or another pipeline trains it.

    Raises:
        MisfitError: when there is no such template, or a value does not fit.
    """
    wanted = owner.spec.training.workload if owner.spec.training else None
    if wanted is None:
        return None
    template = chosen(settings.workloads, wanted, owner.namespace)
    values_of(template, wanted)
    return template


def _check_schedules(spec: ModelSpec, now: datetime) -> None:
    """Raise InvalidCronError, naming the field, for a schedule without a meaning."""
    for field, part in (("training", spec.training), ("source", spec.source)):
        try:
            if part and part.schedule:
                cron.next_after(part.schedule, now)
        except cron.InvalidCronError as error:
            raise cron.InvalidCronError(f"spec.{field}.schedule: {error}") from error


def _status(model: Object) -> ModelStatus:
    """The written status; what another version wrote and we cannot read is derived anew."""
    try:
        return ModelStatus.model_validate(model.get("status") or {})
    except ValidationError:
        return ModelStatus()


def _explain(error: ValidationError) -> str:
    lines = [f"spec.{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()[:3]]
    return "; ".join(lines)


def _stalled(
    observed: Observed, status: ModelStatus, reason: Reason, message: str, now: datetime, look_again: float | None = None
) -> Plan:
    """The plan of a Model that cannot be followed: its conditions say why, and what serves keeps serving."""
    generation = int(observed.model["metadata"].get("generation") or 0)
    claims = conditions.invalid(reason, message, status.conditions)
    settled = conditions.settle(claims, status.conditions, generation, now)
    events = conditions.events(settled, status.conditions)
    notices = outbox(status.notices, observed.delivered, events, bool(observed.model["spec"].get("notify")), now)
    after = status.model_copy(update={"observed_generation": generation, "conditions": settled, "notices": notices})
    return Plan(status=after.wire(), events=tuple(events), requeue_after=look_again)


def workload_of(model: Object, settings: Settings) -> tuple[WorkloadTemplate, str] | None:
    """What trains across machines for the attempt under way, by its template and its name; None where nothing does."""
    if not (model["spec"].get("training") or {}).get("workload"):
        return None
    try:
        owner = Owner(
            model["metadata"]["namespace"],
            model["metadata"]["name"],
            model["metadata"]["uid"],
            ModelSpec.model_validate(model["spec"]),
        )
        template, episode = template_of(owner, settings), _status(model).episode
    except (ValidationError, MisfitError):
        return None
    if template is None or episode is None or not episode.attempt:
        return None
    return template, names.training_workload(owner.name, owner.uid, episode.id, episode.attempt)


class _Planner:
    """One pass over one Model. Each method reads what the earlier ones found; nothing outside is touched."""

    def __init__(
        self,
        observed: Observed,
        owner: Owner,
        status: ModelStatus,
        now: datetime,
        settings: Settings,
        template: WorkloadTemplate | None,
    ) -> None:
        self.observed = observed
        self.owner = owner
        self.status = status
        self.now = now
        self.settings = settings
        self.template = template
        self.image = Image(settings.workloads_image, settings.image_pull_policy)
        self.records = records(observed, owner)
        self.rejected = rejected(observed, owner)
        self.policies = policies(observed, owner)
        self.retired: RetiredRef | None = status.retired
        self.watching = watching.Watching(status.watched)
        self.published = self._published()

    def plan(self) -> Plan:
        conflict = self._name_conflict()
        if conflict:
            return _stalled(self.observed, self.status, Reason.NAME_CONFLICT, conflict, self.now, look_again=60)
        known = bool(self.records or self.rejected)
        restoring = plan_restore(self.observed, self.owner, self.status, known, self.image, self.now)
        if restoring:
            return self._restoring(restoring)
        self.watching = watching.plan_watch(self.observed, self.owner, self.status.watched, self._trained(), self.image, self.now)
        rollout = plan_rollout(self.observed, self.owner, self.status, self.records, self.policies, self.now, self.settings)
        self.retired = afterlife.retired(self.status, rollout.serving, self.now)
        checks = self._checks(rollout)
        found = findings(self.policies, checks, self.now)
        situation = self._situation(rollout, found)
        training = plan_training(self.observed, situation)
        facts = conditions.Facts(
            rollout=rollout,
            training=training,
            data=found.data,
            drift=found.shown,
            skew=found.skew,
            watched=bool(self.policies),
            imported=self.owner.spec.source is not None,
            training_blocked=self._training_blocked(situation, training),
        )
        return self._compose(rollout, training, checks, facts, situation)

    def _restoring(self, restoring: Restoring) -> Plan:
        """The plan while nothing but storage is looked at."""
        claims = conditions.restoring(restoring.message, restoring.failed)
        settled = conditions.settle(claims, self.status.conditions, self._generation(), self.now)
        events = (*conditions.events(settled, self.status.conditions), *restoring.events)
        notices = outbox(self.status.notices, self.observed.delivered, events, bool(self.owner.spec.notify), self.now)
        after = restoring.status.model_copy(
            update={"observed_generation": self._generation(), "conditions": settled, "notices": notices}
        )
        return Plan(
            status=after.wire(),
            records=tuple(model_revision(self.owner, record) for record in restoring.records),
            apply=restoring.apply,
            delete=restoring.delete,
            events=events,
        )

    def _name_conflict(self) -> str | None:
        """A Service with the Model's name that is not ours is never adopted, nor is an HTTPRoute."""
        routes = self.observed.routes if self.owner.spec.serving.route else ()
        for child in (*self.observed.services, *routes):
            if child["metadata"]["name"] == self.owner.name and not evidence.controlled_by(child, self.owner.uid):
                article = "an" if child["kind"] == "HTTPRoute" else "a"
                return (
                    f"{article} {child['kind']} named {self.owner.name} exists in this namespace and is not this Model's; "
                    "delete it, or give the Model another name"
                )
        return None

    def _published(self) -> SourceStatus | None:
        """What another pipeline has published, as far as it is known."""
        name = names.look_cronjob(self.owner.name, self.owner.uid)
        cronjob = next((c for c in self.observed.cronjobs if c["metadata"]["name"] == name), None)
        ours = cronjob is not None and evidence.controlled_by(cronjob, self.owner.uid)
        summary = evidence.source_summary(self.observed, cronjob) if cronjob and ours else None
        return seen(self.owner.spec.source, self.status.source, summary)

    def _generation(self) -> int:
        return int(self.observed.model["metadata"].get("generation") or 0)

    def _checks(self, rollout: Rollout) -> list[CheckStatus]:
        if rollout.serving is None:
            return []
        summaries = {}
        for policy in self.policies:
            name = names.check_cronjob(self.owner.name, self.owner.uid, policy.uid)
            for cronjob in self.observed.cronjobs:
                if cronjob["metadata"]["name"] == name and evidence.controlled_by(cronjob, self.owner.uid):
                    summaries[policy.uid] = evidence.check_summaries(self.observed, cronjob)
        known = {record.number: record for record in self.records}
        before = known.get(self.retired.number) if self.retired else None
        return remember(
            self.status.checks,
            self.policies,
            summaries,
            rollout.serving.digest,
            self.now,
            origin=origin_of(known.get(rollout.serving.number), before),
            retired=self.retired,
        )

    def _situation(self, rollout: Rollout, found: Findings) -> Situation:
        meta = self.observed.model["metadata"]
        return Situation(
            owner=self.owner,
            annotations=meta.get("annotations") or {},
            status=self.status.model_copy(update={"quarantine": list(rollout.quarantine)}),
            records=tuple(self.records),
            serving=self._serving_record(rollout),
            template_digest=intent_digest(self.owner.spec, self.watching.status, self._trained()),
            published=self.published,
            data=found.data,
            drift=found.drift,
            quality=found.quality,
            rollout_running=rollout.candidate is not None or rollout.state == RolloutState.DRAINING,
            created_at=_created(meta, self.now),
            now=self.now,
            template=self.template,
        )

    def _trained(self) -> list[str]:
        """Digests of the intents that have been trained, and of the one that is, the newest last."""
        found = [record.template_digest for record in self.records]
        return [*found, self.status.episode.template_digest] if self.status.episode else found

    def _training_blocked(self, situation: Situation, training: Training) -> evidence.Blocked | None:
        if not training.running or not training.episode:
            return None
        job = job_of(self.observed, situation, training.episode)
        uid = job["metadata"].get("uid") if job else None
        pods = [pod for pod in self.observed.pods if uid and evidence.controlled_by(pod, uid)]
        return next((found for pod in pods if (found := evidence.blocked(pod))), None)

    def _compose(
        self, rollout: Rollout, training: Training, checks: list[CheckStatus], facts: conditions.Facts, situation: Situation
    ) -> Plan:
        apply: list[Object] = list(rollout.apply)
        if rollout.serving and rollout.serving.since:
            apply += [self._cronjob(policy, rollout) for policy in self.policies]
        decided = self._decided_now(rollout, training)
        swept = sweeps.plan_sweep(self.observed, self.owner, self.status, rollout, training, self.image, self.now)
        apply += (*decided.apply, *swept.apply, *self.watching.apply)
        if self.owner.spec.source:
            look = LookConfig(model=self.owner.identity, storage=self.owner.spec.storage, source=self.owner.spec.source)
            apply.append(look_cronjob(self.owner, look, self.image))
        if training.run and training.episode:
            apply.append(self._job(training.episode, rollout))
        if training.workload:
            apply.append(self._workload(training, rollout, situation))
        settled = conditions.settle(conditions.of(facts), self.status.conditions, self._generation(), self.now)
        told = (
            *milestones(self.status, rollout, training),
            *unknown_receivers(self.owner.spec, self.status, self._generation(), self.settings),
            *unknown_queries(self.owner.spec, self.status, self._generation(), self.settings),
            *conditions.events(settled, self.status.conditions),
            *decided.events,
            *swept.events,
            *self.watching.events,
        )
        events = tuple(decisions.cited(told, decided.new))
        after = self._after(rollout, training, checks, settled, events)
        after = after.model_copy(
            update={
                "decisions": list(decided.kept),
                "sweep": swept.status,
                "restore": self.status.restore,
                "watched": self.watching.status,
            }
        )
        started = bool(training.run and training.episode and training.episode != self.status.episode)
        return Plan(
            status=after.wire(),
            status_first=started or self._decided(rollout),
            records=self._new_records(training),
            apply=tuple(apply),
            delete=(
                *rollout.delete,
                *training.delete,
                *swept.delete,
                *self._stale_cronjobs(rollout),
                *self._old_records(rollout),
            ),
            events=events,
            requeue_after=self._look_again(rollout, training, swept),
        )

    def _decided_now(self, rollout: Rollout, training: Training) -> decisions.Decided:
        every = [*self.records, *self.rejected]
        return decisions.decide(self.observed, self.owner, self.status, every, rollout, training, self.image, self.now)

    def _decided(self, rollout: Rollout) -> bool:
        """Whether a step or a verdict is new: what rests on evidence is remembered before it is acted on, for a crash loses the evidence."""
        before, now = self.status.candidate, rollout.candidate
        stepped = now is not None and now.step is not None and (before is None or now.step != before.step)
        proven = now is not None and now.proof is not None
        return stepped or proven or list(rollout.quarantine) != self.status.quarantine

    def _new_records(self, training: Training) -> tuple[Object, ...]:
        """Of the training that has just ended."""
        found = [self._record(training.published, training)] if training.published else []
        if training.refused and (refused := history.rejected(self.owner, *training.refused)):
            found.append(refused)
        return tuple(model_revision(self.owner, record) for record in found)

    def _record(self, summary: TrainingSummary, training: Training) -> ModelRevisionSpec:
        episode = training.episode
        assert episode is not None
        assert summary.digest
        assert summary.data_digest
        assert summary.manifest_uri
        champion = None
        if summary.champion_digest and summary.champion_number:
            metrics = summary.champion_metrics
            shift = summary.champion_shift
            champion = Champion(number=summary.champion_number, digest=summary.champion_digest, metrics=metrics, shift=shift)
        return ModelRevisionSpec(
            model_name=self.owner.name,
            number=summary.revision or episode.revision,
            digest=summary.digest,
            manifest_uri=summary.manifest_uri,
            cause=episode.asked,
            episode=episode.id,
            attempt=episode.attempt,
            evidence=episode.evidence,
            template_digest=episode.template_digest,
            data_digest=summary.data_digest,
            data_since=summary.data_since,
            data_through=summary.data_through,
            trained_at=summary.finished_at,
            metrics=summary.metrics,
            champion=champion,
        )

    def _cronjob(self, policy: PolicyView, rollout: Rollout) -> Object:
        serving = rollout.serving
        assert serving is not None
        assert serving.since is not None
        spec, before = self.owner.spec, None
        if spec.labels and policy.spec.quality:
            before = probation.predecessor(spec, serving, self.records, rollout.quarantine, self.now)
        config = CheckConfig(
            model=self.owner.identity,
            storage=self.owner.spec.storage,
            policy=policy.name,
            policy_uid=policy.uid,
            policy_digest=policy.digest,
            policy_spec=policy.spec,
            labels=self.owner.spec.labels,
            revision=RevisionIdentity(number=serving.number, digest=serving.digest),
            predecessor=RevisionIdentity(number=before.number, digest=before.digest) if before else None,
            since=serving.since,
            retired=afterlife.still_judged(self.retired, policy.spec, spec.labels.lag if spec.labels else None, self.now),
        )
        return check_cronjob(self.owner, config, self.image)

    def _job(self, episode: Episode, rollout: Rollout) -> Object:
        """The Job of the episode's attempt: a training, or an import of what another pipeline has published."""
        source = self.owner.spec.source
        if source is None:
            return training_job(self.owner, self._train_config(episode, rollout), self.image)
        attempt = self._attempt(episode, rollout)
        unwanted = quarantine.files(rollout.quarantine) if episode.cause == Cause.SOURCE else []
        imported = attempt | {"source": source, "digest": episode.source, "quarantined": unwanted}
        return import_job(self.owner, ImportConfig.model_validate(imported), self.image)

    def _train_config(self, episode: Episode, rollout: Rollout) -> TrainConfig:
        spec = self.owner.spec
        return TrainConfig.model_validate(
            self._attempt(episode, rollout)
            | {
                "onset": episode.onset,
                "training": watching.pinned(spec.trained, self.watching.status),
                "labels": spec.labels if spec.trained.data.feedback else None,
                "anchor": self._anchor(rollout),
                "quarantined": quarantine.trainings(rollout.quarantine, episode.template_digest, self._serving_record(rollout)),
            }
        )

    def _attempt(self, episode: Episode, rollout: Rollout) -> dict[str, object]:
        """What a training and an import are told alike."""
        champion = rollout.serving
        return {
            "model": self.owner.identity,
            "storage": self.owner.spec.storage,
            "episode": episode.id,
            "attempt": episode.attempt,
            "cause": episode.asked,
            "revision": episode.revision,
            "as_of": episode.attempted_at or self.now,
            "evidence": episode.evidence,
            "template_digest": episode.template_digest,
            "champion": RevisionIdentity(number=champion.number, digest=champion.digest) if champion else None,
            "lineage": self.status.restore.lineage if self.status.restore else None,
        }

    def _serving_record(self, rollout: Rollout) -> ModelRevisionSpec | None:
        number = rollout.serving.number if rollout.serving else None
        return next((record for record in self.records if record.number == number), None)

    def _anchor(self, rollout: Rollout) -> RevisionIdentity | None:
        bad = {entry.digest for entry in rollout.quarantine}
        metric = self.owner.spec.trained.evaluation.gates[0].metric
        found = anchor(self._serving_record(rollout), self.records, bad, metric)
        return RevisionIdentity(number=found.number, digest=found.digest) if found else None

    def _workload(self, training: Training, rollout: Rollout, situation: Situation) -> Object:
        assert training.episode is not None
        assert self.template is not None
        job = job_of(self.observed, situation, training.episode)
        assert job is not None, "a workload is the child of its attempt's Job"
        return training_workload(self.owner, self._train_config(training.episode, rollout), self.template, job, self.image)

    def _stale_cronjobs(self, rollout: Rollout) -> list[Ref]:
        """CronJobs of policies that watch the model no more, and of an object or a source that nobody looks at any more."""
        wanted = {names.check_cronjob(self.owner.name, self.owner.uid, policy.uid) for policy in self.policies}
        wanted = wanted if rollout.serving else set()
        if self.owner.spec.source:
            wanted.add(names.look_cronjob(self.owner.name, self.owner.uid))
        ours = [job for job in self.observed.cronjobs if evidence.controlled_by(job, self.owner.uid)]
        wanted |= {job["metadata"]["name"] for job in self.watching.apply}
        return [Ref.to(job) for job in ours if job["metadata"]["name"] not in wanted]

    def _old_records(self, rollout: Rollout) -> list[Ref]:
        """Records beyond the history limit; never one that serves or comes up. Refusals do not push out what was published."""
        live = {ref.number for ref in (rollout.serving, rollout.candidate) if ref} | {self.owner.spec.revision}
        limit = self.owner.spec.revision_history_limit
        old = history.beyond(self.records, limit, live) | history.beyond(self.rejected, limit)
        return [Ref.to(r) for r in self.observed.revisions if (r.get("spec") or {}).get("digest") in old]

    def _after(
        self,
        rollout: Rollout,
        training: Training,
        checks: list[CheckStatus],
        settled: list[Condition],
        events: Sequence[Event],
    ) -> ModelStatus:
        owner = self.owner
        selector = None
        if rollout.serving:
            selector = (
                f"{LABEL_MODEL}={owner.name},{LABEL_COMPONENT}={COMPONENT_SERVING},{LABEL_REVISION}={rollout.serving.number}"
            )
        numbers = [record.number for record in (*self.records, *self.rejected)]
        used = training.last.revision if training.last and training.last.revision else 0
        return ModelStatus(
            observed_generation=self._generation(),
            conditions=settled,
            url=self._url() if rollout.serving else None,
            serving=rollout.serving,
            retired=self.retired,
            candidate=rollout.candidate,
            route=rollout.route,
            replicas=rollout.replicas,
            ready_replicas=rollout.ready_replicas,
            selector=selector,
            latest_revision=max([self.status.latest_revision, used, *numbers]),
            source=training.source,
            episode=training.episode,
            waiting=training.waiting,
            last_training=training.last,
            trainings=list(training.starts),
            checks=checks,
            scheduled_at=training.scheduled_at,
            grown_at=training.grown_at,
            handled_retrain=training.handled_retrain,
            quarantine=list(rollout.quarantine),
            notices=outbox(self.status.notices, self.observed.delivered, events, bool(owner.spec.notify), self.now),
        )

    def _url(self) -> str:
        port = "" if PORT_SERVICE == 80 else f":{PORT_SERVICE}"
        address, theirs = f"http://{self.owner.name}.{self.owner.namespace}.svc{port}", self.owner.spec.serving.container
        return address if theirs and theirs.protocol == "HTTP" else f"{address}/v2/models/{self.owner.name}"

    def _look_again(self, rollout: Rollout, training: Training, swept: sweeps.Sweeping) -> float | None:
        """Seconds until something changes by the clock alone."""
        times = [seconds for seconds in (rollout.look_again, training.look_again, swept.look_again) if seconds]
        if training.waiting and training.waiting.until:
            times.append((training.waiting.until - self.now).total_seconds())
        schedule = self.owner.spec.training.schedule if self.owner.spec.training else None
        if schedule and "Schedule" in self.owner.spec.retraining.causes:
            times.append((cron.next_after(schedule, self.now) - self.now).total_seconds())
        if grown := causes.grows_at(self.owner.spec, self._serving_record(rollout), self.now):
            times.append((grown - self.now).total_seconds())
        return max(1.0, min(times)) if times else None


def _created(meta: dict[str, Any], now: datetime) -> datetime:
    text = meta.get("creationTimestamp")
    return datetime.fromisoformat(text) if text else now
