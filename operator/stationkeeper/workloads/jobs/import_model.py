"""The import of a published file: `python -m stationkeeper.workloads.jobs.import_model prepare|evaluate-and-publish`."""

import logging
import sys
from collections.abc import Callable, Sequence

from stationkeeper.api.jobs import ImportConfig
from stationkeeper.api.meta import CONTAINER_PREPARE, CONTAINER_PUBLISH, EXIT_INVALID, EXIT_OK
from stationkeeper.api.summary import TrainingSummary
from stationkeeper.workloads.artifacts.s3 import S3Store
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.imports.prepare import fetched
from stationkeeper.workloads.jobs._attempt import Report, early, last
from stationkeeper.workloads.jobs._run import configure_logging, run
from stationkeeper.workloads.training import outcomes
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.handover import Paths

log = logging.getLogger(__name__)

Open = Callable[[ImportConfig, str | None], Store]


def open_store(config: ImportConfig, uri: str | None) -> Store:
    """The store of the Model, or with `uri` that of another prefix."""
    return S3Store.open(config.storage, uri)


def step_prepare(config: ImportConfig, paths: Paths, opened: Open = open_store) -> Report:
    """Find an outcome that is there already, or fetch what is to be imported."""
    from stationkeeper.workloads.imports.prepare import prepare

    paths.make()
    store = opened(config, None)
    summary = outcomes.stored(store, config)
    if summary is None:
        try:
            prepare(config, store, lambda uri: opened(config, uri), paths)
        except AttemptEnded as ending:
            summary = _ended(store, config, ending, paths)
    if summary is None:
        return None, EXIT_OK
    return early(summary, paths)


def step_publish(config: ImportConfig, paths: Paths, opened: Open = open_store) -> Report:
    """Judge and publish, or repeat the outcome that `prepare` found."""
    from stationkeeper.workloads.imports.publish import evaluate_and_publish

    summary = outcomes.marked(paths)
    if summary is None:
        store = opened(config, None)
        try:
            summary = evaluate_and_publish(config, store, paths)
        except AttemptEnded as ending:
            summary = _ended(store, config, ending, paths)
    return last(summary)


def _ended(store: Store, config: ImportConfig, ending: AttemptEnded, paths: Paths) -> TrainingSummary:
    which = fetched(paths)
    return outcomes.settle(store, config, outcomes.ended(config, ending, which.digest if which else None))


STEPS: dict[str, Callable[[ImportConfig, Paths], Report]] = {
    CONTAINER_PREPARE: step_prepare,
    CONTAINER_PUBLISH: step_publish,
}


def main(arguments: Sequence[str]) -> int:
    """Run one step; returns the exit code."""
    configure_logging()
    if len(arguments) != 1 or arguments[0] not in STEPS:
        log.error("usage: python -m stationkeeper.workloads.jobs.import_model %s", "|".join(STEPS))
        return EXIT_INVALID
    return run(lambda: STEPS[arguments[0]](ImportConfig.from_environment(), Paths.from_environment()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
