"""scikit-learn's scorers on predictions that were made once.

A scorer wants an estimator and rows. `Answers` is an estimator whose rows are the positions of stored predictions, so a
resample of rows is an index array and no model predicts twice.
"""

import difflib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.metrics import get_scorer, get_scorer_names

from stationkeeper.api.evaluation import Gate
from stationkeeper.api.manifest import Task
from stationkeeper.workloads.artifacts.outputs import Answering, positive
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.ranked import ranked
from stationkeeper.workloads.training.stored import (
    Rows,
    StoredClassifier,
    StoredProbabilities,
    StoredRegressor,
    at,
    normal,
    row_scores,
)

_UNWEIGHTED: Final = ("roc_auc_ovo", "roc_auc_ovo_weighted")


def check_metrics(gates: Sequence[Gate]) -> None:
    """Refuse gates that no training could pass through.

    Raises:
        AttemptEnded: InvalidData with UnknownMetric or InvalidSpec.
    """
    for gate in gates:
        if said := unknown(gate.metric):
            raise invalid("UnknownMetric", said)
    if all(gate.min is None for gate in gates):
        raise invalid(
            "InvalidSpec", "evaluation.gates: at least one gate needs `min`, or the first model would be judged by nothing"
        )


def unknown(metric: str) -> str | None:
    """Why a metric is no scorer, with what may have been meant; None when it is one."""
    known = get_scorer_names()
    if metric in known:
        return None
    near = difflib.get_close_matches(metric, known, 3)
    hint = f"did you mean {' or '.join(near)}?" if near else f"for example {', '.join(known[:5])}"
    return f"{metric!r} is not a scorer of scikit-learn; {hint}"


@contextmanager
def unchecked() -> Iterator[None]:
    """Without scikit-learn's checks of values that have passed once: in resamples they take longer than the metric."""
    with config_context(assume_finite=True, skip_parameter_validation=True):
        yield


