"""What workloads said. Only the termination message of a named container is read, and only of a pod that is ours by UID."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

from stationkeeper.api.base import Tolerant
from stationkeeper.api.meta import (
    CONTAINER_CHECK,
    CONTAINER_LOOK,
    CONTAINER_PREPARE,
    CONTAINER_RESTORE,
    CONTAINER_SHADOW,
    CONTAINER_SWEEP,
    CONTAINER_WATCH,
    REPORTING_CONTAINERS,
    SERVING_CONTAINERS,
    TERMINATION_LIMIT,
    TRAINING_CONTAINERS,
)
from stationkeeper.api.summary import (
    CheckSummary,
    FailureSummary,
    HandoverSummary,
    RestoreSummary,
    ShadowSummary,
    SourceSummary,
    SweepSummary,
    TrainingSummary,
    WatchSummary,
)
from stationkeeper.control.planning.types import Object, Observed

T = TypeVar("T", bound=Tolerant)

# Reasons of a waiting container that are the cluster's or the spec's fault, never the model's.
_IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
_CONFIG_REASONS = {"CreateContainerConfigError", "CreateContainerError"}


@dataclass(frozen=True)
class Blocked:
    """A pod that cannot start, and why."""

    reason: str  # ImageUnavailable, SecretMissing or NoRoom
    message: str
    lasting: bool = True  # until somebody mends it; room may come by itself


@dataclass(frozen=True)
class Ended:
    """A container that ended."""

    container: str
    exit_code: int
    reason: str  # of the kubelet: Completed, Error, OOMKilled ...
    message: str


def controlled_by(obj: Object, uid: str) -> bool:
    """Whether the object's controller is the one with this UID."""
    owners = obj["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def _containers(pod: Object, names: Iterable[str]) -> Iterator[Object]:
    status = pod.get("status") or {}
    wanted = set(names)
    for entry in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        if entry.get("name") in wanted:
            yield entry


def ended(pod: Object, names: Iterable[str]) -> list[Ended]:
    """The named containers of a pod that have ended, in their order; a restarting one by its last end."""
    found = []
    for entry in _containers(pod, names):
        for state in ("state", "lastState"):
            end = (entry.get(state) or {}).get("terminated")
            if end:
                message = (end.get("message") or "")[:TERMINATION_LIMIT]
                found.append(Ended(entry["name"], int(end.get("exitCode", 0)), end.get("reason") or "", message))
                break
    return found


def blocked(pod: Object) -> Blocked | None:
    """Why a container of this pod cannot start, when that is not the model's fault."""
    for condition in (pod.get("status") or {}).get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            # Behind its first sentence the scheduler tells whom it could have put out.
            detail = (condition.get("message") or "no node takes it").partition(". ")[0]
            where = f"the cluster has no room for pod {pod['metadata']['name']}: {detail}"[:400]
            return Blocked("NoRoom", f"{where}; add nodes, or ask for less in the spec's resources", lasting=False)
    for entry in _containers(pod, (*SERVING_CONTAINERS, CONTAINER_CHECK, *TRAINING_CONTAINERS)):
        waiting = (entry.get("state") or {}).get("waiting") or {}
        reason, detail = waiting.get("reason", ""), waiting.get("message", "")
        if reason in _IMAGE_REASONS:
            return Blocked("ImageUnavailable", f"the image of container {entry['name']} cannot be had: {detail or reason}"[:500])
        if reason in _CONFIG_REASONS:
            advice = "create the secret named in spec.storage.secretName with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            return Blocked("SecretMissing", f"container {entry['name']} cannot start: {detail or reason}; {advice}"[:500])
    return None


def training_summary(observed: Observed, job: Object) -> TrainingSummary | None:
    """The outcome that a pod of this training Job reported, if any did."""
    for pod in _pods_of(observed, job):
        for end in ended(pod, REPORTING_CONTAINERS):
            summary = _parse(TrainingSummary, end.message)
            if summary:
                return summary
    return None


def handed_over(observed: Observed, job: Object) -> bool:
    """Whether a pod of this training Job has put the rows where a workload finds them."""
    ends = [end for pod in _pods_of(observed, job) for end in ended(pod, (CONTAINER_PREPARE,))]
    return any(end.exit_code == 0 and _parse(HandoverSummary, end.message) for end in ends)


def restore_summary(observed: Observed, job: Object) -> RestoreSummary | None:
    """What a pod of this Job has found in storage."""
    said = [end.message for pod in _pods_of(observed, job) for end in ended(pod, (CONTAINER_RESTORE,))]
    return next((found for text in said if (found := _parse(RestoreSummary, text))), None)


@dataclass(frozen=True)
class SilentWatch:
    """A look that ended without a word; `reason` is the Job's."""

    reason: str


def newest_watch(observed: Observed, cronjob: Object) -> WatchSummary | FailureSummary | SilentWatch | None:
    """What the newest look at a watched object that has ended says."""
    uid = cronjob["metadata"].get("uid", "")
    jobs = [job for job in observed.jobs if controlled_by(job, uid)]
    for job in sorted(jobs, key=lambda j: str(j["metadata"].get("creationTimestamp") or ""), reverse=True):
        for end in (end for pod in _pods_of(observed, job) for end in ended(pod, (CONTAINER_WATCH,))):
            if said := _parse(WatchSummary, end.message):
                return said
        if (ending := finished(job)) not in (None, "Complete"):
            return failure(observed, job, (CONTAINER_WATCH,)) or SilentWatch(str(ending))
    return None


def sweep_summary(observed: Observed, job: Object) -> SweepSummary | None:
    """What a pod of this Job says that it has deleted."""
    said = [end.message for pod in _pods_of(observed, job) for end in ended(pod, (CONTAINER_SWEEP,))]
    return next((found for text in said if (found := _parse(SweepSummary, text))), None)


def failure(observed: Observed, job: Object, containers: Iterable[str]) -> FailureSummary | None:
    """What the newest failed pod of this Job said, or else what the kubelet said of it."""
    names = tuple(containers)
    for pod in sorted(_pods_of(observed, job), key=lambda p: p["metadata"].get("creationTimestamp", ""), reverse=True):
        for end in ended(pod, names):
            if end.exit_code:
                return _parse(FailureSummary, end.message) or _from_kubelet(end, pod)
    return None


def serving_failure(pod: Object) -> FailureSummary | None:
    """Why a pod does not serve: what fetched its model, or else what serves it, ended with a failure."""
    for end in ended(pod, SERVING_CONTAINERS):
        if end.exit_code:
            return _parse(FailureSummary, end.message) or _from_kubelet(end, pod)
    return None


def finished(job: Object) -> str | None:
    """`Complete`, or the reason of its failure; None while it has not ended."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed"):
            return "Complete" if condition["type"] == "Complete" else str(condition.get("reason") or "Failed")
    return None


def images(pod: Object, names: Iterable[str]) -> dict[str, str]:
    """The images of the named containers that have begun, with their digests where the node knows them."""
    found = {entry["name"]: entry.get("imageID") or entry.get("image") for entry in _containers(pod, names)}
    return {name: str(image) for name, image in found.items() if image}


def is_ready(pod: Object, container: str) -> bool:
    """Whether the kubelet finds a container ready."""
    return any(entry.get("ready") for entry in _containers(pod, (container,)))


def restarts(pod: Object, container: str) -> int:
    """How often the kubelet has started a container again."""
    return max((int(entry.get("restartCount") or 0) for entry in _containers(pod, (container,))), default=0)


def check_summaries(observed: Observed, cronjob: Object) -> list[CheckSummary]:
    """What the finished checks of one CronJob reported."""
    return list(_reported(observed, cronjob, CONTAINER_CHECK, CheckSummary))


def source_summary(observed: Observed, cronjob: Object) -> SourceSummary | None:
    """What the newest look at the published file reported."""
    found = _reported(observed, cronjob, CONTAINER_LOOK, SourceSummary)
    return max(found, key=lambda summary: summary.seen_at, default=None)


def _reported(observed: Observed, cronjob: Object, name: str, type_: type[T]) -> Iterator[T]:
    uid = cronjob["metadata"].get("uid", "")
    for job in observed.jobs:
        if not controlled_by(job, uid):
            continue
        for pod in _pods_of(observed, job):
            for end in ended(pod, (name,)):
                if summary := _parse(type_, end.message):
                    yield summary


def shadow_summary(observed: Observed, job: Object) -> ShadowSummary | None:
    """What a pod of this Job reported of a comparison, if any did."""
    for pod in _pods_of(observed, job):
        for end in ended(pod, (CONTAINER_SHADOW,)):
            if summary := _parse(ShadowSummary, end.message):
                return summary
    return None


def _pods_of(observed: Observed, job: Object) -> list[Object]:
    uid = job["metadata"].get("uid", "")
    return [pod for pod in observed.pods if controlled_by(pod, uid)]


def _from_kubelet(end: Ended, pod: Object) -> FailureSummary:
    reason = end.reason if end.reason == "OOMKilled" else "ContainerFailed"
    meta = pod["metadata"]
    log = f"; its log: kubectl -n {meta['namespace']} logs {meta['name']} -c {end.container}"
    more = "; give it more memory in resources" if reason == "OOMKilled" else log
    return FailureSummary(reason=reason, message=f"container {end.container} ended with exit code {end.exit_code}{more}")


def _parse(type_: type[T], text: str) -> T | None:
    if not text.startswith("{"):
        return None
    try:
        return type_.model_validate_json(text)
    except ValidationError:
        return None
