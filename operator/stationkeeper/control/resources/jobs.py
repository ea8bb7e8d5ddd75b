"""What Jobs have in common, and the frame of the one that may publish a revision: a training or an import."""

from collections.abc import Sequence
from typing import Any

from stationkeeper.api.jobs import AttemptConfig
from stationkeeper.api.meta import COMPONENT_TRAINING, EXIT_INVALID, LABEL_EPISODE
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Object, Owner, labels, metadata, pod_spec, whole_seconds

RETRIES = 3  # pods of one attempt, for what may pass: a store that does not answer
KEEP_SECONDS = 24 * 3600  # a finished Job stays for people to look at


def failure_policy(containers: Sequence[str]) -> Object:
    """Invalid input fails the Job at once, a disruption of the node does not count, all else is tried again."""
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": name, "operator": "In", "values": [EXIT_INVALID]},
            }
            for name in containers
        ]
        + [{"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    }


def attempt_job(
    owner: Owner, config: AttemptConfig, time_limit: str, steps: Sequence[Object], volumes: Sequence[str], **pod: Any
) -> Object:
    """The complete Job of one attempt, under the name that only this attempt has.

    Args:
        owner: the Model.
        config: the attempt.
        time_limit: duration that it may take.
        steps: containers, one after the other over the same volumes; the last one reports.
        volumes: names of empty directories.
        pod: more of the pod's spec.
    """
    job_labels = labels(owner, COMPONENT_TRAINING, **{LABEL_EPISODE: config.episode})
    spec = pod_spec(
        steps[-1:], volumes, initContainers=list(steps[:-1]), restartPolicy="Never", terminationGracePeriodSeconds=10, **pod
    )
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, names.training_job(owner.name, owner.uid, config.episode, config.attempt), job_labels),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": whole_seconds(time_limit),
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "podFailurePolicy": failure_policy([step["name"] for step in steps]),
            "template": {"metadata": {"labels": job_labels}, "spec": spec},
        },
    }
