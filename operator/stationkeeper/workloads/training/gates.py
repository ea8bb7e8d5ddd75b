"""The gates: what a challenger must prove before it is published. Arrays in, results out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.manifest import GateResult, Score, Task
from stationkeeper.api.model import Cause, Gate
from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.ending import invalid
from stationkeeper.workloads.training.metrics import Answers

MIN_ROWS: Final = 30  # positives, negatives, or rows of a regression
Verdict = Literal["Passed", "Refused", "InsufficientData", "NotApplicable"]


@dataclass(frozen=True, eq=False)  # compared and hashed by identity, so that what was measured is remembered
class Bench:
    """Rows that judge, the answers to them, and how to resample them."""

    task: Task
    challenger: Answers
    champion: Answers | None
    blocks: NDArray[np.int64] | None
    seed: int

    def enough(self) -> bool:
        """At least 30 rows of each class; of the two commonest of many; or of a regression."""
        truth = self.challenger.truth
        if self.task is Task.REGRESSION:
            return len(truth) >= MIN_ROWS
        counts = np.sort(np.bincount(truth.astype(np.int64), minlength=2))[::-1]
        return bool(counts[1] >= MIN_ROWS)

    @cached_property
    def resamples(self) -> list[bootstrap.Weights]:
        """The resamples that every statistic of this bench shares."""
        strata = np.zeros(len(self.challenger.truth), np.int64) if self.task is Task.REGRESSION else self.challenger.truth
        return bootstrap.resamples(len(strata), self.blocks, strata, self.seed)


@dataclass(frozen=True, slots=True)
class Comparison:
    """One metric of challenger and champion on the same rows."""

    challenger: Score
    champion: Score
    drop: Score  # champion - challenger


@lru_cache(maxsize=64)
def measure(bench: Bench, metric: str) -> Score:
    """The challenger's score with its interval."""
    point = _point(bench.challenger, metric)
    low, high = _spread([_resampled(bench.challenger, metric, w) for w in bench.resamples])
    return Score(value=point, low=low, high=high)


@lru_cache(maxsize=64)
def compare(bench: Bench, metric: str) -> Comparison:
    """Both scores, and the paired interval of their difference."""
    assert bench.champion is not None
    weights = bench.resamples
    ours = np.array([_resampled(bench.challenger, metric, w) for w in weights])
    theirs = np.array([_resampled(bench.champion, metric, w) for w in weights])
    scores = [(_point(bench.challenger, metric), ours), (_point(bench.champion, metric), theirs)]
    scores.append((scores[1][0] - scores[0][0], theirs - ours))
    made = [Score(value=point, low=_spread(values)[0], high=_spread(values)[1]) for point, values in scores]
    return Comparison(*made)


def _point(answers: Answers, metric: str) -> float:
    try:
        value = answers.score(metric, answers.rows)
    except (ValueError, AttributeError, TypeError) as error:
        line = str(error).splitlines()[0][:300]
        raise invalid("UnsuitableMetric", f"the metric {metric} does not fit this target or estimator: {line}") from error
    if not np.isfinite(value):
        raise invalid("UnsuitableMetric", f"the metric {metric} has no value on the holdout")
    return value


def _resampled(answers: Answers, metric: str, weights: bootstrap.Weights) -> float:
    try:
        return answers.resampled(metric, weights)
    except ValueError:
        return float("nan")  # this resample lacks a class


def _spread(values: Sequence[float] | NDArray[np.float64]) -> tuple[float | None, float | None]:
    return bootstrap.interval(list(values)) or (None, None)


def judge(gates: Sequence[Gate], whole: Bench, paired: Bench | None, incomparable: str | None) -> list[GateResult]:
    """The result of each gate, `min` before `maxDrop`.

    Parameters:
        gates: of the spec.
        whole: the whole holdout, for `min`.
        paired: the rows that the champion has not seen, for `maxDrop`; None without a champion that can answer.
        incomparable: why a champion that exists cannot answer.
    """
    results: list[GateResult] = []
    for gate in gates:
        if gate.min is not None:
            results.append(_floor(gate.metric, gate.min, whole))
        if gate.max_drop is not None:
            results.append(_relative(gate.metric, gate.max_drop, paired, incomparable))
    return results


