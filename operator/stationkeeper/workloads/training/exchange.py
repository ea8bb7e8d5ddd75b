"""What an attempt and the workload that trains for it on other machines hand each other, through the store.

The rows go there by `prepare`, and come to each machine by `fetch`; the model goes there by `deliver`, from the machine that has
it, and comes back by `collect`. Every object is written once (`If-None-Match: *`): of two models the first one counts.
"""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.summary import FailureSummary, HandoverSummary
from stationkeeper.workloads.artifacts import keys
from stationkeeper.workloads.artifacts.errors import StoreUnavailable
from stationkeeper.workloads.artifacts.store import Store
from stationkeeper.workloads.training.challenger import MAX_BYTES, content
from stationkeeper.workloads.training.handover import Paths, Prepared

log = logging.getLogger(__name__)

DONE: Final = "done"  # an empty file, the last that training leaves: what it left before is whole
LOOK_SECONDS: Final = 2.0
_TELL_SECONDS: Final = 300.0


def hand_over(config: TrainConfig, store: Store, paths: Paths) -> HandoverSummary:
    """Put the rows where the workload's pods find them; the schema comes last. The operator waits for this word."""
    rows = Prepared.model_validate_json(paths.prepared.read_bytes()).data.rows
    for path in _rows(paths):
        store.create(_key(config, path), path.read_bytes())
    return HandoverSummary(episode=config.episode, attempt=config.attempt, rows=rows)


def fetch(config: TrainConfig, store: Store, paths: Paths) -> None:
    """Bring the rows to this machine.

    Raises:
        StoreError: when the store fails, or has none.
    """
    paths.make()
    for path in _rows(paths):
        store.download(_key(config, path), path)
    log.info("fetched the rows of attempt %d of episode %s", config.attempt, config.episode)


def deliver(config: TrainConfig, store: Store, paths: Paths, ended: Callable[[], bool], wait: Callable[[float], object]) -> bool:
    """Wait until training has left a model here, or why there is none, and put it where the attempt finds it.

    Parameters:
        ended: whether this pod is told to end: then there is a last look.
        wait: sleeps for so many seconds, or less when told to end.

    Returns:
        Whether anything was left: on a machine that only helps, nothing is.
    """
    last = False
    while not _whole(paths):
        if last:
            return False
        wait(LOOK_SECONDS)
        last = ended()
    path, data = _left(paths)
    if store.create(_key(config, path), data):
        log.info("delivered %s, %d bytes", path.name, len(data))
    else:
        log.warning("%s is there already; the first one counts", path.name)
    return True


def collect(config: TrainConfig, store: Store, paths: Paths, wait: Callable[[float], object] = time.sleep) -> None:
    """Wait for the model, for as long as the Job may take: whether the workload still runs is the operator's to see."""
    waited = 0.0
    while True:
        try:
            for path in _models(paths):
                if store.exists(_key(config, path)):
                    store.download(_key(config, path), path)
                    return
        except StoreUnavailable as error:  # hours of training are not thrown away for a minute without the store
            log.warning("looked for the model in vain: %s", error)
        if waited % _TELL_SECONDS == 0:
            log.info("waiting for the model that the workload leaves (%.0f s so far)", waited)
        wait(LOOK_SECONDS)
        waited += LOOK_SECONDS


def _left(paths: Paths) -> tuple[Path, bytes]:
    """The one thing that training left; where it is none, or more than one, a `FailureSummary` in its place."""
    found = [(path, data) for path in _models(paths) if (data := content(path, MAX_BYTES)) is not None]
    if len(found) == 1:
        return found[0]
    said = f"training left {len(found)} of {paths.fitted.name} and {paths.onnx.name}; it must leave one of them, of at most {MAX_BYTES} bytes"
    return paths.broken, FailureSummary(reason="TrainingFailed", message=said).encode()


def _rows(paths: Paths) -> tuple[Path, ...]:
    return paths.train, paths.input, paths.schema


def _models(paths: Paths) -> tuple[Path, ...]:
    return paths.fitted, paths.onnx, paths.broken


def _whole(paths: Paths) -> bool:
    return (paths.model / DONE).is_file() and not (paths.model / DONE).is_symlink()


def _key(config: TrainConfig, path: Path) -> str:
    return keys.exchange(config.episode, config.attempt, path.name)
