"""Calibration curves: how often what a model called probable came true on rows that it had not learned from.

Isotonic where rows allow (Zadrozny and Elkan, KDD 2002), else Platt's sigmoid (Platt, 1999). Kept as points, each of which
rests on many rows.
"""

from typing import Annotated, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from stationkeeper.api.base import Tolerant

Floats = NDArray[np.float64]

ISOTONIC_ROWS: Final = 1_000  # below them a sigmoid errs less than steps do
_BIN_ROWS: Final = 50
_MAX_POINTS: Final = 40
_DIGITS: Final = 6
_LEAST: Final = 1e-6  # a probability that has a logarithm of its odds


class Curve(Tolerant):
    """Points of a calibration curve; between them it is linear, beyond them flat."""

    predicted: Annotated[list[float], Field(min_length=1, max_length=_MAX_POINTS + 1)]  # rising
    observed: Annotated[list[float], Field(min_length=1, max_length=_MAX_POINTS + 1)]  # share that came true, never falling
    rows: Annotated[list[int], Field(min_length=1, max_length=_MAX_POINTS + 1)]  # that this share rests on

    def apply(self, probabilities: Floats, observed: Floats | None = None) -> Floats:
        """Calibrated probabilities, shape (rows,); with `observed` by a curve that was drawn."""
        return np.interp(probabilities, self.predicted, self.observed if observed is None else observed)

    def draws(self, rng: np.random.Generator, count: int) -> Floats:
        """What other holdouts of as many rows might have given for `observed`, shape (count, points)."""
        level, first, of_level = np.unique(self.observed, return_index=True, return_inverse=True)
        rows = np.array(self.rows)[first]
        # Half a row of each outcome keeps a share of 0 or 1 from being certain (Jeffreys).
        made = rng.beta(level * rows + 0.5, rows - level * rows + 0.5, (count, len(level)))
        # Put in order, as shares are; no worse than as drawn (Chernozhukov et al., Biometrika 2009). Points of one level were pooled:
        # they move together.
        drawn: Floats = np.sort(made, axis=1)[:, of_level]
        return drawn


def fit_curve(probabilities: Floats, came_true: NDArray[np.bool_]) -> Curve:
    """The curve of one class.

    Args:
        probabilities: predicted, shape (rows,); at least one.
        came_true: whether the row was of the class.
    """
    return _isotonic(probabilities, came_true) if len(probabilities) >= ISOTONIC_ROWS else _sigmoid(probabilities, came_true)


def _isotonic(probabilities: Floats, came_true: NDArray[np.bool_]) -> Curve:
    """Of means of bins, so that no point stands for a few rows."""
    count = min(len(probabilities) // _BIN_ROWS, _MAX_POINTS)
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, count + 1)[1:-1]))
    bins = _merged(np.searchsorted(edges, probabilities, side="right"))
    weights = np.bincount(bins)
    means = np.bincount(bins, probabilities) / weights
    shares = np.bincount(bins, came_true) / weights
    observed = IsotonicRegression(y_min=0, y_max=1).fit_transform(means, shares, sample_weight=weights)
    level, block = np.unique(observed, return_inverse=True)
    rows = np.bincount(block, weights, len(level))[block]  # of all the bins that were pooled
    return Curve(predicted=_rounded(means), observed=_rounded(observed), rows=[int(n) for n in rows])


def _merged(bins: NDArray[np.intp]) -> NDArray[np.intp]:
    """Bins of at least 50 rows: where many rows share a probability, quantiles leave smaller ones between."""
    joined, number, rows = [], 0, 0
    for size in np.bincount(bins):
        joined.append(number)
        rows += size
        if rows >= _BIN_ROWS:
            number, rows = number + 1, 0
    return np.minimum(joined, max(number - 1, 0))[bins]


def _sigmoid(probabilities: Floats, came_true: NDArray[np.bool_]) -> Curve:
    points = np.unique(np.quantile(probabilities, np.linspace(0, 1, 21)))
    if came_true.all() or not came_true.any() or len(points) == 1:
        share = float((came_true.sum() + 0.5) / (len(came_true) + 1))
        return Curve(predicted=_rounded(points[:1]), observed=[share], rows=[len(came_true)])
    fitted = LogisticRegression(C=100.0).fit(_odds(probabilities), came_true)
    observed = np.maximum.accumulate(fitted.predict_proba(_odds(points))[:, 1])
    # Two parameters: each point rests on about half of the rows.
    return Curve(predicted=_rounded(points), observed=_rounded(observed), rows=[max(len(came_true) // 2, 1)] * len(points))


def _odds(probabilities: Floats) -> Floats:
    clipped = np.clip(probabilities, _LEAST, 1 - _LEAST)
    odds: Floats = np.log(clipped / (1 - clipped)).reshape(-1, 1)
    return odds


def _rounded(values: Floats) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
