"""Captured outputs as answers that scorers can judge; the model itself is not asked again."""

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import get_scorer

from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.workloads.artifacts.captured import OUTPUT, event_at
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.outputs import LABEL, PROBABILITY, VALUE, probability_of
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.bootstrap import time_blocks
from stationkeeper.workloads.training.metrics import Answers, judged, scoring_order, unknown

_TASKS: Final = {"sklearn.metrics._regression": "a regression", "sklearn.metrics.cluster._supervised": "a clustering"}
_ODD: Final = 0.01  # share of answers that are none, above which the others say nothing of the model
_ROUNDING: Final = 1e-4  # by which probabilities in float32 may lie outside 0 and 1


class MetricError(ValueError):
    """The metric of a policy cannot be computed for this model; the message says why."""


def sound(rows: pl.DataFrame, manifest: Manifest) -> tuple[pl.DataFrame, str]:
    """The rows whose answers can be judged, and what is to be said of the others.

    A model that is given what it never saw may overflow: then the answer is no number.

    Raises:
        MetricError: when there are so many others that the rest says nothing of the model.
        MalformedArtifact: as `answered`.
    """
    name = answered(rows, manifest)
    if manifest.task is Task.REGRESSION:
        good = _number(name).is_finite()
    else:
        likely = [_number(column).is_between(-_ROUNDING, 1 + _ROUNDING) for column in _probabilities(rows, manifest)]
        good = pl.all_horizontal(pl.col(name).cast(pl.String).is_in(manifest.classes), *likely)
    kept = rows.filter(good)
    others = rows.height - kept.height
    if not others:
        return rows, ""
    said = f"{others} of {rows.height} captured answers are no {'finite number' if manifest.task is Task.REGRESSION else 'class or no probability'}"
    if others > _ODD * rows.height:
        raise MetricError(f"{said}: the model fails on these inputs")
    return kept, f"{said}: left out"


def answered(rows: pl.DataFrame, manifest: Manifest) -> str:
    """The column with what the model answered.

    Raises:
        MalformedArtifact: when the rows, if any, lack it: they are another model's.
    """
    name = OUTPUT + (VALUE if manifest.task is Task.REGRESSION else LABEL)
    if not _filled(rows, name):
        raise MalformedArtifact(f"captured rows have no {name}: they are not of a {manifest.task} model")
    return name


def predictions(rows: pl.DataFrame, manifest: Manifest) -> Predictions:
    """What was answered, of rows that are `sound`; probabilities in the order of scorers.

    Raises:
        MalformedArtifact: as `answered`.
    """
    name = answered(rows, manifest)
    if manifest.task is Task.REGRESSION:
        return Predictions(values=rows.select(_number(name)).to_series().to_numpy())
    columns = _probabilities(rows, manifest)
    likely = rows.select(_number(column).clip(0.0, 1.0) for column in columns).to_numpy() if columns else None
    if likely is not None and manifest.task is Task.BINARY:
        likely = np.column_stack([1 - likely[:, 0], likely[:, 0]])
    return Predictions(labels=rows[name].cast(pl.String).to_numpy(), probabilities=likely)


def answers(rows: pl.DataFrame, manifest: Manifest, truth: pl.Series) -> Answers:
    """Captured rows that are `sound` and their truth, ready for any scorer.

    Args:
        rows: captured.
        manifest: of the revision that answered.
        truth: classes of the manifest, or numbers, as text.

    Raises:
        MalformedArtifact: as `answered`.
    """
    return judged(manifest, predictions(rows, manifest), truth)


def _probabilities(rows: pl.DataFrame, manifest: Manifest) -> list[str]:
    """The columns with the probabilities, in the order of scorers; of two classes the positive one's; none where none were kept."""
    outputs = [PROBABILITY] if manifest.task is Task.BINARY else [probability_of(name) for name in scoring_order(manifest)]
    names = [OUTPUT + name for name in outputs]
    return names if all(_filled(rows, name) for name in names) else []


def _filled(rows: pl.DataFrame, name: str) -> bool:
    return name in rows.columns and (rows.is_empty() or rows[name].null_count() < rows.height)


def _number(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64, strict=False)


def blocks(rows: pl.DataFrame) -> NDArray[np.int64]:
    """The block of time of each row, for resampling."""
    return time_blocks(rows.select(event_at(rows).dt.epoch("us")).to_series().to_numpy())


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
