"""scikit-learn's scorers on predictions that were made once.

A scorer wants an estimator and rows. `Answers` is an estimator whose rows are the positions of stored predictions, so a
resample of rows is an index array and no model predicts twice.
"""

import difflib
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from stationkeeper.api.manifest import Task
from stationkeeper.api.model import Gate
from stationkeeper.workloads.artifacts.runtime import Predictions
from stationkeeper.workloads.training.ending import invalid

Rows = NDArray[np.intp]


def check_metrics(gates: Sequence[Gate]) -> None:
    """Refuse gates that no training could pass through.

    Raises:
        AttemptEnded: InvalidData with UnknownMetric or InvalidSpec.
    """
    known = get_scorer_names()
    for gate in gates:
        if gate.metric not in known:
            near = difflib.get_close_matches(gate.metric, known, 3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"for example {', '.join(known[:5])}"
            raise invalid("UnknownMetric", f"{gate.metric!r} is not a scorer of scikit-learn; {hint}")
    if all(gate.min is None for gate in gates):
        raise invalid(
            "InvalidSpec", "evaluation.gates: at least one gate needs `min`, or the first model would be judged by nothing"
        )


class _Stored(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """An estimator that has answered already."""

    def __init__(self, answers: Any = None) -> None:
        self.answers = answers

    def predict(self, rows: Rows) -> Any:
        return self.answers[rows]


class _StoredRegressor(RegressorMixin, _Stored):  # type: ignore[misc, unused-ignore]
    pass


class _StoredClassifier(ClassifierMixin, _Stored):  # type: ignore[misc, unused-ignore]
    def __init__(self, answers: Any = None, classes: int = 2) -> None:
        super().__init__(answers)
        self.classes = classes
        self.classes_ = np.arange(classes)


class _StoredProbabilities(_StoredClassifier):
    probabilities: Any = None

    def predict_proba(self, rows: Rows) -> Any:
        return self.probabilities[rows]


class Answers:
    """Predictions of one model and the truth of the same rows, ready for any scorer.

    Classes are numbered in the order of `classes`; in the binary task the positive one is 1, as scorers expect.
    """

    def __init__(self, estimator: Any, truth: NDArray[Any]) -> None:
        self.truth = truth
        self._estimator = estimator
        self._ranks: tuple[NDArray[np.intp], int] | None = None
        self._by_row: dict[str, NDArray[np.float64] | None] = {}

    @classmethod
    def of_values(cls, values: NDArray[np.float64], truth: NDArray[np.float64]) -> Self:
        """Of a regression."""
        return cls(_StoredRegressor(values), truth)

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
        estimator = _StoredClassifier(labels, len(classes))
        if predictions.probabilities is not None:
            estimator = _StoredProbabilities(labels, len(classes))
            estimator.probabilities = _normal(predictions.probabilities[:, [list(given).index(label) for label in classes]])
        return cls(estimator, np.array([index[label] for label in truth], dtype=np.int64))

    @property
    def rows(self) -> Rows:
        """All rows."""
        return np.arange(len(self.truth))

    def score(self, metric: str, rows: Rows) -> float:
        """The score on these rows; NaN where it does not exist there.

        Raises:
            ValueError, AttributeError: when the metric does not fit the task, or the model gives no probabilities.
        """
        return float(get_scorer(metric)(self._estimator, rows, self.truth[rows]))

    def resampled(self, metric: str, weights: NDArray[np.int64]) -> float:
        """The score when row i occurs `weights[i]` times."""
        if metric == "roc_auc" and isinstance(self._estimator, _StoredProbabilities):
            return self._auc(weights)  # sorting anew for each resample would take minutes
        losses = self._losses(metric)
        if losses is not None:
            return float(weights @ losses / weights.sum())
        return self.score(metric, np.repeat(self.rows, weights))

    def _losses(self, metric: str) -> NDArray[np.float64] | None:
        """Scores of single rows, for metrics that are their mean."""
        if metric not in self._by_row:
            self._by_row[metric] = _row_scores(metric, self._estimator, self.truth)
        return self._by_row[metric]

    def _auc(self, weights: NDArray[np.int64]) -> float:
        """Share of pairs (positive, negative) that are in order, ties counting half (Mann and Whitney, 1947)."""
        if self._ranks is None:
            values, inverse = np.unique(self._estimator.probabilities[:, 1], return_inverse=True)
            self._ranks = inverse, len(values)
        inverse, size = self._ranks
        positives = np.bincount(inverse, weights * self.truth, size)
        negatives = np.bincount(inverse, weights * (1 - self.truth), size)
        pairs = positives.sum() * negatives.sum()
        below = np.cumsum(negatives) - negatives / 2
        return float((positives * below).sum() / pairs) if pairs else float("nan")


def _row_scores(metric: str, estimator: Any, truth: NDArray[Any]) -> NDArray[np.float64] | None:
    if metric == "accuracy":
        return np.asarray(estimator.answers == truth, dtype=np.float64)
    if metric == "neg_mean_absolute_error":
        return np.asarray(-np.abs(estimator.answers - truth))
    if metric == "neg_mean_squared_error":
        return np.asarray(-np.square(estimator.answers - truth))
    if metric == "neg_log_loss" and isinstance(estimator, _StoredProbabilities):
        likely = estimator.probabilities[np.arange(len(truth)), truth]
        return np.asarray(np.log(np.clip(likely, np.finfo(np.float64).eps, 1.0)))
    return None


def _normal(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that sum to one in double precision: log loss warns about float32's rounding."""
    total = probabilities.sum(axis=1, keepdims=True)
    even = np.full_like(probabilities, 1 / probabilities.shape[1])
    normal: NDArray[np.float64] = np.divide(probabilities, total, out=even, where=total > 0)
    return normal


def scoring_order(task: Task, classes: Sequence[str], positive: str | None) -> list[str]:
    """Classes in the order that scorers expect: in the binary task the positive one last."""
    return sorted(classes, key=lambda label: label == positive) if task is Task.BINARY else list(classes)
