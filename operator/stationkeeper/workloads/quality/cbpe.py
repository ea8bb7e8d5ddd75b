"""Confidence-based performance estimation: the score that calibrated probabilities promise.

Where a probability of 0.8 comes true in 80 of 100 rows, the labels need not be known to say what a classifier scores on average.
This holds while inputs drift and fails when the concept does. Reference: NannyML, CBPE (2022); Guillory et al., ICCV 2021.
"""

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.workloads.quality.verdict import Withheld
from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.estimation import Estimation
from stationkeeper.workloads.training.metrics import Answers, unchecked

Floats = NDArray[np.float64]

DRAWS: Final = 200
_CELLS: Final = 20_000_000  # probabilities in memory at once; of very many classes a part of the rows stands for all


class Cbpe:
    """Scores of a classifier's answers whose labels are not known."""

    def __init__(self, answers: Answers, estimation: Estimation, metric: str, seed: int) -> None:
        """`answers` need probabilities; their truth is not looked at."""
        assert answers.probabilities is not None
        self._answers = answers
        self._probabilities = answers.probabilities
        self._estimation = estimation
        self._likely = estimation.calibrated(self._probabilities)
        self._metric = metric
        self._seed = seed

    def score(self) -> float:
        """The score to be expected.

        Raises:
            Withheld: when the metric has no value on these answers.
        """
        return self._mean(self._answers)

    def constant(self) -> float | None:
        """What the best constant is to be expected to score on the same rows; None where no constant has a score."""
        rng = np.random.default_rng(self._seed)
        best = self._answers.judged_by(drawn(self._likely, rng)).constant(self._metric)
        if best is None:
            return None
        try:
            return self._mean(best)
        except Withheld:
            return None

    def draws(self, blocks: NDArray[np.int64] | None) -> Floats:
        """Scores that labels drawn as the probabilities promise would give, shape (200,); NaN where one has no value.

        They differ as the truth may: by the labels themselves, by what another holdout would have said of the probabilities and, with
        `blocks`, by which rows happened to come.
        """
        rng = np.random.default_rng(self._seed)
        rows = len(self._likely)
        curves = [curve.draws(rng, DRAWS) for curve in self._estimation.curves]
        ones = np.ones(rows, dtype=np.int64)
        weights = [ones] * DRAWS if blocks is None else bootstrap.Resamples(rows, blocks, ones, self._seed, DRAWS)
        with warnings.catch_warnings(), unchecked():
            warnings.simplefilter("ignore")
            return np.array([self._drawn(rng, [curve[i] for curve in curves], weight) for i, weight in enumerate(weights)])

    def _drawn(self, rng: np.random.Generator, observed: Sequence[Floats], weights: NDArray[np.int64]) -> float:
        likely = self._estimation.calibrated(self._probabilities, observed)
        try:
            return self._answers.judged_by(drawn(likely, rng)).resampled(self._metric, weights)
        except ValueError:  # this draw lacks a class
            return float("nan")

    def _mean(self, answers: Answers) -> float:
        """The score when each row is of every class, by its weight: exactly what is to be expected of a mean of rows."""
        classes = self._likely.shape[1]
        rows = np.arange(0, len(self._likely), max(len(self._likely) * classes**2 // _CELLS, 1))
        each = answers.judged_by(np.repeat(np.arange(classes), len(rows)), np.tile(rows, classes))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                score = each.weighted(self._metric, self._likely[rows].T.reshape(-1))
        except (ValueError, AttributeError, TypeError) as error:
            line = (str(error).splitlines() or [""])[0][:200]
            raise Withheld(f"{self._metric} cannot be estimated: {line}") from error
        if not np.isfinite(score):
            raise Withheld(f"{self._metric} has no value on these rows")
        return score


def drawn(likely: Floats, rng: np.random.Generator) -> NDArray[np.int64]:
    """Classes drawn with these probabilities, shape (rows, classes), rows adding up to 1."""
    below = np.cumsum(likely, axis=1)[:, :-1]
    return np.asarray((rng.random((len(likely), 1)) > below).sum(axis=1), dtype=np.int64)
