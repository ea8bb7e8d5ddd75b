"""The CronJob that checks one model for drift by one policy."""

from stationkeeper.api.jobs import CheckConfig
from stationkeeper.api.meta import COMPONENT_CHECK, CONTAINER_CHECK, LABEL_POLICY
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment, labels, metadata, pod_spec
from stationkeeper.control.resources.jobs import failure_policy
from stationkeeper.control.resources.schedule import check_schedule

CHECK_RESOURCES = Resources(requests=ResourceList(cpu="100m", memory="256Mi"))
DEADLINE_SECONDS = 900


def check_cronjob(owner: Owner, config: CheckConfig, image: Image) -> Object:
    """The complete CronJob. A check lists the windows it owes by itself: runs may be late, doubled or missed."""
    child_labels = labels(owner, COMPONENT_CHECK, **{LABEL_POLICY: config.policy_uid})
    check = container(
        CONTAINER_CHECK,
        image,
        ["python3", "-m", "stationkeeper.workloads.jobs.check_drift"],
        environment(config, owner.spec.storage),
        CHECK_RESOURCES,
        {"tmp": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    job = {
        "backoffLimit": 1,
        "activeDeadlineSeconds": DEADLINE_SECONDS,
        "podFailurePolicy": failure_policy([CONTAINER_CHECK]),
        "template": {
            "metadata": {"labels": child_labels},
            "spec": pod_spec([check], ["tmp"], restartPolicy="Never", terminationGracePeriodSeconds=10),
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(owner, names.check_cronjob(owner.name, owner.uid, config.policy_uid), child_labels),
        "spec": {
            "schedule": check_schedule(config.policy_spec.schedule, owner.uid, config.policy_uid),
            "timeZone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 300,
            "suspend": config.policy_spec.suspend,
            "successfulJobsHistoryLimit": 2,
            "failedJobsHistoryLimit": 2,
            "jobTemplate": {"metadata": {"labels": child_labels}, "spec": job},
        },
    }
