"""The training pod: `python -m stationkeeper.workloads.jobs.train prepare|train|collect|evaluate-and-publish`."""

import logging
import os
import sys
from collections.abc import Callable, Sequence

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.meta import CONTAINER_PREPARE, CONTAINER_PUBLISH, CONTAINER_TRAIN, EXIT_INVALID, EXIT_OK, STEP_COLLECT
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.jobs._attempt import Report, early, last
from stationkeeper.workloads.jobs._run import configure_logging, run
from stationkeeper.workloads.training import outcomes
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.handover import Paths

log = logging.getLogger(__name__)

Open = Callable[[TrainConfig, str | None], Store]


def open_store(config: TrainConfig, uri: str | None) -> Store:
    """The store of the Model, or with `uri` that of training data or labels."""
    return S3Store.open(config.storage, uri)


def step_prepare(config: TrainConfig, paths: Paths, opened: Open = open_store) -> Report:
    """Find an outcome that is there already, or prepare the rows."""
    from stationkeeper.workloads.quality.feedback import gather
    from stationkeeper.workloads.training.exchange import hand_over
    from stationkeeper.workloads.training.prepare import prepare

    paths.make()
    store = opened(config, None)
    summary = outcomes.stored(store, config)
    if summary is None:
        try:
            prepare(config, store, lambda uri: opened(config, uri), paths, gather)
        except AttemptEnded as ending:
            summary = outcomes.settle(store, config, outcomes.ended(config, ending))
    if summary is None:
        if not config.training.workload:
            return None, EXIT_OK
        return hand_over(config, store, paths), EXIT_OK
    return early(summary, paths)


def step_collect(config: TrainConfig, paths: Paths, opened: Open = open_store) -> Report:
    """Wait for the model that other machines train."""
    from stationkeeper.workloads.training.exchange import collect

    if not paths.markers[0].is_file():
        collect(config, opened(config, None), paths)
    return None, EXIT_OK


def step_train(config: TrainConfig, paths: Paths) -> Report:
    """Fit, without any access to the store."""
    from stationkeeper.workloads.training.fit import train

    if not paths.markers[0].is_file():
        train(config, paths)
    return None, EXIT_OK


def step_publish(config: TrainConfig, paths: Paths, opened: Open = open_store) -> Report:
    """Judge and publish, or repeat the outcome that `prepare` found."""
    from stationkeeper.workloads.training.publish import evaluate_and_publish

    summary = outcomes.marked(paths)
    if summary is None:
        store = opened(config, None)
        try:
            summary = evaluate_and_publish(config, store, paths)
        except AttemptEnded as ending:
            summary = outcomes.settle(store, config, outcomes.ended(config, ending))
    return last(summary)


STEPS: dict[str, Callable[[TrainConfig, Paths], Report]] = {
    CONTAINER_PREPARE: step_prepare,
    CONTAINER_TRAIN: step_train,
    STEP_COLLECT: step_collect,
    CONTAINER_PUBLISH: step_publish,
}


def main(arguments: Sequence[str]) -> int:
    """Run one step; returns the exit code."""
    configure_logging()
    # Before scikit-learn is loaded: threads that spin while they wait make a fit 20 times slower on a busy node.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if len(arguments) != 1 or arguments[0] not in STEPS:
        log.error("usage: python -m stationkeeper.workloads.jobs.train %s", "|".join(STEPS))
        return EXIT_INVALID
    return run(lambda: STEPS[arguments[0]](TrainConfig.from_environment(), Paths.from_environment()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
