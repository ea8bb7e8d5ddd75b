"""Estimators that have answered already: what scikit-learn's scorers are handed, rows being positions of stored predictions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

Rows = NDArray[np.intp]


class _Stored(BaseEstimator):  # type: ignore[misc, unused-ignore]
    """An estimator that has answered already."""

    def __init__(self, answers: Any = None) -> None:
        self.answers = answers

    def predict(self, rows: Rows) -> Any:
        """What scorers ask for."""
        return self.answers[rows]


class StoredRegressor(RegressorMixin, _Stored):  # type: ignore[misc, unused-ignore]
    """Answers are values, shape (rows,)."""


class StoredClassifier(ClassifierMixin, _Stored):  # type: ignore[misc, unused-ignore]
    """Answers are numbers of classes."""

    def __init__(self, answers: Any = None, classes: int = 2) -> None:
        super().__init__(answers)
        self.classes = classes
        self.classes_ = np.arange(classes)


class StoredProbabilities(StoredClassifier):
    """With `probabilities`, shape (rows, classes); rows must add up to 1."""

    def __init__(self, answers: Any = None, probabilities: Any = None) -> None:
        super().__init__(answers, 2 if probabilities is None else probabilities.shape[1])
        self.probabilities = probabilities
        self._ranks: dict[int, tuple[NDArray[np.intp], int]] = {}

    def ranks(self, label: int) -> tuple[NDArray[np.intp], int]:
        """The rank of each row by the probability of a class, and how many ranks there are; sorted once."""
        if label not in self._ranks:
            values, inverse = np.unique(self.probabilities[:, label], return_inverse=True)
            self._ranks[label] = inverse, len(values)
        return self._ranks[label]

    def predict_proba(self, rows: Rows) -> Any:
        """What scorers ask for."""
        return self.probabilities[rows]


def at(estimator: Any, rows: Rows) -> Any:
    """The same with the answers to some rows."""
    if isinstance(estimator, StoredRegressor):
        return StoredRegressor(estimator.answers[rows])
    if isinstance(estimator, StoredProbabilities):
        return StoredProbabilities(estimator.answers[rows], estimator.probabilities[rows])
    return StoredClassifier(estimator.answers[rows], estimator.classes)


def row_scores(metric: str, estimator: Any, truth: NDArray[Any]) -> NDArray[np.float64] | None:
    """Scores of single rows, for metrics that are their mean; None for others."""
    if metric == "accuracy":
        return np.asarray(estimator.answers == truth, dtype=np.float64)
    if metric == "neg_mean_absolute_error":
        return np.asarray(-np.abs(estimator.answers - truth))
    if metric == "neg_mean_squared_error":
        return np.asarray(-np.square(estimator.answers - truth))
    if metric == "neg_log_loss" and isinstance(estimator, StoredProbabilities):
        likely = estimator.probabilities[np.arange(len(truth)), truth]
        return np.asarray(np.log(np.clip(likely, np.finfo(np.float64).eps, 1.0)))
    if metric == "neg_brier_score" and isinstance(estimator, StoredProbabilities):
        likely = estimator.probabilities[np.arange(len(truth)), truth]
        whole = np.square(estimator.probabilities).sum(axis=1) - 2 * likely + 1
        return np.asarray(-whole / 2 if estimator.classes == 2 else -whole)  # as scikit-learn scales it
    return None


def normal(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows that sum to one in double precision: log loss warns about float32's rounding."""
    total = probabilities.sum(axis=1, keepdims=True)
    even = np.full_like(probabilities, 1 / probabilities.shape[1])
    normal: NDArray[np.float64] = np.divide(probabilities, total, out=even, where=total > 0)
    return normal
