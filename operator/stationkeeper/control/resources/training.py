"""The training Job: prepare, train, evaluate-and-publish, one after the other in one pod."""

from collections.abc import Mapping, Sequence

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.meta import (
    COMPONENT_TRAINING,
    CONTAINER_PREPARE,
    CONTAINER_PUBLISH,
    CONTAINER_TRAIN,
    ENV_ATTEMPT,
    ENV_DATA,
    ENV_EPISODE,
    ENV_MODEL,
    EXIT_INVALID,
    LABEL_EPISODE,
    PATH_DATA,
    PATH_MODEL,
    PATH_WORK,
    STEP_COLLECT,
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
    whole_seconds,
)

RETRIES = 3  # pods of one attempt, for what may pass: a store that does not answer
KEEP_SECONDS = 24 * 3600  # a finished Job stays for people to look at


def training_job(owner: Owner, config: TrainConfig, image: Image) -> Object:
    """The complete Job of one attempt."""
    job_labels = labels(owner, COMPONENT_TRAINING, **{LABEL_EPISODE: config.episode})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(owner, names.training_job(owner.name, owner.uid, config.episode, config.attempt), job_labels),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": whole_seconds(config.training.time_limit),
            "ttlSecondsAfterFinished": KEEP_SECONDS,
            "podFailurePolicy": failure_policy([CONTAINER_PREPARE, CONTAINER_TRAIN, CONTAINER_PUBLISH]),
            "template": {"metadata": {"labels": job_labels}, "spec": _pod(owner, config, image)},
        },
    }


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


def _pod(owner: Owner, config: TrainConfig, image: Image) -> Object:
    resources = config.training.resources
    with_store = environment(config, owner.spec.storage)
    without_store = environment(config, None)
    everything: dict[str, str | tuple[str, bool]] = {
        "data": PATH_DATA,
        "model": PATH_MODEL,
        "work": PATH_WORK,
        "tmp": "/tmp",  # noqa: S108  an emptyDir of the pod's own
    }
    # A team's code may leave anything behind, and publishing has credentials and its home in /tmp: they share nothing but the model.
    learn: dict[str, str | tuple[str, bool]] = {"data": (PATH_DATA, True), "model": PATH_MODEL, "scratch": "/tmp"}  # noqa: S108
    judge = everything | {"data": (PATH_DATA, True), "model": (PATH_MODEL, True)}
    if config.training.container:
        learner = _team(config, learn)
    elif config.training.workload:  # it waits for the model that comes from other machines
        learner = container(CONTAINER_TRAIN, image, _step(STEP_COLLECT), with_store, resources, learn)
    else:
        learner = container(CONTAINER_TRAIN, image, _step(CONTAINER_TRAIN), without_store, resources, learn)
    steps = [
        container(CONTAINER_PREPARE, image, _step(CONTAINER_PREPARE), with_store, resources, everything),
        learner,
        container(CONTAINER_PUBLISH, image, _step(CONTAINER_PUBLISH), with_store, resources, judge),
    ]
    return pod_spec(
        steps[2:],
        ["data", "model", "work", "tmp", "scratch"],
        initContainers=steps[:2],
        restartPolicy="Never",
        terminationGracePeriodSeconds=10,
        **_pull_secrets(config),
    )


def _team(config: TrainConfig, mounts: Mapping[str, str | tuple[str, bool]]) -> Object:
    """The team's own container: rows in, a model out. It has no credentials, no configuration of ours, and never the holdout."""
    theirs = config.training.container
    assert theirs is not None
    given = {ENV_DATA: PATH_DATA, ENV_MODEL: PATH_MODEL, ENV_EPISODE: config.episode, ENV_ATTEMPT: str(config.attempt)}
    env: list[Object] = [{"name": name, "value": value} for name, value in given.items()]
    # The kubelet reads `$(NAME)` as a variable; here it is what the team wrote.
    env += [{"name": variable.name, "value": variable.value.replace("$", "$$")} for variable in theirs.env]
    image = Image(theirs.image, "IfNotPresent")
    made = container(CONTAINER_TRAIN, image, theirs.command, env, config.training.resources, mounts)
    made["args"] = list(theirs.args)
    return {name: value for name, value in made.items() if value or name not in ("command", "args")}


def _pull_secrets(config: TrainConfig) -> Object:
    theirs = config.training.container
    return {"imagePullSecrets": [{"name": name} for name in theirs.pull_secrets]} if theirs and theirs.pull_secrets else {}


def _step(name: str) -> list[str]:
    return ["python3", "-m", "stationkeeper.workloads.jobs.train", name]
