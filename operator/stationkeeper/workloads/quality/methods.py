"""The ways to estimate the score of rows whose labels are not known: CBPE for classes, direct loss estimation for values."""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.manifest import Manifest, Score, Task
from stationkeeper.workloads.artifacts.columns import from_frame
from stationkeeper.workloads.drift.baseline import plain
from stationkeeper.workloads.quality.answers import answers, blocks, predictions, suitable
from stationkeeper.workloads.quality.cbpe import Cbpe
from stationkeeper.workloads.quality.dle import ESTIMABLE, expected_loss
from stationkeeper.workloads.quality.verdict import Measured, Withheld
from stationkeeper.workloads.training.estimation import Estimation

_INTERVAL: Final = (2.5, 97.5)
_DEVIATIONS: Final = 1.96
_CERTAIN: Final = (0.5, 99.5)
_CERTAIN_DEVIATIONS: Final = 2.576


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be estimated, and from what."""

    manifest: Manifest
    metric: str
    estimation: Estimation
    seed: int

    def of(self, rows: pl.DataFrame) -> "Method":
        """How it is estimated for captured rows, whose answers are `sound`.

        Raises:
            MetricError: when the metric does not fit the model.
        """
        regression = self.manifest.task is Task.REGRESSION
        suitable(self.metric, self.manifest, probabilities=not regression)
        return _Regression(self, rows) if regression else _Classification(self, rows)


class Method(Protocol):
    """One way to estimate the score of some rows. Both may raise `Withheld`, or as `answers.answered`."""

    def measured(self) -> Measured:
        """With its interval of 95 %."""
        ...

    def certain(self) -> Score:
        """For these very rows, with the interval that holds 99 % of what their labels may say."""
        ...


@dataclass(frozen=True)
class _Classification:
    asked: Asked
    rows: pl.DataFrame

    @cached_property
    def _cbpe(self) -> Cbpe:
        manifest, estimation = self.asked.manifest, self.asked.estimation
        # Any truth will do: it is not looked at.
        given = answers(self.rows, manifest, pl.repeat(manifest.classes[0], self.rows.height, eager=True))
        if given.probabilities is None:
            raise Withheld("this model gives no probabilities")
        if not estimation.curves:
            raise Withheld("its probabilities were never calibrated")
        return Cbpe(given, estimation, self.asked.metric, self.asked.seed)

    def measured(self) -> Measured:
        score = _between(self._cbpe.score(), self._cbpe.draws(blocks(self.rows)), _INTERVAL)
        constant = self._cbpe.constant()
        return Measured(score, self.rows.height, None if constant is None else _shifted(score, -constant))

    def certain(self) -> Score:
        return _between(self._cbpe.score(), self._cbpe.draws(None), _CERTAIN)


def _between(score: float, draws: NDArray[np.float64], percentiles: tuple[float, float]) -> Score:
    known = draws[np.isfinite(draws)]
    if len(known) < 0.95 * len(draws):
        return Score(value=score)
    low, high = np.percentile(known, percentiles)
    return Score(value=score, low=min(float(low), score), high=max(float(high), score))


def _shifted(score: Score, by: float) -> Score:
    low, high = (None if end is None else end + by for end in (score.low, score.high))
    return Score(value=score.value + by, low=low, high=high)


@dataclass(frozen=True)
class _Regression:
    asked: Asked
    rows: pl.DataFrame

    def measured(self) -> Measured:
        return Measured(self._score(blocks(self.rows), _DEVIATIONS), self.rows.height)

    def certain(self) -> Score:
        return self._score(None, _CERTAIN_DEVIATIONS)

    def _score(self, of: NDArray[np.int64] | None, deviations: float) -> Score:
        metric, losses, features = self.asked.metric, self.asked.estimation.losses, self.asked.manifest.features
        if losses is None or metric not in ESTIMABLE:
            raise Withheld(f"{metric} cannot be estimated, only {', '.join(ESTIMABLE)}")
        given = predictions(self.rows, self.asked.manifest).values
        assert given is not None
        points = losses.points(given, from_frame(plain(self.rows), features), features)
        loss = expected_loss(losses, points, metric, of, self.asked.seed)
        low, high = loss.score(metric, deviations), loss.score(metric, -deviations)
        return Score(value=loss.score(metric), low=low, high=high)
