"""A model that another pipeline makes: the CronJob that looks at what is published, and the Job that imports it."""

from stationkeeper.api.jobs import ImportConfig, LookConfig
from stationkeeper.api.meta import (
    COMPONENT_LOOK,
    CONTAINER_LOOK,
    CONTAINER_PREPARE,
    CONTAINER_PUBLISH,
    PATH_DATA,
    PATH_MODEL,
    PATH_WORK,
)
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment, labels, metadata, pod_spec
from stationkeeper.control.resources.jobs import attempt_job, failure_policy
from stationkeeper.control.resources.schedule import check_schedule

LOOK_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="128Mi"))
DEADLINE_SECONDS = 600


def look_cronjob(owner: Owner, config: LookConfig, image: Image) -> Object:
    """The complete CronJob that looks at the source. It tells what it sees; what follows from it the operator decides."""
    child_labels = labels(owner, COMPONENT_LOOK)
    look = container(
        CONTAINER_LOOK,
        image,
        ["python3", "-m", "stationkeeper.workloads.jobs.look_at_source"],
        environment(config, owner.spec.storage),
        LOOK_RESOURCES,
        {"tmp": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    job = {
        "backoffLimit": 1,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "podFailurePolicy": failure_policy([CONTAINER_LOOK]),
        "template": {
            "metadata": {"labels": child_labels},
            "spec": pod_spec([look], ["tmp"], restartPolicy="Never", terminationGracePeriodSeconds=10),
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(owner, names.look_cronjob(owner.name, owner.uid), child_labels),
        "spec": {
            "schedule": check_schedule(config.source.schedule, owner.uid, "source"),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "suspend": owner.spec.retraining.suspend,
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": child_labels}, "spec": job},
        },
    }


def import_job(owner: Owner, config: ImportConfig, image: Image) -> Object:
    """The complete Job of one attempt: a training without `train`, under the name that the training would have."""
    env, resources = environment(config, owner.spec.storage), config.source.resources
    mounts: dict[str, str | tuple[str, bool]] = {
        "data": PATH_DATA,
        "model": PATH_MODEL,
        "work": PATH_WORK,
        "tmp": "/tmp",  # noqa: S108  an emptyDir of the pod's own
    }
    judge = mounts | {"data": (PATH_DATA, True), "model": (PATH_MODEL, True)}
    steps = [
        container(CONTAINER_PREPARE, image, _step(CONTAINER_PREPARE), env, resources, mounts),
        container(CONTAINER_PUBLISH, image, _step(CONTAINER_PUBLISH), env, resources, judge),
    ]
    return attempt_job(owner, config, config.source.time_limit, steps, list(mounts))


def _step(name: str) -> list[str]:
    return ["python3", "-m", "stationkeeper.workloads.jobs.import_model", name]