def _floor(metric: str, limit: float, bench: Bench) -> GateResult:
    if not bench.enough():
        return _scarce(metric, "min", limit, bench, "the holdout")
    score = measure(bench, metric)
    passed = score.value >= limit
    return GateResult(
        metric=metric,
        bound="min",
        limit=limit,
        verdict="Passed" if passed else "Refused",
        challenger=score,
        message="" if passed else f"{metric} {score.value:.4f} is below {limit:g}",
    )


def _relative(metric: str, limit: float, bench: Bench | None, incomparable: str | None) -> GateResult:
    if bench is None:
        verdict: Verdict = "InsufficientData" if incomparable else "NotApplicable"
        return GateResult(metric=metric, bound="maxDrop", limit=limit, verdict=verdict, message=incomparable or "no champion yet")
    if not bench.enough():
        return _scarce(metric, "maxDrop", limit, bench, "the rows that the champion has not learned from")
    found = compare(bench, metric)
    if found.drop.high is None:
        return _scarce(metric, "maxDrop", limit, bench, "the resamples of the holdout")
    passed = found.drop.high <= limit
    said = f"{metric} may be {found.drop.high:.4f} below the champion's {found.champion.value:.4f}, more than {limit:g}"
    return GateResult(
        metric=metric,
        bound="maxDrop",
        limit=limit,
        verdict="Passed" if passed else "Refused",
        challenger=found.challenger,
        champion=found.champion,
        drop=found.drop,
        message="" if passed else said,
    )


def _scarce(metric: str, bound: Literal["min", "maxDrop"], limit: float, bench: Bench, where: str) -> GateResult:
    message = f"{where} ({len(bench.challenger.truth)}) hold fewer than {MIN_ROWS} of a class or in all"
    return GateResult(metric=metric, bound=bound, limit=limit, verdict="InsufficientData", message=message)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a challenger is published, and why not."""

    accepted: bool
    reason: str
    message: str
    without_gain: bool = False


def decide(
    results: Sequence[GateResult], cause: Cause, gain: float | None, champion: int | None, incomparable: str | None
) -> Decision:
    """Turn gate results into a decision.

    Parameters:
        results: of `judge`.
        cause: a drift must be cured; other causes may tie.
        gain: challenger - champion on the first gate's metric, on rows the champion has not seen; None when unknown.
        champion: number of the champion, None without one.
        incomparable: why the champion cannot answer.
    """
    rules: list[Callable[[], Decision | None]] = [
        lambda: _refused(results),
        lambda: Decision(False, "ChampionNotComparable", incomparable) if incomparable else None,
        lambda: _insufficient(results),
        lambda: _no_gain(cause, gain, champion),
    ]
    for rule in rules:
        found = rule()
        if found:
            return found
    return Decision(True, "Published", "all gates passed", without_gain=champion is not None and (gain is None or gain <= 0))


def _refused(results: Sequence[GateResult]) -> Decision | None:
    said = [result.message for result in results if result.verdict == "Refused"]
    return Decision(False, "GateRefused", "; ".join(said)) if said else None


def _insufficient(results: Sequence[GateResult]) -> Decision | None:
    said = [f"{r.metric} {r.bound}: {r.message}" for r in results if r.verdict == "InsufficientData"]
    return Decision(False, "InsufficientEvidence", "; ".join(said)) if said else None


def _no_gain(cause: Cause, gain: float | None, champion: int | None) -> Decision | None:
    if cause not in (Cause.DRIFT, Cause.QUALITY) or champion is None:
        return None
    if gain is None:
        return Decision(False, "InsufficientEvidence", "too few rows that the champion has not learned from to see a gain")
    if gain > 0:
        return None
    return Decision(False, "NoGain", f"the challenger is no better than revision {champion} ({gain:+.4f}), so it cures no drift")
