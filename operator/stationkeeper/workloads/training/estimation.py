"""What the holdout tells of later quality (`estimation.json`); no row.

How probabilities came true there, or how large errors were and where; and what the model scored, with what a constant would have
scored on the same rows, in all and for the common values of categorical features.
"""

import warnings
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any, Final, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from stationkeeper.api.base import Tolerant, canonical_json
from stationkeeper.api.manifest import Column, Manifest, Task
from stationkeeper.workloads.artifacts.columns import from_frame, is_numeric
from stationkeeper.workloads.artifacts.errors import MalformedArtifact
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.calibration import Curve, fit_curve
from stationkeeper.workloads.training.losses import Losses, fit_losses
from stationkeeper.workloads.training.metrics import Answers

MIN_SEGMENT: Final = 200  # rows of the holdout
_MAX_COLUMNS: Final = 32
_MAX_VALUES: Final = 10
_MAX_BYTES: Final = 64 * 2**20
_DIGITS: Final = 9
_SCORERS: Final[dict[Task, tuple[str, ...]]] = {
    Task.BINARY: (
        "roc_auc", "neg_log_loss", "accuracy", "balanced_accuracy", "f1", "precision", "recall", "average_precision",
        "neg_brier_score",
    ),
    Task.MULTICLASS: (
        "accuracy", "neg_log_loss", "balanced_accuracy", "f1_macro", "f1_weighted", "roc_auc_ovr", "neg_brier_score",
    ),
    Task.REGRESSION: (
        "neg_mean_absolute_error", "neg_root_mean_squared_error", "neg_mean_squared_error", "neg_median_absolute_error", "r2",
    ),
}  # fmt: skip
_SEGMENT_SCORERS: Final = 3  # the first of them: there are many segments


class Expected(Tolerant):
    """One metric on the holdout."""

    score: float
    constant: float | None  # what the best constant scores on the same rows; None where none has a score


class SegmentExpected(Tolerant):
    """The metrics for one value of a feature that is not numeric; None is a missing value."""

    column: str
    value: str | None
    rows: int
    expected: dict[str, Expected]


class Estimation(Tolerant):
    """The file `estimation.json`."""

    schema_version: Literal[1] = 1
    rows: int
    expected: dict[str, Expected]
    # In the binary task of the positive class; of several classes one each, in the manifest's order; empty without probabilities.
    curves: Annotated[list[Curve], Field(max_length=1000)] = []
    losses: Losses | None = None  # of a regression
    segments: Annotated[list[SegmentExpected], Field(max_length=_MAX_COLUMNS * _MAX_VALUES)] = []

    def encode(self) -> bytes:
        """The file: canonical JSON."""
        return canonical_json(self.model_dump(mode="json", by_alias=True))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            MalformedArtifact: when the bytes are no estimation that this version can read.
        """
        if len(data) > _MAX_BYTES:
            raise MalformedArtifact(f"an estimation of {len(data)} bytes is over the limit of {_MAX_BYTES}")
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise MalformedArtifact(f"not an estimation that this version can read: {error}") from error

    def calibrated(self, probabilities: NDArray[np.float64], observed: Sequence[NDArray[np.float64]] = ()) -> NDArray[np.float64]:
        """How likely each class is, shape (rows, classes), rows adding up to 1; classes in the order of scorers.

        `observed` are curves that were drawn, one for each of `curves`.
        """
        pairs = zip_longest(self.curves, observed)
        if len(self.curves) == 1:
            positive = next(curve.apply(probabilities[:, 1], drawn) for curve, drawn in pairs)
            return np.column_stack((1 - positive, positive))
        each = np.column_stack([curve.apply(probabilities[:, i], drawn) for i, (curve, drawn) in enumerate(pairs)])
        total = each.sum(axis=1, keepdims=True)
        # Where no class seems possible the model's own word is all that is left.
        made: NDArray[np.float64] = np.divide(each, total, out=probabilities.astype(np.float64), where=total > 0)
        return made


def fit(
    manifest: Manifest, metrics: Sequence[str], answers: Answers, holdout: pl.DataFrame, judged: Predictions, seed: int
) -> Estimation:
    """Learn from the answers to the holdout.

    Args:
        manifest: of the revision; its features and classes.
        metrics: of the gates, beside those that are always looked at.
        answers: with the truth; classes in the order of scorers.
        holdout: the same rows.
        judged: the same answers.
        seed: chooses rows where there are more than are needed.
    """
    names = list(dict.fromkeys([*_SCORERS[manifest.task], *metrics]))
    few = list(dict.fromkeys([*metrics, *names[:_SEGMENT_SCORERS]]))
    return Estimation(
        rows=holdout.height,
        expected=_expected(answers, names),
        curves=_curves(answers),
        losses=_losses(manifest, answers, holdout, judged, seed),
        segments=_segments(manifest.features, answers, holdout, few),
    )


def _expected(answers: Answers, names: Sequence[str]) -> dict[str, Expected]:
    found: dict[str, Expected] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a metric without a value says so by its value
        for name in names:
            try:
                score, constant = answers.score(name, answers.rows), answers.constant(name)
            except (ValueError, AttributeError, TypeError):
                continue  # a metric that does not fit these rows is not expected of them
            if np.isfinite(score):
                least = None if constant is None else round(constant.score(name, constant.rows), _DIGITS)
                found[name] = Expected(score=round(score, _DIGITS), constant=least)
    return found


def _curves(answers: Answers) -> list[Curve]:
    probabilities = answers.probabilities
    if probabilities is None:
        return []
    classes = [1] if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    return [fit_curve(probabilities[:, i], answers.truth == i) for i in classes]


def _losses(manifest: Manifest, answers: Answers, holdout: pl.DataFrame, judged: Predictions, seed: int) -> Losses | None:
    if judged.values is None:
        return None
    return fit_losses(judged.values, answers.truth, from_frame(holdout, manifest.features), manifest.features, seed)


def _segments(features: Sequence[Column], answers: Answers, holdout: pl.DataFrame, names: Sequence[str]) -> list[SegmentExpected]:
    found = []
    for feature in [feature for feature in features if not is_numeric(feature)][:_MAX_COLUMNS]:
        values: NDArray[Any] = from_frame(holdout, [feature])[feature.name]
        counts = pl.Series(values, dtype=pl.String).value_counts().filter(pl.col("count") >= MIN_SEGMENT)
        common = counts.sort(["count", ""], descending=[True, False], nulls_last=True).head(_MAX_VALUES)
        for value, count in common.iter_rows():
            rows = np.flatnonzero(values == value)
            part = answers.judged_by(answers.truth[rows], rows)
            found.append(SegmentExpected(column=feature.name, value=value, rows=count, expected=_expected(part, names)))
    return found
