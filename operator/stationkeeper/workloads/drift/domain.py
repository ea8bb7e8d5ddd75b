"""The domain classifier: how well rows of two samples can be told apart, by all columns together.

The classifier weighs the differences of means and of second moments, after whitening: it sees what moves a column, what moves its
spread, and what binds two columns, and learns in one pass. Its area under the ROC curve is measured on rows that it did not
learn from, fold by fold. References: Lopez-Paz and Oquab, Revisiting classifier two-sample tests, ICLR (2017); Gretton et al., A kernel
two-sample test, JMLR 13 (2012), whose witness function for the kernel (1 + xy)² this is.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from stationkeeper.workloads.drift.chance import normal_quantile
from stationkeeper.workloads.drift.grid import Floats

FOLDS: Final = 4
MIN_ROWS: Final = 200  # of each sample
_SURE: Final = 2.0  # standard errors, below which a difference is taken for noise
_LEAST: Final = 1e-2  # variance of a direction, of 1: what hardly varies must not outweigh the rest
_FAR: Final = 6.0
_SHARE: Final = 0.15  # of what the strongest column costs

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Witness:
    """Linear and quadratic weights of a point."""

    linear: Floats
    quadratic: Floats

    def scores(self, points: Floats) -> Floats:
        found: Floats = points @ self.linear + np.einsum("ij,ij->i", points @ self.quadratic, points) / 2
        return found


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums over points of their coordinates, of the products of each two, and of the squares of those."""

    rows: int
    first: Floats
    second: Floats
    fourth: Floats

    @classmethod
    def of(cls, z: Floats) -> Self:
        squares = z**2
        return cls(len(z), z.sum(axis=0), z.T @ z, squares.T @ squares)

    def __add__(self, other: Self) -> "_Sums":
        return self._with(other, 1)

    def __sub__(self, other: Self) -> "_Sums":
        return self._with(other, -1)

    def _with(self, other: Self, sign: int) -> "_Sums":
        return _Sums(
            self.rows + sign * other.rows,
            self.first + sign * other.first,
            self.second + sign * other.second,
            self.fourth + sign * other.fourth,
        )


def separability(reference: Floats, current: Floats, seed: int) -> float:
    """The cross-validated AUC of points, shape (rows, dimensions) each: 0.5 when nothing tells them apart."""
    return _Folds(reference, current, seed).auc()


def noise(reference_rows: int, current_rows: int, alpha: float) -> float:
    """The AUC that chance exceeds with probability `alpha`.

    The variance is twice that of the Mann-Whitney statistic: every pair of rows from different folds counts two times, once with
    either of them learnt from. `tests/unit` holds it against simulated samples.
    """
    n, m = reference_rows, current_rows
    return 0.5 + normal_quantile(alpha) * math.sqrt(2 * (n + m + 1) / (12 * n * m))


def telling(reference: Floats, current: Floats, spans: Mapping[str, slice], seed: int) -> list[str]:
    """The columns without which the samples could be told apart the least, the strongest first.

    Each column's values are shuffled among all rows; named are those that cost more than noise, and not next to nothing against the
    strongest: columns that go with a telling one lose a little too.
    """
    folds = _Folds(reference, current, seed)
    whole, rng = folds.auc(), np.random.default_rng(seed)
    lost = {name: whole - folds.auc(span, rng) for name, span in spans.items()}
    least = max(noise(len(reference), len(current), 0.1) - 0.5, _SHARE * max(lost.values(), default=0.0))
    return [name for name in sorted(lost, key=lambda name: -lost[name]) if lost[name] > least]


class _Folds:
    """The classifiers of all folds, and the rows that each is tried on."""

    def __init__(self, reference: Floats, current: Floats, seed: int) -> None:
        # Whatever is learnt before the labels are looked at is learnt from both samples alike, or the reference would stand out.
        self._points = np.concatenate((reference, current))
        self._white = _whitening(self._points)
        self._labels = np.repeat([False, True], (len(reference), len(current)))
        self._fold = _assigned(self._labels, seed)
        z = self._whitened(self._points)
        # A fold's classifier learns from all rows but the fold's: each row is summed up once.
        before, now = ([_Sums.of(z[(self._fold == k) & (self._labels == side)]) for k in range(FOLDS)] for side in (False, True))
        all_before, all_now = (reduce(_Sums.__add__, sums) for sums in (before, now))
        self._learnt = [_learn(all_before - b, all_now - n) for b, n in zip(before, now, strict=True)]

    def auc(self, shuffled: slice | None = None, rng: np.random.Generator | None = None) -> float:
        """Mean over the folds; `shuffled` dimensions are taken from other rows."""
        points = self._points
        if shuffled is not None and rng is not None:
            points = points.copy()
            points[:, shuffled] = points[rng.permutation(len(points)), shuffled]
        z = self._whitened(points)
        tried = [(self._fold == k, learnt) for k, learnt in enumerate(self._learnt)]
        return float(np.mean([auc(learnt.scores(z[rows]), self._labels[rows]) for rows, learnt in tried]))

    def _whitened(self, points: Floats) -> Floats:
        mean, matrix = self._white
        return np.clip((points - mean) @ matrix, -_FAR, _FAR)


def _assigned(labels: NDArray[np.bool_], seed: int) -> NDArray[np.int64]:
    rng, fold = np.random.default_rng(seed), np.empty(labels.size, dtype=np.int64)
    for label in (False, True):
        rows = np.flatnonzero(labels == label)
        fold[rng.permutation(rows)] = np.arange(rows.size) % FOLDS
    return fold


def _whitening(points: Floats) -> tuple[Floats, Floats]:
    mean = points.mean(axis=0)
    centred = points - mean
    variances, directions = np.linalg.eigh(centred.T @ centred / len(points))
    return mean, directions / np.sqrt(np.maximum(variances, _LEAST))


def _learn(before: "_Sums", now: "_Sums") -> _Witness:
    error, n = 1 / before.rows + 1 / now.rows, before.rows + now.rows
    linear = now.first / now.rows - before.first / before.rows
    quadratic = now.second / now.rows - before.second / before.rows
    mean, moment = (before.first + now.first) / n, (before.second + now.second) / n
    linear[linear**2 < _SURE**2 * error * (np.diag(moment) - mean**2)] = 0.0
    quadratic[quadratic**2 < _SURE**2 * error * ((before.fourth + now.fourth) / n - moment**2)] = 0.0
    return _Witness(linear, quadratic)


def auc(scores: Floats, labels: NDArray[np.bool_]) -> float:
    """Area under the ROC curve: how often a row of the second sample has the higher score, ties counted half."""
    known, which, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[which] if known.size else scores
    m = int(labels.sum())
    n = labels.size - m
    return float((ranks[labels].sum() - m * (m + 1) / 2) / (n * m))
