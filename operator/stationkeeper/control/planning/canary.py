"""A canary's arithmetic: how many pods carry a weight, and what the pods' own metrics say of the new revision. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from stationkeeper.api.base import parse_duration
from stationkeeper.api.revision import ModelRevisionSpec
from stationkeeper.api.serving import Analysis
from stationkeeper.api.status import Measurement, QueryResult, RevisionRef, StepEvidence
from stationkeeper.api.verdicts import Verdict
from stationkeeper.control.planning import queries

_FAST_ENOUGH = 0.010  # seconds: below this a ratio of latencies tells more of the machine than of the model
_SURE = 3.0  # standard deviations that chance is given before predictions count as shifted


@dataclass(frozen=True)
class Measured:
    """What the pods of one revision counted since the step began."""

    requests: int = 0
    errors: int = 0  # answers of status 5xx
    latency: tuple[tuple[float, int], ...] = ()  # (upper bound in seconds, requests up to it), rising; the last bound is infinite
    predictions: dict[str, int] = field(default_factory=dict)  # rows by class, or by bin of the score


@dataclass(frozen=True)
class Analysed:
    """Whether the step may go on, and why."""

    verdict: Verdict
    message: str


def pods_for(weight: int, stable: int) -> int:
    """Pods beside `stable` ones that carry `weight` percent of the requests, at least one."""
    return max(1, math.ceil(max(stable, 1) * weight / (100 - weight)))


def pods_behind(weight: int, stable: int) -> int:
    """Pods that carry `weight` percent of what `stable` ones carry whole, where a Gateway deals the requests out."""
    return max(1, math.ceil(max(stable, 1) * weight / 100))


def achieved(candidate: int, stable: int) -> int:
    """The percentage that this many pods really carry."""
    return round(100 * candidate / (candidate + stable)) if candidate + stable else 0


def analyse(
    limits: Analysis,
    stable: Measured,
    candidate: Measured,
    asked: Sequence[QueryResult] = (),
    expected: Mapping[str, float] | None = None,
) -> Analysed:
    """Judge the candidate by what was counted since the step began, and by what Prometheus was asked. The first fault decides.

    `expected`: how its predictions are to differ, as in `shift`.
    """
    fault = _errors(limits, candidate) or _latency(limits, stable, candidate) or _shift(limits, stable, candidate, expected or {})
    if fault:
        return Analysed(Verdict.BREACHED, fault)
    seen = f"{candidate.requests} requests, {candidate.errors} errors"
    if candidate.requests < limits.min_requests:
        return Analysed(Verdict.INSUFFICIENT_DATA, f"{seen}; {limits.min_requests} requests are needed")
    if fault := queries.breached(asked):  # as the other comparisons: numbers of a handful of requests say nothing
        return Analysed(Verdict.BREACHED, fault)
    compared = limits.max_latency_ratio is not None or limits.max_prediction_shift is not None
    if compared and stable.requests < limits.min_requests:  # what could not be compared has not passed
        beside = f"the stable revision answered {stable.requests} beside it"
        return Analysed(Verdict.INSUFFICIENT_DATA, f"{seen}; {beside}, and {limits.min_requests} are needed to compare them")
    return _asked(seen, asked)


def analyse_foreign(asked: Sequence[QueryResult]) -> Analysed:
    """Judge a server that is not ours: what it counts is not known here, so that the queries are all the evidence there is."""
    if not asked:
        return Analysed(Verdict.INSUFFICIENT_DATA, "what a server of your own counts is not known here: name analysis.queries")
    if fault := queries.breached(asked):
        return Analysed(Verdict.BREACHED, fault)
    return _asked("what Prometheus was asked", asked)


def _asked(seen: str, asked: Sequence[QueryResult]) -> Analysed:
    if silent := queries.unanswered(asked):
        return Analysed(Verdict.INSUFFICIENT_DATA, f"{seen}; {silent}")
    return Analysed(Verdict.PASSED, seen + queries.told(asked))


def expired(limits: Analysis, since: datetime, now: datetime) -> bool:
    """Whether the step has waited long enough for evidence."""
    deadline: timedelta = parse_duration(limits.deadline)
    return now >= since + deadline


def _errors(limits: Analysis, candidate: Measured) -> str | None:
    # Once more errors than all of minRequests may hold have come, waiting for the rest helps nobody.
    allowed = limits.max_error_rate * max(candidate.requests, limits.min_requests)
    if candidate.errors <= allowed:
        return None
    return f"{candidate.errors} of {candidate.requests} answers were server errors; at most {limits.max_error_rate:.1%} may be"


def _latency(limits: Analysis, stable: Measured, candidate: Measured) -> str | None:
    enough = min(stable.requests, candidate.requests) >= limits.min_requests
    if limits.max_latency_ratio is None or not enough:
        return None
    before, now = percentile(stable.latency, 0.95), percentile(candidate.latency, 0.95)
    if now <= max(_FAST_ENOUGH, before * limits.max_latency_ratio):
        return None
    return (
        f"95 % of its answers took up to {1000 * now:.0f} ms, the stable revision's {1000 * before:.0f} ms; "
        f"at most {limits.max_latency_ratio:g} times that is allowed"
    )


def percentile(latency: tuple[tuple[float, int], ...], share: float) -> float:
    """Seconds within which this share of the requests was answered, interpolated in its bucket; 0 without any."""
    total = latency[-1][1] if latency else 0
    low, below = 0.0, 0
    for bound, count in latency:
        if total and count >= share * total:
            high = bound if math.isfinite(bound) else low
            return low + (high - low) * (share * total - below) / max(count - below, 1)
        low, below = bound, count
    return low


def _shift(limits: Analysis, stable: Measured, candidate: Measured, expected: Mapping[str, float]) -> str | None:
    enough = min(stable.requests, candidate.requests) >= limits.min_requests
    found = shift(stable, candidate, expected)
    if limits.max_prediction_shift is None or not enough or found is None:
        return None
    if found.deviation <= limits.max_prediction_shift + _SURE * found.chance:
        return None
    said = f"its predictions differ from the stable revision's by {found.distance:.2f}"
    if expected:
        said += f", and by {found.deviation:.2f} from what the gates saw them differ"
    return f"{said}; at most {limits.max_prediction_shift:g} is allowed"


@dataclass(frozen=True)
class Shift:
    """How two revisions' predictions of rows of the same traffic differ; total variation distances, from 0 to 1."""

    distance: float  # of the two distributions
    deviation: float  # of their difference from the expected one
    chance: float  # standard deviation of either, for so many rows


