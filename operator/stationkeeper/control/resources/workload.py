"""The workload of one attempt: the administrator's template, filled in for a Model, and owned by the attempt's Job."""

from pydantic import JsonValue

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.meta import COMPONENT_WORKLOAD, LABEL_EPISODE
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import Image, Object, Owner, environment, labels
from stationkeeper.control.resources.templates import WorkloadTemplate, values_of


def training_workload(owner: Owner, config: TrainConfig, template: WorkloadTemplate, job: Object, image: Image) -> Object:
    """The complete object. It goes with the Job that prepares its rows and publishes what it leaves.

    Raises:
        MisfitError: when a parameter does not fit.
    """
    wanted = config.training.workload
    assert wanted is not None
    given: dict[str, JsonValue] = {
        "model.name": owner.name,
        "model.namespace": owner.namespace,
        "training.episode": config.episode,
        "training.attempt": config.attempt,
        "exchange.image": image.name,
        "exchange.pullPolicy": image.pull_policy,
        "exchange.env": list[JsonValue](environment(config, owner.spec.storage)),
    }
    filled = template.filled(values_of(template, wanted) | given)
    meta = filled.get("metadata") or {}
    ours = labels(owner, COMPONENT_WORKLOAD, **{LABEL_EPISODE: config.episode})
    controller = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    return filled | {
        "metadata": {
            "name": names.training_workload(owner.name, owner.uid, config.episode, config.attempt),
            "namespace": owner.namespace,
            "labels": {**(meta.get("labels") or {}), **ours},
            "annotations": dict(meta.get("annotations") or {}),
            "ownerReferences": [controller | {"controller": True}],
        }
    }
