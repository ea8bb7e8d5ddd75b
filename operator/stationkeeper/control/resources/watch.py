"""The CronJob that looks at the object of `training.watch`, for the operator has no access to storage."""

from stationkeeper.api.jobs import WatchConfig
from stationkeeper.api.meta import COMPONENT_WATCH
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner
from stationkeeper.control.resources.once import once
from stationkeeper.control.resources.schedule import check_schedule

WATCH_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="128Mi"))
DEADLINE_SECONDS = 300


def watch_cronjob(owner: Owner, config: WatchConfig, schedule: str, image: Image) -> Object:
    """The complete CronJob."""
    name = names.watch_cronjob(owner.name, owner.uid)
    job = once(
        owner,
        config,
        image,
        name=name,
        component=COMPONENT_WATCH,
        resources=WATCH_RESOURCES,
        deadline=DEADLINE_SECONDS,
        keep=24 * 3600,
    )
    del job["spec"]["ttlSecondsAfterFinished"]  # the CronJob keeps the newest
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": job["metadata"],
        "spec": {
            "schedule": check_schedule(schedule, owner.uid, "watch"),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": job["metadata"]["labels"]}, "spec": job["spec"] | {"backoffLimit": 1}},
        },
    }
