"""How good the answers of a window were, once its labels are there."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.quality.answers import suitable
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.evaluate import answers_for, at, known_rows
from stationkeeper.workloads.training.handover import Schema
from stationkeeper.workloads.training.schema import with_target

_POSITION = "\0position"  # no column of the history is called so


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over labelled rows; None where nothing can be said."""

    value: float | None = None
    rows: int = 0

    def __add__(self, other: "Mean") -> "Mean":
        if self.value is None or other.value is None:
            return other if self.value is None else self
        rows = self.rows + other.rows
        return Mean((self.value * self.rows + other.value * other.rows) / rows, rows)


def score(metric: str, manifest: Manifest, rows: pl.DataFrame, predictions: Predictions) -> Mean:
    """A scikit-learn score of one revision's answers to rows of the history.

    Rows without a label, and of classes that the revision does not know, are left out.

    Raises:
        MetricError: when the metric is none for such a model.
    """
    suitable(metric, manifest, probabilities=predictions.probabilities is not None)
    meaning = Schema(
        task=manifest.task,
        features=manifest.features,
        target=manifest.target,
        classes=manifest.classes,
        class_kind=manifest.class_kind,
        positive_label=manifest.positive_label,
    )
    try:
        labelled = with_target(rows.with_row_index(_POSITION), manifest.target, classifier=manifest.task is not Task.REGRESSION)
    except AttemptEnded:  # in this window the target is of another type: training will say so
        return Mean()
    labelled = labelled.filter(pl.Series(known_rows(labelled, meaning)))
    if labelled.is_empty():
        return Mean()
    answers = answers_for(meaning, manifest.classes, at(predictions, labelled[_POSITION].to_numpy()), labelled)
    try:
        value = answers.score(metric, answers.rows)
    except ValueError:  # one class only, say
        return Mean()
    return Mean(value, labelled.height) if np.isfinite(value) else Mean()
