"""The second container: fit the pipeline on the training rows. It never touches the store."""

import logging
import time
import warnings
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import JsonValue
from sklearn.pipeline import Pipeline

from stationkeeper.api.jobs import TrainConfig
from stationkeeper.api.manifest import Task
from stationkeeper.api.summary import FailureSummary
from stationkeeper.workloads.artifacts.boosters import said
from stationkeeper.workloads.artifacts.columns import from_frame, model_input
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.runtime import dump_skops, load_skops
from stationkeeper.workloads.training import estimators, schema, search
from stationkeeper.workloads.training.ending import AttemptEnded, failed
from stationkeeper.workloads.training.handover import Paths, Schema
from stationkeeper.workloads.training.pipeline import build_pipeline
from stationkeeper.workloads.training.windows import learned

log = logging.getLogger(__name__)

_AS_GIVEN: Final[Mapping[str, JsonValue]] = MappingProxyType({})


def train(config: TrainConfig, paths: Paths) -> None:
    """Fit on the rows that `prepare` wrote and leave the pipeline as skops, or say why there is none.

    A failure is left as a file, because only the next container can write the outcome to the store.
    """
    meaning = Schema.model_validate_json(paths.schema.read_bytes())
    try:
        rows = pl.read_parquet(paths.train)
        for place, stretch in enumerate(meaning.stretches or [None]):
            _train_on(config, meaning, learned(rows, meaning, stretch), paths, place)
    except AttemptEnded as ending:
        paths.broken.write_bytes(FailureSummary(reason=ending.reason, message=ending.message).encode())


def _train_on(config: TrainConfig, meaning: Schema, rows: pl.DataFrame, paths: Paths, place: int) -> None:
    params: Mapping[str, JsonValue] = {}
    if config.training.search:
        data, target = model_input(from_frame(rows, meaning.features), meaning.features), target_of(rows, meaning)
        found = search.find(config, meaning, data, target, max(1, len(meaning.stretches)))
        paths.found_on(place).write_bytes(found.model_dump_json(by_alias=True).encode())
        params = found.params
    paths.fitted_on(place).write_bytes(storable(fit(config, meaning, rows, params)))


def fit(config: TrainConfig, meaning: Schema, rows: pl.DataFrame, params: Mapping[str, JsonValue] = _AS_GIVEN) -> Pipeline:
    """A fitted pipeline, with the parameters that a search found. The same configuration and rows give the same one.

    Raises:
        AttemptEnded: Failed, when the estimator raises.
    """
    seed = estimators.seed_of(config.model.uid, config.episode, config.attempt)
    wanted = config.training.estimator
    assert wanted is not None, "a team's own container trains"
    estimator = estimators.build(search.with_params(wanted, params), seed)
    data = model_input(from_frame(rows, meaning.features), meaning.features)
    name = type(estimator).__name__
    log.info("fitting %s on %d rows and %d features", name, rows.height, len(meaning.features))
    start = time.monotonic()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fitted: Pipeline = build_pipeline(estimator, data).fit(data.frame(), target_of(rows, meaning))
    except MemoryError:
        raise  # the machine's fault, not the estimator's
    except Exception as error:
        raise failed("TrainingFailed", f"{name}.fit raised {type(error).__name__}: {said(error)[:500]}") from error
    for line in sorted({str(warning.message).splitlines()[0][:200] for warning in caught}):
        log.warning("%s: %s", name, line)
    log.info("fitted %s in %.1f s", name, time.monotonic() - start)
    return fitted


def target_of(rows: pl.DataFrame, meaning: Schema) -> NDArray[Any]:
    """The target as the estimator sees it: numbers, or positions in the list of classes."""
    if meaning.task is Task.REGRESSION:
        return np.asarray(rows[meaning.target].to_numpy(), dtype=np.float64)
    return schema.positions(rows[meaning.target], meaning.classes)


def storable(fitted: Pipeline) -> bytes:
    """The pipeline as skops bytes that can be loaded again.

    Raises:
        AttemptEnded: Failed, when the estimator has parts that are not on the trusted list.
    """
    try:
        data = dump_skops(fitted)
        load_skops(data)
    except (MalformedArtifact, TypeError, NotImplementedError, AttributeError) as error:
        raise failed("TrainingFailed", f"{type(fitted[-1]).__name__} cannot be stored safely: {error}"[:900]) from error
    return data
