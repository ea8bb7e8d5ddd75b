"""The Job that writes down one decision with its evidence, for the operator has no access to storage."""

from stationkeeper.api.jobs import RecordConfig
from stationkeeper.api.meta import COMPONENT_RECORD, CONTAINER_RECORD
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment, labels, metadata, pod_spec
from stationkeeper.control.resources.training import RETRIES, failure_policy

RECORD_RESOURCES = Resources(requests=ResourceList(cpu="50m", memory="128Mi"))
DEADLINE_SECONDS = 300
KEEP_SECONDS = 3600  # one that failed goes then, and is made again


def record_job(owner: Owner, config: RecordConfig, image: Image) -> Object:
    """The complete Job of one decision."""
    child_labels = labels(owner, COMPONENT_RECORD)
    record = container(
        CONTAINER_RECORD,
        image,
        ["python3", "-m", "stationkeeper.workloads.jobs.record"],
        environment(config, owner.spec.storage),
        RECORD_RESOURCES,
        {"tmp": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, names.record_job(owner.name, owner.uid, config.decision.id), child_labels),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "podFailurePolicy": failure_policy([CONTAINER_RECORD]),
            "template": {
                "metadata": {"labels": child_labels},
                "spec": pod_spec([record], ["tmp"], restartPolicy="Never", terminationGracePeriodSeconds=10),
            },
        },
    }
