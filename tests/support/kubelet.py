"""What the kubelet and the controllers write, for tests that have a control plane and no nodes."""

from typing import Any

from stationkeeper.api.meta import CONTAINER_PUBLISH
from stationkeeper.api.status import TrainingOutcome
from stationkeeper.api.summary import TrainingSummary
from tests.support import world

Object = dict[str, Any]


def pod_of(job: Object) -> Object:
    """The pod that the Job controller makes."""
    meta, template = job["metadata"], job["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": meta["uid"], "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{meta['name']}-0",
            "namespace": meta["namespace"],
            "labels": template["metadata"]["labels"],
            "ownerReferences": [owner],
        },
        "spec": template["spec"],
    }


def published(episode: Object, text: str) -> Object:
    """The status of a training pod that has published the revision whose digest is this text's."""
    digest = world.digest(text)
    summary = TrainingSummary(
        episode=episode["id"],
        attempt=episode["attempt"],
        outcome=TrainingOutcome.PUBLISHED,
        reason="GatesPassed",
        message="all gates passed",
        finished_at=world.START,
        digest=digest,
        manifest_uri=f"s3://models/flights/manifests/{digest[7:]}.json",
        revision=episode["revision"],
        data_digest=world.digest("data"),
        metrics={"roc_auc": 0.7},
    )
    ended = {"exitCode": 0, "reason": "Completed", "message": summary.encode().decode(), "startedAt": None, "finishedAt": None}
    container = {"name": CONTAINER_PUBLISH, "image": "x", "imageID": "x", "ready": False, "restartCount": 0}
    return {"phase": "Succeeded", "containerStatuses": [{**container, "state": {"terminated": ended}}]}


def ready(deployment: Object) -> Object:
    """The status of a Deployment whose pods are ready."""
    counts = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    return {"observedGeneration": deployment["metadata"]["generation"]} | dict.fromkeys(counts, deployment["spec"]["replicas"])
