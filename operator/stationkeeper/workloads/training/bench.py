"""What is scored together: answers to the same rows, the truth, and how to resample them."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.manifest import Score, Task
from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.metrics import Answers, unchecked

MIN_ROWS: Final = 30  # positives, negatives, or rows of a regression
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of challenger and champion on the same rows."""

    challenger: Score
    champion: Score
    drop: Score  # champion - challenger; its interval is as sure as the look must be
    gain: float | None  # challenger - champion, as far as this look can count on it; None where resamples have no score


@dataclass(frozen=True, slots=True, eq=False)
class Bench:
    """Rows that judge, the answers to them, and how to resample them."""

    task: Task
    challenger: Answers
    champion: Answers | None
    blocks: NDArray[np.int64] | None
    seed: int
    look: int = 1  # which one at the gates of its episode: see `looks`
    # Several gates may ask for one metric. It is remembered here and goes with the rows.
    _resampled: dict[tuple[int, str], Floats] = field(default_factory=dict, init=False, repr=False)

    def enough(self) -> bool:
        """At least 30 rows of each class; of the two commonest of many; or of a regression."""
        truth = self.challenger.truth
        if self.task is Task.REGRESSION:
            return len(truth) >= MIN_ROWS
        counts = np.sort(np.bincount(truth.astype(np.int64), minlength=2))[::-1]
        return bool(counts[1] >= MIN_ROWS)

    def resampled(self, answers: Answers, metric: str) -> Floats:
        """Scores in the resamples that every statistic of this bench shares; NaN where there is none."""
        key = (id(answers), metric)
        if key not in self._resampled:
            with unchecked():
                self._resampled[key] = np.array([_or_nan(answers, metric, weights) for weights in self._resamples()])
        return self._resampled[key]

    def _resamples(self) -> bootstrap.Resamples:
        truth = self.challenger.truth
        strata = np.zeros(len(truth), np.int64) if self.task is Task.REGRESSION else truth
        # Twice as far out in the tail there must be as many resamples as before.
        return bootstrap.Resamples(len(truth), self.blocks, strata, self.seed, bootstrap.REPLICATES * bootstrap.surer(self.look))

    @property
    def sureness(self) -> str:
        """What people are told of a further look."""
        return f" (look {self.look} of this episode, which must be {bootstrap.surer(self.look)} times as sure)" * (self.look > 1)


def measure(bench: Bench, metric: str) -> Score:
    """The challenger's score with its interval.

    Raises:
        AttemptEnded: InvalidData, when the metric does not fit or has no value.
    """
    return _score(point(bench.challenger, metric), bench.resampled(bench.challenger, metric))


def compare(bench: Bench, metric: str) -> Comparison:
    """Both scores, and the paired interval of their difference.

    Raises:
        AttemptEnded: as `measure`.
    """
    assert bench.champion is not None
    our, their = (point(answers, metric) for answers in (bench.challenger, bench.champion))
    ours, theirs = (bench.resampled(answers, metric) for answers in (bench.challenger, bench.champion))
    drop = _score(their - our, theirs - ours, bootstrap.TAIL / bootstrap.surer(bench.look))
    return Comparison(_score(our, ours), _score(their, theirs), drop, counted(bench, our - their, ours - theirs))


def counted(bench: Bench, value: float, resampled: Floats) -> float | None:
    """As much of a value as a look can count on: the first on what it saw, each further one on half the chance to err.

    So the first takes the value itself, the second what three in four resamples exceed, the third seven in eight.
    None when too many resamples have no value.
    """
    if bench.look == 1:
        return value
    found = bootstrap.quantiles(resampled, [0.5 / bootstrap.surer(bench.look)])
    return found[0] if found else None


def _score(value: float, resampled: Floats, tail: float = bootstrap.TAIL) -> Score:
    low, high = bootstrap.interval(resampled, tail) or (None, None)
    return Score(value=value, low=low, high=high)


def point(answers: Answers, metric: str) -> float:
    """The score on all rows.

    Raises:
        AttemptEnded: InvalidData, when the metric does not fit or has no value.
    """
    try:
        value = answers.score(metric, answers.rows)
    except (ValueError, AttributeError, TypeError) as error:
        line = (str(error).splitlines() or [""])[0][:300]
        raise invalid("UnsuitableMetric", f"the metric {metric} does not fit this target or estimator: {line}") from error
    if not np.isfinite(value):
        raise invalid("UnsuitableMetric", f"the metric {metric} has no value on these rows")
    return value


def _or_nan(answers: Answers, metric: str, weights: bootstrap.Weights) -> float:
    try:
        return answers.resampled(metric, weights)
    except ValueError:
        return float("nan")  # this resample lacks a class
