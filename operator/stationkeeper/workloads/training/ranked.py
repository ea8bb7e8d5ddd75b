"""Metrics that see only the order of probabilities, on weighted rows whose order is known.

scikit-learn sorts anew for each resample, which takes minutes where there are many rows. The values are its own.
"""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# From the weight of positives and of all others at each rank, rising.
_Ranked = Callable[[Floats, Floats], float]


def auc(positives: Floats, negatives: Floats) -> float:
    """Share of pairs (positive, negative) that are in order, ties counting half (Mann and Whitney, 1947); NaN without pairs."""
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float((positives * below).sum() / pairs) if pairs else float("nan")


def average_precision(positives: Floats, negatives: Floats) -> float:
    """Mean of the precision at each threshold, by what its recall gains (Zhu, 2004); NaN without positives."""
    gained = positives[::-1]
    right, called = np.cumsum(gained), np.cumsum(gained + negatives[::-1])
    total = positives.sum()
    precision = np.divide(right, called, out=np.zeros_like(called), where=called > 0)
    return float((gained * precision).sum() / total) if total else float("nan")


_BINARY: Final[dict[str, _Ranked]] = {"roc_auc": auc, "average_precision": average_precision}
_EACH: Final = ("roc_auc_ovr", "roc_auc_ovr_weighted")  # each class against the rest


def ranked(metric: str, estimator: Any, truth: NDArray[np.int64], weights: NDArray[Any]) -> float | None:
    """The score when row i counts `weights[i]`; None for a metric that is not of this kind.

    Args:
        metric: a scikit-learn scorer.
        estimator: a `stored.StoredProbabilities`.
        truth: number of the class of each row.
        weights: not negative, shape (rows,).
    """
    if estimator.classes == 2:
        score = _BINARY.get(metric)
        return None if score is None else score(*_by_rank(estimator, 1, truth, weights))
    if metric not in _EACH:
        return None
    classes = range(estimator.classes)
    each = np.array([auc(*_by_rank(estimator, k, truth, weights)) for k in classes])
    shares = np.bincount(truth, weights, estimator.classes) if metric == "roc_auc_ovr_weighted" else None
    return float(np.average(each, weights=shares))


def _by_rank(estimator: Any, label: int, truth: NDArray[np.int64], weights: NDArray[Any]) -> tuple[Floats, Floats]:
    rank, size = estimator.ranks(label)
    of_it = np.asarray(truth == label, dtype=np.float64) * weights
    positives = np.asarray(np.bincount(rank, of_it, size), dtype=np.float64)
    negatives = np.asarray(np.bincount(rank, weights - of_it, size), dtype=np.float64)
    return positives, negatives
