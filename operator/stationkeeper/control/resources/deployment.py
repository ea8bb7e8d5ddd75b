"""The Deployment of one revision: immutable in what it serves, its replicas the only thing that moves."""

import json

from stationkeeper.api.base import canonical_json, sha256, short
from stationkeeper.api.jobs import RevisionIdentity, ServeConfig
from stationkeeper.api.meta import (
    ANNOTATION_INPUTS,
    ANNOTATION_TEMPLATE,
    COMPONENT_SERVING,
    CONTAINER_SERVE,
    LABEL_COMPONENT,
    LABEL_MODEL,
    LABEL_REVISION,
    PORT_HTTP,
)
from stationkeeper.control.resources import names
from stationkeeper.control.resources.common import (
    Image,
    Object,
    Owner,
    container,
    environment,
    labels,
    metadata,
    pod_spec,
    probe,
    whole_seconds,
)
from stationkeeper.control.resources.foreign import foreign_pod

DRAIN_SECONDS = 10.0  # a pod that is told to stop still answers for this long
_THREADS = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
# As far apart as can be: what fails then takes few replicas with it. None waits for a better place.
_TOPOLOGY = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
GRACE_SECONDS = 40  # drain, the last requests, the last flush of captured rows


def serving_deployment(
    owner: Owner, revision: RevisionIdentity, replicas: int | None, image: Image, live: Object | None = None
) -> Object:
    """The complete Deployment that serves `revision` with `replicas` pods; None: an autoscaler says how many.

    While what the user wrote stays the same, so does the pod template of the `live` Deployment, whichever version of the operator
    built it: upgrades restart nothing (SEMANTICS §4).
    """
    selector = {
        LABEL_MODEL: owner.name,
        LABEL_COMPONENT: COMPONENT_SERVING,
        LABEL_REVISION: str(revision.number),
    }
    pod_labels = labels(owner, COMPONENT_SERVING, **{LABEL_REVISION: str(revision.number)})
    meta = metadata(owner, names.revision(owner.name, owner.uid, revision.number, revision.digest), pod_labels)
    inputs = _inputs(owner)
    template = _first_built(live, inputs) or {"metadata": {"labels": pod_labels}, "spec": _pod(owner, revision, image, selector)}
    annotations = {ANNOTATION_INPUTS: inputs, ANNOTATION_TEMPLATE: canonical_json(template).decode()}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta | {"annotations": annotations},
        "spec": {
            **({} if replicas is None else {"replicas": replicas}),
            "selector": {"matchLabels": selector},
            "progressDeadlineSeconds": whole_seconds(owner.spec.serving.progress_deadline),
            "revisionHistoryLimit": 1,  # history is in ModelRevisions
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": template,
        },
    }


def _inputs(owner: Owner) -> str:
    """Digest of what the user wrote that the pods depend on; defaults are not in it, for a later version may have others."""
    serving = owner.spec.serving.model_dump(
        mode="json", by_alias=True, exclude_defaults=True, include={"resources", "capture", "container"}
    )
    storage = owner.spec.storage.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"adopt"})
    return short(sha256(canonical_json({"serving": serving, "storage": storage})))


def _first_built(live: Object | None, inputs: str) -> Object | None:
    """The pod template as it was first applied for these inputs; None where it was not, or is not readable any more."""
    annotations = (live["metadata"].get("annotations") or {}) if live else {}
    if annotations.get(ANNOTATION_INPUTS) != inputs:
        return None
    try:
        template: Object = json.loads(annotations.get(ANNOTATION_TEMPLATE, ""))
    except ValueError:
        return None
    return template


def _pod(owner: Owner, revision: RevisionIdentity, image: Image, selector: Object) -> Object:
    serving = owner.spec.serving
    if serving.container is not None:
        return foreign_pod(owner, serving.container, revision, image, [_spread(key, selector) for key in _TOPOLOGY])
    config = ServeConfig(
        model=owner.identity,
        storage=owner.spec.storage,
        revision=revision,
        capture=serving.capture,
        port=PORT_HTTP,
        drain_seconds=DRAIN_SECONDS,
    )
    serve = container(
        CONTAINER_SERVE,
        image,
        ["python3", "-m", "stationkeeper.workloads.jobs.serve"],
        environment(config, owner.spec.storage),
        serving.resources,
        {"tmp": "/tmp"},  # noqa: S108  an emptyDir of the pod's own
    )
    # Capture's threads must not take the cores that requests need.
    serve["env"] += [{"name": name, "value": value} for name, value in _THREADS.items()]
    serve["ports"] = [{"name": "http", "containerPort": PORT_HTTP, "protocol": "TCP"}]
    # Libraries are loaded before anything listens, which takes a minute where the CPU is short.
    serve["startupProbe"] = probe("/v2/health/live", period=1, failures=300)
    serve["readinessProbe"] = probe("/v2/health/ready", period=2, failures=3)
    serve["livenessProbe"] = probe("/v2/health/live", period=10, failures=6)
    return pod_spec(
        [serve],
        ["tmp"],
        terminationGracePeriodSeconds=GRACE_SECONDS,
        topologySpreadConstraints=[_spread(key, selector) for key in _TOPOLOGY],
    )


def _spread(topology_key: str, selector: Object) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": topology_key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
