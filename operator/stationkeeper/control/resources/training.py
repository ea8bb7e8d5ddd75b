"""The training Job: prepare, train, evaluate-and-publish, one after the other in one pod."""

from collections.abc import Mapping

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.meta import (
    CONTAINER_PREPARE,
    CONTAINER_PUBLISH,
    CONTAINER_TRAIN,
    ENV_ATTEMPT,
    ENV_DATA,
    ENV_EPISODE,
    ENV_MODEL,
    PATH_DATA,
    PATH_MODEL,
    PATH_WORK,
    STEP_COLLECT,
)
from stationkeeper.control.resources.common import Image, Object, Owner, container, environment
from stationkeeper.control.resources.jobs import attempt_job


def training_job(owner: Owner, config: TrainConfig, image: Image) -> Object:
    """The complete Job of one attempt."""
    resources = config.training.resources
    with_store = environment(config, owner.spec.storage)
    everything: dict[str, str | tuple[str, bool]] = {
        "data": PATH_DATA,
        "model": PATH_MODEL,
        "work": PATH_WORK,
        "tmp": "/tmp",  # noqa: S108  an emptyDir of the pod's own
    }
    judge = everything | {"data": (PATH_DATA, True), "model": (PATH_MODEL, True)}
    steps = [
        container(CONTAINER_PREPARE, image, _step(CONTAINER_PREPARE), with_store, resources, everything),
        _learner(owner, config, image),
        container(CONTAINER_PUBLISH, image, _step(CONTAINER_PUBLISH), with_store, resources, judge),
    ]
    volumes = ["data", "model", "work", "tmp", "scratch"]
    return attempt_job(owner, config, config.training.time_limit, steps, volumes, **_pull_secrets(config))


def _learner(owner: Owner, config: TrainConfig, image: Image) -> Object:
    """The step that fits. A team's code may leave anything behind, and publishing has credentials and its home in /tmp: they
    share nothing but the model."""
    mounts: dict[str, str | tuple[str, bool]] = {"data": (PATH_DATA, True), "model": PATH_MODEL, "scratch": "/tmp"}  # noqa: S108
    if config.training.container:
        return _team(config, mounts)
    if config.training.workload:  # it waits for the model that comes from other machines
        step, env = STEP_COLLECT, environment(config, owner.spec.storage)
    else:
        step, env = CONTAINER_TRAIN, environment(config, None)
    return container(CONTAINER_TRAIN, image, _step(step), env, config.training.resources, mounts)


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
