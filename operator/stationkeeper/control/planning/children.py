"""The Jobs and CronJobs of a Model, and what each of them is told. Pure."""

from stationkeeper.api.jobs import CheckConfig, ImportConfig, LookConfig, RevisionIdentity, TrainConfig
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.status import Cause, Episode, RevisionRef
from stationkeeper.control.planning import afterlife, evidence, probation, quarantine, watching
from stationkeeper.control.planning.anchor import anchor
from stationkeeper.control.planning.drift import PolicyView
from stationkeeper.control.planning.given import Given
from stationkeeper.control.planning.parts import Parts
from stationkeeper.control.planning.types import Object, Ref
from stationkeeper.control.resources import names
from stationkeeper.control.resources.check import check_cronjob
from stationkeeper.control.resources.source import import_job, look_cronjob
from stationkeeper.control.resources.training import training_job
from stationkeeper.control.resources.workload import training_workload


def checks(given: Given, parts: Parts) -> list[Object]:
    """The CronJob of each policy, once something serves that it can check."""
    serving = parts.rollout.serving
    if serving is None or serving.since is None:
        return []
    return [check_cronjob(given.owner, _check_config(given, parts, policy), given.image) for policy in given.policies]


def trainings(given: Given, parts: Parts) -> list[Object]:
    """The look at what another pipeline publishes, the Job of the attempt under way, and what trains beside it across machines."""
    wanted, training, source = [], parts.training, given.spec.source
    if source:
        look = LookConfig(model=given.owner.identity, storage=given.spec.storage, source=source)
        wanted.append(look_cronjob(given.owner, look, given.image))
    if training.run and training.episode:
        wanted.append(_job(given, parts, training.episode))
    if training.workload and training.episode:
        wanted.append(_workload(given, parts, training.episode))
    return wanted


def stale_cronjobs(given: Given, parts: Parts) -> list[Ref]:
    """CronJobs of policies that watch the model no more, and of an object or a source that nobody looks at any more."""
    owner, wanted = given.owner, {job["metadata"]["name"] for job in parts.watching.apply}
    if parts.rollout.serving:
        wanted |= {names.check_cronjob(owner.name, owner.uid, policy.uid) for policy in given.policies}
    if owner.spec.source:
        wanted.add(names.look_cronjob(owner.name, owner.uid))
    ours = [job for job in given.observed.cronjobs if evidence.controlled_by(job, owner.uid)]
    return [Ref.to(job) for job in ours if job["metadata"]["name"] not in wanted]


def _check_config(given: Given, parts: Parts, policy: PolicyView) -> CheckConfig:
    serving, spec, before = parts.rollout.serving, given.spec, None
    assert serving is not None
    assert serving.since is not None
    if spec.labels and policy.spec.quality:
        before = probation.predecessor(spec, serving, given.records, parts.rollout.quarantine, given.now)
    return CheckConfig(
        model=given.owner.identity,
        storage=spec.storage,
        policy=policy.name,
        policy_uid=policy.uid,
        policy_digest=policy.digest,
        policy_spec=policy.spec,
        labels=spec.labels,
        revision=_identity(serving),
        predecessor=_identity(before) if before else None,
        since=serving.since,
        retired=afterlife.still_judged(parts.retired, policy.spec, spec.labels.lag if spec.labels else None, given.now),
    )


def _job(given: Given, parts: Parts, episode: Episode) -> Object:
    """The Job of the episode's attempt: a training, or an import of what another pipeline has published."""
    source = given.spec.source
    if source is None:
        return training_job(given.owner, _train_config(given, parts, episode), given.image)
    unwanted = quarantine.files(parts.rollout.quarantine) if episode.cause == Cause.SOURCE else []
    imported = _attempt(given, parts, episode) | {"source": source, "digest": episode.source, "quarantined": unwanted}
    return import_job(given.owner, ImportConfig.model_validate(imported), given.image)


def _workload(given: Given, parts: Parts, episode: Episode) -> Object:
    assert given.template is not None
    assert parts.job is not None, "a workload is the child of its attempt's Job"
    return training_workload(given.owner, _train_config(given, parts, episode), given.template, parts.job, given.image)


def _train_config(given: Given, parts: Parts, episode: Episode) -> TrainConfig:
    trained = given.spec.trained
    return TrainConfig.model_validate(
        _attempt(given, parts, episode)
        | {
            "onset": episode.onset,
            "training": watching.pinned(trained, parts.watching.status),
            "labels": given.spec.labels if trained.data.feedback else None,
            "anchor": _anchor(given, parts),
            "quarantined": quarantine.trainings(parts.rollout.quarantine, episode.template_digest, parts.serving),
        }
    )


def _attempt(given: Given, parts: Parts, episode: Episode) -> dict[str, object]:
    """What a training and an import are told alike."""
    champion, restore = parts.rollout.serving, given.status.restore
    return {
        "model": given.owner.identity,
        "storage": given.spec.storage,
        "episode": episode.id,
        "attempt": episode.attempt,
        "cause": episode.asked,
        "revision": episode.revision,
        "as_of": episode.attempted_at or given.now,
        "evidence": episode.evidence,
        "template_digest": episode.template_digest,
        "champion": _identity(champion) if champion else None,
        "lineage": restore.lineage if restore else None,
    }


def _anchor(given: Given, parts: Parts) -> RevisionIdentity | None:
    bad = {entry.digest for entry in parts.rollout.quarantine}
    metric = given.spec.trained.evaluation.gates[0].metric
    found = anchor(parts.serving, given.records, bad, metric)
    return _identity(found) if found else None


def _identity(revision: RevisionRef | ModelRevisionSpec) -> RevisionIdentity:
    return RevisionIdentity(number=revision.number, digest=revision.digest)
