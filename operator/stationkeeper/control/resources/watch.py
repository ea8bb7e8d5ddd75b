"""The CronJob that looks at the object or the image of `training.watch`, for the operator asks neither storage nor registries."""

from stationkeeper.api.jobs import WatchConfig
from stationkeeper.api.meta import COMPONENT_WATCH, FILE_PULL_SECRET, PATH_PULL_SECRET
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.api.training import Watch
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner
from stationkeeper.control.resources.once import once
from stationkeeper.control.resources.schedule import check_schedule

WATCH_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="128Mi"))
DEADLINE_SECONDS = 300


def watch_config(owner: Owner, watch: Watch) -> WatchConfig:
    """What the pod is told."""
    of = {"uri": watch.uri, "image": watch.image, "insecure": watch.insecure}
    return WatchConfig.model_validate({"model": owner.identity, "storage": owner.spec.storage, **of})


def watch_cronjob(owner: Owner, watch: Watch, image: Image) -> Object:
    """The complete CronJob. A pod that looks at an image has no credentials of the store."""
    job = once(
        owner,
        watch_config(owner, watch),
        image,
        name=names.watch_cronjob(owner.name, owner.uid),
        component=COMPONENT_WATCH,
        resources=WATCH_RESOURCES,
        deadline=DEADLINE_SECONDS,
        keep=24 * 3600,
        stored=watch.image is None,
    )
    del job["spec"]["ttlSecondsAfterFinished"]  # the CronJob keeps the newest
    if watch.pull_secret_name:
        _mount_secret(job["spec"]["template"]["spec"], watch.pull_secret_name)
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": job["metadata"],
        "spec": {
            "schedule": check_schedule(watch.schedule, owner.uid, "watch"),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": {"metadata": {"labels": job["metadata"]["labels"]}, "spec": job["spec"] | {"backoffLimit": 1}},
        },
    }


def _mount_secret(pod: Object, secret: str) -> None:
    """The one key of a pull secret, as a file that nobody but the pod's user reads."""
    items = [{"key": ".dockerconfigjson", "path": FILE_PULL_SECRET}]
    pod["volumes"].append({"name": "registry", "secret": {"secretName": secret, "items": items, "defaultMode": 0o440}})
    pod["containers"][0]["volumeMounts"].append({"name": "registry", "mountPath": PATH_PULL_SECRET, "readOnly": True})