def shift(stable: Measured, candidate: Measured, expected: Mapping[str, float]) -> Shift | None:
    """Compare what two revisions answered; None while one of them has answered no row.

    Parameters:
        expected: of each class, the candidate's share less the stable revision's, as the gates saw it on the same rows. A better
            model answers otherwise, and one that was trained after a drift was meant to.
    """
    m, n = sum(candidate.predictions.values()), sum(stable.predictions.values())
    if not (m and n):
        return None
    distance, deviation, chance = 0.0, 0.0, 0.0
    for name in stable.predictions.keys() | candidate.predictions.keys() | expected.keys():
        a, b = stable.predictions.get(name, 0), candidate.predictions.get(name, 0)
        pooled = (a + b) / (m + n)
        distance += abs(b / m - a / n) / 2
        deviation += abs(b / m - a / n - expected.get(name, 0.0)) / 2
        chance += math.sqrt(pooled * (1 - pooled) * (1 / m + 1 / n)) / 2
    return Shift(distance, deviation, chance)


def shown(
    counts: Mapping[int, Measured],
    stable: ModelRevisionSpec | RevisionRef | None,
    record: ModelRevisionSpec,
    asked: Sequence[QueryResult],
) -> StepEvidence:
    """The numbers that a step is judged by: of the stable revision, then of the candidate."""
    ours, theirs = counts.get(record.number), counts.get(stable.number) if stable else None
    moved = shift(theirs, ours, expected_shift(record, stable.digest if stable else None)) if ours and theirs else None
    measured = [
        Measurement(
            number=revision.number,
            requests=found.requests,
            errors=found.errors,
            p95_seconds=percentile(found.latency, 0.95) if found.requests else None,
        )
        for revision, found in ((stable, theirs), (record, ours))
        if revision and found
    ]
    return StepEvidence(
        measured=measured,
        shift=round(moved.distance, 4) if moved else None,
        deviation=round(moved.deviation, 4) if moved else None,
        queries=list(asked),
    )


def expected_shift(record: ModelRevisionSpec, stable: str | None) -> Mapping[str, float]:
    """What the gates saw a revision's predictions differ by, where they compared it with the one that serves; else nothing."""
    champion = record.champion
    return (champion.shift or {}) if champion and champion.digest == stable else {}