class Answers:
    """Predictions of one model and the truth of the same rows, ready for any scorer.

    Classes are numbered in the order of `classes`; in the binary task the positive one is 1, as scorers expect.
    """

    def __init__(self, estimator: Any, truth: NDArray[Any]) -> None:
        self.truth = truth
        self._estimator = estimator
        self._by_row: dict[str, NDArray[np.float64] | None] = {}

    @classmethod
    def of_values(cls, values: NDArray[np.float64], truth: NDArray[np.float64]) -> Self:
        """Of a regression."""
        return cls(StoredRegressor(values), truth)

    @classmethod
    def of_classes(cls, predictions: Predictions, given: Sequence[str], classes: Sequence[str], truth: Sequence[str]) -> Self:
        """Of a classification. `given` is the order of the columns of the probabilities, `classes` that of the answers.

        Raises:
            ValueError: when the two do not hold the same classes.
        """
        if set(given) != set(classes):
            raise ValueError(f"other classes: {', '.join(sorted(set(given) ^ set(classes))[:5])}")
        index = {label: position for position, label in enumerate(classes)}
        assert predictions.labels is not None
        labels = np.array([index[label] for label in predictions.labels], dtype=np.int64)
        estimator = StoredClassifier(labels, len(classes))
        if predictions.probabilities is not None:
            ordered = predictions.probabilities[:, [list(given).index(label) for label in classes]]
            estimator = StoredProbabilities(labels, normal(ordered))
        return cls(estimator, np.array([index[label] for label in truth], dtype=np.int64))

    @property
    def rows(self) -> Rows:
        """All rows."""
        return np.arange(len(self.truth))

    @property
    def given(self) -> NDArray[Any]:
        """The values of a regression, or the numbers of the classes that were answered."""
        return np.asarray(self._estimator.answers)

    @property
    def probabilities(self) -> NDArray[np.float64] | None:
        """Shape (rows, classes), rows adding up to 1; None where there are none."""
        return getattr(self._estimator, "probabilities", None)

    def judged_by(self, truth: NDArray[Any], rows: Rows | None = None) -> "Answers":
        """The same answers, or those to `rows`, against another truth."""
        return Answers(self._estimator if rows is None else at(self._estimator, rows), truth)

    def constant(self, metric: str) -> "Answers | None":
        """The best predictor for these rows that knows how the truth is distributed and nothing of any row.

        None where no constant has a score: some metrics want answers of both classes, or above zero.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # precision is undefined where nobody is called positive
            made = [Answers(estimator, self.truth) for estimator in self._constants()]
            scores = np.array([each.score_or_nan(metric) for each in made])
        return made[int(np.nanargmax(scores))] if np.isfinite(scores).any() else None

    def score_or_nan(self, metric: str) -> float:
        """The score on all rows; NaN where it cannot be computed."""
        try:
            return self.score(metric, self.rows)
        except (ValueError, AttributeError, TypeError):
            return float("nan")

    def _constants(self) -> Iterator[Any]:
        if isinstance(self._estimator, StoredRegressor):
            for value in (self.truth.mean(), np.median(self.truth)):
                yield StoredRegressor(np.full(len(self.truth), value))
            return
        classes = self._estimator.classes
        shares = np.bincount(self.truth, minlength=classes) / len(self.truth)
        for label in range(2) if classes == 2 else [int(shares.argmax())]:  # of many classes the commonest is the best guess
            labels = np.full(len(self.truth), label)
            if self.probabilities is None:
                yield StoredClassifier(labels, classes)
            else:
                yield StoredProbabilities(labels, np.tile(shares, (len(labels), 1)))

    def score(self, metric: str, rows: Rows) -> float:
        """The score on these rows; NaN where it does not exist there.

        Raises:
            ValueError, AttributeError: when the metric does not fit the task, or the model gives no probabilities.
        """
        return float(get_scorer(metric)(self._estimator, rows, self.truth[rows]))

    def resampled(self, metric: str, weights: NDArray[np.int64]) -> float:
        """The score when row i occurs `weights[i]` times."""
        try:
            return self.weighted(metric, weights)
        except TypeError:  # the metric does not know weights
            return self.score(metric, np.repeat(self.rows, weights))

    def weighted(self, metric: str, weights: NDArray[Any]) -> float:
        """The score when row i counts `weights[i]`.

        Raises:
            TypeError: when the metric knows no weights.
            ValueError, AttributeError: as `score`.
        """
        if isinstance(self._estimator, StoredProbabilities):
            found = ranked(metric, self._estimator, self.truth, weights)
            if found is not None:
                return found
        if metric in _UNWEIGHTED and self._estimator.classes > 2:
            raise TypeError(f"{metric} knows no weights")  # scikit-learn says so by a ValueError, as of many other things
        losses = self._losses(metric)
        if losses is not None:
            return float(weights @ losses / weights.sum())
        scorer = get_scorer(metric)
        if isinstance(self._estimator, StoredClassifier) and scorer._response_method == "predict":
            return self._by_cell(scorer, weights)
        rows = np.flatnonzero(weights)  # a class without weight is none: scorers would count it
        return float(scorer(self._estimator, rows, self.truth[rows], sample_weight=weights[rows]))

    def _by_cell(self, scorer: Any, weights: NDArray[Any]) -> float:
        """Metrics of labels alone see of a row its truth and its answer only: a few cells stand for all rows."""
        classes = self._estimator.classes
        cells = np.bincount(self.truth * classes + self.given, weights, classes * classes)
        filled = np.flatnonzero(cells)
        truth, given = np.divmod(filled, classes)
        return float(scorer(StoredClassifier(given, classes), np.arange(len(filled)), truth, sample_weight=cells[filled]))

    def _losses(self, metric: str) -> NDArray[np.float64] | None:
        """Scores of single rows, for metrics that are their mean."""
        if metric not in self._by_row:
            self._by_row[metric] = row_scores(metric, self._estimator, self.truth)
        return self._by_row[metric]


def scoring_order(model: Answering) -> list[str]:
    """Classes in the order that scorers expect: in the binary task the positive one last."""
    if model.task is not Task.BINARY:
        return list(model.classes)
    return sorted(model.classes, key=lambda label: label == positive(model))


def judged(model: Answering, predictions: Predictions, truth: pl.Series, given: Sequence[str] | None = None) -> Answers:
    """Predictions beside the truth of the same rows.

    Args:
        model: whose task and classes the truth is of.
        predictions: of it, or of another model of the same classes.
        truth: class labels as text, or numbers, also as text.
        given: the order of the columns of the probabilities; without it that of scorers.

    Raises:
        ValueError: when the predictions are of other classes.
    """
    if predictions.values is not None:
        return Answers.of_values(predictions.values, truth.cast(pl.Float64).to_numpy())
    order = scoring_order(model)
    return Answers.of_classes(predictions, order if given is None else given, order, truth.to_list())
