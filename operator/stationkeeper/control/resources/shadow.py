"""The Job that asks a candidate what the stable revision was asked, and compares the answers."""

from stationkeeper.api.jobs import ShadowConfig
from stationkeeper.api.meta import COMPONENT_SHADOW, CONTAINER_SHADOW, LABEL_SHADOW
from stationkeeper.api.resources import ResourceList, Resources
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment, labels, metadata, pod_spec
from stationkeeper.control.resources.jobs import failure_policy

RESOURCES = Resources(requests=ResourceList(cpu="100m", memory="256Mi"))
DEADLINE_SECONDS = 1200
RETRIES = 2
KEEP_SECONDS = 3600  # a finished Job stays for people to look at


def shadow_job(owner: Owner, config: ShadowConfig, pair: str, image: Image) -> Object:
    """The complete Job of one attempt. Its pods carry no label of a revision, for they serve none."""
    job_labels = labels(owner, COMPONENT_SHADOW, **{LABEL_SHADOW: pair})
    compare = container(
        CONTAINER_SHADOW,
        image,
        ["python3", "-m", "stationkeeper.workloads.jobs.shadow"],
        environment(config, owner.spec.storage),
        RESOURCES,
        {"tmp": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, names.shadow_job(owner.name, pair, config.attempt), job_labels),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "podFailurePolicy": failure_policy([CONTAINER_SHADOW]),
            "template": {
                "metadata": {"labels": job_labels},
                "spec": pod_spec([compare], ["tmp"], restartPolicy="Never", terminationGracePeriodSeconds=10),
            },
        },
    }
