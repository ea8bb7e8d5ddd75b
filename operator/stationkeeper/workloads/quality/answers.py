"""Captured outputs as answers that scorers can judge; the model itself is not asked again."""

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import get_scorer

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.workloads.artifacts.captured import OUTPUT
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.outputs import LABEL, PROBABILITY, VALUE, positive, probability_of
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.bootstrap import time_blocks
from stationkeeper.workloads.training.metrics import Answers, scoring_order, unknown

_TASKS = {"sklearn.metrics._regression": "a regression", "sklearn.metrics.cluster._supervised": "a clustering"}


class MetricError(ValueError):
    """The metric of a policy cannot be computed for this model; the message says why."""


def order(manifest: Manifest) -> list[str]:
    """Classes in the order of scorers."""
    return scoring_order(manifest.task, manifest.classes, positive(manifest) if manifest.classes else None)


def answered(rows: pl.DataFrame, manifest: Manifest) -> str:
    """The column with what the model answered.

    Raises:
        MalformedArtifact: when the rows, if any, lack it: they are another model's.
    """
    name = OUTPUT + (VALUE if manifest.task is Task.REGRESSION else LABEL)
    if name not in rows.columns or rows[name].null_count():
        raise MalformedArtifact(f"captured rows have no {name}, or not in every row: they are not of a {manifest.task} model")
    return name


def predictions(rows: pl.DataFrame, manifest: Manifest) -> Predictions:
    """What was answered; probabilities in the order of scorers.

    Raises:
        MalformedArtifact: when the rows lack the output of such a model.
    """
    name = answered(rows, manifest)
    if manifest.task is Task.REGRESSION:
        return Predictions(values=rows[name].cast(pl.Float64).to_numpy())
    return Predictions(labels=rows[name].to_numpy(), probabilities=_probabilities(rows, manifest))


def _probabilities(rows: pl.DataFrame, manifest: Manifest) -> NDArray[np.float64] | None:
    binary = manifest.task is Task.BINARY
    names = [OUTPUT + name for name in ([PROBABILITY] if binary else map(probability_of, order(manifest)))]
    if any(name not in rows.columns or rows[name].null_count() for name in names):
        return None
    columns = [rows[name].cast(pl.Float64).to_numpy() for name in names]
    return np.column_stack([1 - columns[0], *columns] if binary else columns)


def answers(rows: pl.DataFrame, manifest: Manifest, truth: pl.Series) -> Answers:
    """Captured rows and their truth, ready for any scorer.

    Args:
        rows: captured.
        manifest: of the revision that answered.
        truth: classes of the manifest, or numbers, as text.

    Raises:
        MalformedArtifact: as `predictions`.
    """
    given = predictions(rows, manifest)
    if given.values is not None:
        return Answers.of_values(given.values, truth.cast(pl.Float64).to_numpy())
    return Answers.of_classes(given, order(manifest), order(manifest), truth.to_list())


def blocks(rows: pl.DataFrame) -> NDArray[np.int64]:
    """The block of time of each row, for resampling."""
    return time_blocks(rows["arrived_at"].dt.epoch("us").to_numpy())


def suitable(metric: str, manifest: Manifest, *, probabilities: bool) -> None:
    """Refuse a metric that cannot be computed from what is captured of this model.

    Raises:
        MetricError: with a metric that could be.
    """
    if said := unknown(metric):
        raise MetricError(said)
    regression = manifest.task is Task.REGRESSION
    scorer = get_scorer(metric)
    # scikit-learn does not say which task a scorer is for; the module of its function does.
    kind = _TASKS.get(scorer._score_func.__module__, "a classification")
    if kind != ("a regression" if regression else "a classification"):
        example = "neg_mean_absolute_error" if regression else "accuracy"
        raise MetricError(f"{metric} judges {kind}, and this model's task is {manifest.task}; use for example {example}")
    if not (regression or probabilities) and _wants_probabilities(scorer._response_method):
        raise MetricError(
            f"{metric} needs probabilities, and captured rows of this model hold labels only; use for example accuracy"
        )


def _wants_probabilities(methods: str | tuple[str, ...]) -> bool:
    return "predict" not in ([methods] if isinstance(methods, str) else methods)
