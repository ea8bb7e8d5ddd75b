"""The gates: what a challenger must prove before it is published. Arrays in, results out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from stationkeeper.api.evaluation import Gate
from stationkeeper.api.manifest import GateResult
from stationkeeper.api.status import Cause
from stationkeeper.workloads.training.bench import MIN_ROWS, Bench, Comparison, compare, counted, measure

Bound = Literal["min", "maxDrop", "anchor"]
Verdict = Literal["Passed", "Refused", "InsufficientData", "NotApplicable"]


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


def judge_anchor(gates: Sequence[Gate], paired: Bench | None, number: int, incomparable: str | None) -> list[GateResult]:
    """The results of every `maxDrop` against the anchor.

    Small losses add up: each challenger may be a little worse than its champion, so an earlier revision is asked too.

    Parameters:
        gates: of the spec.
        paired: the rows that the anchor has not seen; None when it cannot answer them.
        number: of the anchor.
        incomparable: why it cannot answer; then it holds nobody back.
    """
    results = []
    for gate in gates:
        if gate.max_drop is None:
            continue
        if paired is None:
            said = f"revision {number}, the anchor, cannot be compared with: {incomparable}"
            results.append(_told(gate.metric, "anchor", gate.max_drop, "NotApplicable", said))
        else:
            results.append(_paired(gate.metric, "anchor", gate.max_drop, paired, f"that of revision {number}, the anchor"))
    return results


def _floor(metric: str, limit: float, bench: Bench) -> GateResult:
    if not bench.enough():
        return _scarce(metric, "min", limit, bench, "the holdout")
    score = measure(bench, metric)
    sure = counted(bench, score.value, bench.resampled(bench.challenger, metric))
    if sure is None:
        return _scarce(metric, "min", limit, bench, "the resamples of the holdout")
    passed = sure >= limit
    near = f" counts as {sure:.4f}{bench.sureness}, which" if bench.look > 1 else ""
    return GateResult(
        metric=metric,
        bound="min",
        limit=limit,
        verdict="Passed" if passed else "Refused",
        challenger=score,
        message="" if passed else f"{metric} {score.value:.4f}{near} is below {limit:g}",
    )


def _relative(metric: str, limit: float, bench: Bench | None, incomparable: str | None) -> GateResult:
    if bench is None:
        verdict: Verdict = "InsufficientData" if incomparable else "NotApplicable"
        return _told(metric, "maxDrop", limit, verdict, incomparable or "no champion yet")
    return _paired(metric, "maxDrop", limit, bench, "the champion's")


def _paired(metric: str, bound: Bound, limit: float, bench: Bench, whose: str) -> GateResult:
    if not bench.enough():
        return _scarce(metric, bound, limit, bench, "the rows that the champion has not learned from")
    found = compare(bench, metric)
    if found.drop.high is None:
        return _scarce(metric, bound, limit, bench, "the resamples of the holdout")
    passed = found.drop.high <= limit
    said = f"{metric} may be {found.drop.high:.4f} below {whose} {found.champion.value:.4f}, more than {limit:g}{bench.sureness}"
    return GateResult(
        metric=metric,
        bound=bound,
        limit=limit,
        verdict="Passed" if passed else "Refused",
        challenger=found.challenger,
        champion=found.champion,
        drop=found.drop,
        resolves=resolves(found),
        message="" if passed else said + _too_coarse(found, limit),
    )


def resolves(found: Comparison) -> float:
    """The smallest drop that these rows tell from none: so far does the interval of two equal models reach."""
    assert found.drop.high is not None
    return max(found.drop.high - found.drop.value, 0.0)


def _too_coarse(found: Comparison, limit: float) -> str:
    """When even a challenger that is as good would have been refused, people must know."""
    smallest = resolves(found)
    if smallest <= limit:
        return ""
    return f" (these rows tell only drops beyond {smallest:.4f} from none: give more rows, or a larger maxDrop)"


def _scarce(metric: str, bound: Bound, limit: float, bench: Bench, where: str) -> GateResult:
    message = f"{where} ({len(bench.challenger.truth)}) hold fewer than {MIN_ROWS} of a class or in all"
    return _told(metric, bound, limit, "InsufficientData", message)


def _told(metric: str, bound: Bound, limit: float, verdict: Verdict, message: str) -> GateResult:
    return GateResult(metric=metric, bound=bound, limit=limit, verdict=verdict, message=message)


@dataclass(frozen=True, slots=True)
class Gain:
    """challenger - champion on the first gate's metric, on rows that the champion has not seen."""

    value: float
    counted: float  # as much of it as the look can count on


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a challenger is published, and why not."""

    accepted: bool
    reason: str
    message: str
    without_gain: bool = False


def decide(
    results: Sequence[GateResult], cause: Cause, gain: Gain | None, champion: int | None, incomparable: str | None
) -> Decision:
    """Turn gate results into a decision.

    Parameters:
        results: of `judge`.
        cause: a drift must be cured; other causes may tie.
        gain: over the champion; None when unknown.
        champion: number of the champion, None without one.
        incomparable: why the champion cannot answer.
    """
    rules: list[Callable[[], Decision | None]] = [
        lambda: refused(results),
        lambda: Decision(False, "ChampionNotComparable", incomparable) if incomparable else None,
        lambda: _insufficient(results),
        lambda: _no_gain(cause, gain, champion),
    ]
    for rule in rules:
        found = rule()
        if found:
            return found
    return Decision(
        True, "Published", "all gates passed", without_gain=champion is not None and (gain is None or gain.value <= 0)
    )


def refused(results: Sequence[GateResult]) -> Decision | None:
    """The refusal of a bound that is broken."""
    said = [result.message for result in results if result.verdict == "Refused"]
    return Decision(False, "GateRefused", "; ".join(said)) if said else None


def _insufficient(results: Sequence[GateResult]) -> Decision | None:
    said = [f"{r.metric} {r.segment or r.bound}: {r.message}" for r in results if r.verdict == "InsufficientData"]
    return Decision(False, "InsufficientEvidence", "; ".join(said)) if said else None


def _no_gain(cause: Cause, gain: Gain | None, champion: int | None) -> Decision | None:
    if cause not in (Cause.DRIFT, Cause.QUALITY) or champion is None:
        return None
    if gain is None:
        return Decision(False, "InsufficientEvidence", "too few rows that the champion has not learned from to see a gain")
    if gain.counted > 0:
        return None
    said = f"no better than revision {champion} ({gain.value:+.4f})"
    if gain.value > 0:
        said = (
            f"not surely better than revision {champion} ({gain.value:+.4f}, which counts as {gain.counted:+.4f}: each further look of "
            "an episode must be twice as sure)"
        )
    return Decision(False, "NoGain", f"the challenger is {said}, so it cures no drift")
