"""No part of the rows may be left worse off: challenger and champion are compared for each value of a column too.

A part is small, so its interval is wide; to ask that it proves non-inferiority as the whole must would refuse every challenger. A
part refuses only when it is surely worse, and surely for all parts together: with twenty of them, one in forty would be by chance.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from stationkeeper.api.evaluation import Gate
from stationkeeper.api.manifest import GateResult, Score
from stationkeeper.workloads.training import bootstrap
from stationkeeper.workloads.training.bench import MIN_ROWS, Bench, compare
from stationkeeper.workloads.training.ending import AttemptEnded, invalid

MAX_PARTS: Final = 32  # of a column, the largest
_SHOWN: Final = 5
_ERROR: Final = 0.025  # of all parts together
_KNOWN: Final = 0.95  # of the resamples that must have a score


def segment_columns(gates: Sequence[Gate]) -> list[str]:
    """The columns that any gate looks at, each once."""
    return list(dict.fromkeys(name for gate in gates for name in gate.segments or ()))


def check_segments(rows: pl.DataFrame, columns: Sequence[str]) -> None:
    """Refuse columns that are not there.

    Raises:
        AttemptEnded: InvalidData with MissingSegmentColumn.
    """
    for name in columns:
        if name not in rows.columns:
            raise invalid(
                "MissingSegmentColumn",
                f"the column {name!r} of evaluation.gates[].segments is missing in the data; restore it, or name another",
            )


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The rows of one value."""

    column: str
    value: str
    rows: NDArray[np.intp]

    @property
    def name(self) -> str:
        """As it is told."""
        return f"{self.column} = {self.value}"


def parts_of(holdout: pl.DataFrame, column: str) -> list[Part]:
    """The largest parts, by the values of a column; missing is a value."""
    values = holdout[column].cast(pl.String).fill_null("(missing)")
    counts = values.value_counts(sort=False).sort("count", column, descending=[True, False]).head(MAX_PARTS)
    return [Part(column, value[:64], np.flatnonzero((values == value).to_numpy())) for value in counts[column].to_list()]


def judge_segments(
    gates: Sequence[Gate], paired: Bench | None, rows: pl.DataFrame, times: NDArray[np.int64] | None, incomparable: str | None
) -> list[GateResult]:
    """The results of the gates with segments.

    Parameters:
        gates: of the spec.
        paired: the rows that the champion has not seen; None without a champion that can answer.
        rows: the same as a frame.
        times: of them, microseconds since the epoch.
        incomparable: why a champion that exists cannot answer.
    """
    return [result for gate in gates if gate.segments for result in _judge(gate, paired, rows, times, incomparable)]


def _judge(
    gate: Gate, paired: Bench | None, rows: pl.DataFrame, times: NDArray[np.int64] | None, incomparable: str | None
) -> Iterator[GateResult]:
    assert gate.segments is not None
    if paired is None or not paired.enough():
        why = "no champion yet" if paired is None else "too few rows that the champion has not learned from"
        missing = incomparable is not None or paired is not None
        verdict = "InsufficientData" if missing else "NotApplicable"
        yield from (_result(gate, name, verdict, incomparable or why) for name in gate.segments)
        return
    found = {name: parts_of(rows, name) for name in gate.segments}
    judged = [(part, _bench(paired, part, times)) for parts in found.values() for part in parts]
    judged = [(part, bench) for part, bench in judged if bench.enough() and _resampled(bench, gate.metric)]
    for part, bench in judged:
        yield _compared(gate, part, bench, _ERROR / len(judged))
    for name, parts in found.items():
        yield from _unjudged(gate, name, parts, {id(part) for part, _ in judged}, rows[name].n_unique())


def _bench(paired: Bench, part: Part, times: NDArray[np.int64] | None) -> Bench:
    assert paired.champion is not None
    truth = paired.challenger.truth[part.rows]
    return Bench(
        task=paired.task,
        challenger=paired.challenger.judged_by(truth, part.rows),
        champion=paired.champion.judged_by(truth, part.rows),
        blocks=None if times is None else bootstrap.time_blocks(times[part.rows]),
        seed=paired.seed,
    )


def _drops(bench: Bench, metric: str) -> NDArray[np.float64]:
    assert bench.champion is not None
    return bench.resampled(bench.champion, metric) - bench.resampled(bench.challenger, metric)


def _resampled(bench: Bench, metric: str) -> bool:
    return bool(np.isfinite(_drops(bench, metric)).mean() >= _KNOWN)


def _margin(bench: Bench, metric: str, error: float) -> float:
    """How far below the drop that was seen the true one lies at most, but for this share of chance.

    Student's quantile, for as many independent units as are drawn: percentiles of 300 resamples do not reach so far out.
    """
    units = len(bench.challenger.truth) if bench.blocks is None else int(bench.blocks.max()) + 1
    spread = float(np.nanstd(_drops(bench, metric), ddof=1)) * sqrt(units / (units - 1))
    return _student(1 - error, units - 1) * spread


def _student(probability: float, freedom: int) -> float:
    """Student's quantile from the normal one, to 1 % from 15 degrees of freedom on: Abramowitz and Stegun, 26.7.5."""
    z = NormalDist().inv_cdf(probability)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _compared(gate: Gate, part: Part, bench: Bench, error: float) -> GateResult:
    assert gate.max_drop is not None
    try:
        found = compare(bench, gate.metric)
    except AttemptEnded as ending:  # a metric may have no value on a part
        return _result(gate, part.name, "NotApplicable", ending.message)
    margin = _margin(bench, gate.metric, error)
    drop = Score(value=found.drop.value, low=found.drop.value - margin, high=found.drop.value + margin)
    worse = found.drop.value - margin > gate.max_drop
    said = (
        f"where {part.name} ({len(part.rows)} rows) {gate.metric} is surely {found.drop.value - margin:.4f} or more below the "
        f"champion's {found.champion.value:.4f}, more than {gate.max_drop:g}"
    )
    result = _result(gate, part.name, "Refused" if worse else "Passed", said if worse else "")
    return result.model_copy(update={"challenger": found.challenger, "champion": found.champion, "drop": drop})


def _unjudged(gate: Gate, column: str, parts: Sequence[Part], judged: set[int], values: int) -> Iterator[GateResult]:
    """What could not be judged, so that nobody takes it for passed."""
    small = [part.value for part in parts if id(part) not in judged]
    beyond = values - len(parts)
    if len(small) == len(parts):
        why = f"no value of {column!r} has {MIN_ROWS} rows of a class or in all; name a column of few values, or leave it out"
        yield _result(gate, column, "InsufficientData", why)
    elif small or beyond:
        shown = ", ".join(small[:_SHOWN]) + (f" and {len(small) - _SHOWN} more" if len(small) > _SHOWN else "")
        rare = f"not judged for want of rows: {shown}" if small else ""
        rest = f"{beyond} rarer values were not looked at" if beyond else ""
        yield _result(gate, column, "NotApplicable", "; ".join(filter(None, (rare, rest))))


def _result(gate: Gate, segment: str, verdict: str, message: str) -> GateResult:
    said = {"metric": gate.metric, "bound": "maxDrop", "limit": gate.max_drop, "verdict": verdict}
    return GateResult.model_validate(said | {"segment": segment, "message": message})
