"""Jobs of one container that do one thing once: write a decision down, sweep storage."""

from stationkeeper.api.jobs import JobConfig
from stationkeeper.api.resources import Resources
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment, labels, metadata, pod_spec
from stationkeeper.control.resources.jobs import RETRIES, failure_policy


def once(
    owner: Owner,
    config: JobConfig,
    image: Image,
    *,
    name: str,
    component: str,
    resources: Resources,
    deadline: int,
    keep: int,
    stored: bool = True,
) -> Object:
    """The complete Job.

    Args:
        owner: the Model.
        config: what the container is told.
        image: the workloads' image.
        name: of the Job.
        component: its label, its container and its module.
        resources: requests and limits.
        deadline: seconds that it may take.
        keep: seconds that it stays when it has ended.
        stored: whether it is given the credentials of the store.
    """
    child_labels = labels(owner, component)
    command = ["python3", "-m", f"stationkeeper.workloads.jobs.{component}"]
    env = environment(config, owner.spec.storage if stored else None)
    work = container(component, image, command, env, resources, {"tmp": "/tmp"})  # noqa: S108  an emptyDir of the pod's own
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, name, child_labels),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": keep,
            "podFailurePolicy": failure_policy([component]),
            "template": {
                "metadata": {"labels": child_labels},
                "spec": pod_spec([work], ["tmp"], restartPolicy="Never", terminationGracePeriodSeconds=10),
            },
        },
    }
