"""Quality on labels: any scikit-learn scorer on the predictions that were captured, with its interval and its skill."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from stationkeeper.api.driftpolicy import QualityChecks, Segment
from stationkeeper.api.manifest import Manifest, Score, Task
from stationkeeper.api.model import Verdict
from stationkeeper.api.report import LabelCounts, QualityResult
from stationkeeper.workloads.artifacts.captured import INPUT
from stationkeeper.workloads.artifacts.columns import is_numeric
from stationkeeper.workloads.artifacts.errors import ArtifactError
from stationkeeper.workloads.drift.segments import ANY, MISSING, OTHER
from stationkeeper.workloads.quality.answers import MetricError, answered, answers, blocks, suitable
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.quality.verdict import Decision, Measured, Standard, decide, decide_segment
from stationkeeper.workloads.training.ending import AttemptEnded
from stationkeeper.workloads.training.estimation import Estimation
from stationkeeper.workloads.training.gates import MIN_ROWS, Bench, compare

_NAMED: Final = 3  # classes in a message

Decide = Callable[[Measured, Standard, QualityChecks], Decision]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows that are judged together."""

    rows: pl.DataFrame
    held: Standard
    decide: Decide
    counts: LabelCounts
    segment: str | None = None
    scarcity: str = ""  # where the labels are, should there be too few


@dataclass(frozen=True, slots=True)
class _Judge:
    """What all parts are judged by."""

    manifest: Manifest
    check: QualityChecks
    seed: int
    selection: str = ""


def judge_quality(
    joined: Joined,
    manifest: Manifest,
    check: QualityChecks,
    *,
    estimation: Estimation | None = None,
    segments: Sequence[Segment] = (),
    seed: int = 0,
) -> list[QualityResult]:
    """Judge the metric on labelled rows: the whole first, then each segment against its own past.

    Args:
        joined: captured rows with their labels.
        manifest: of the revision that answered; its evaluation says what is expected.
        check: of the policy.
        estimation: of the revision, where it has one: expectations of other metrics, of segments, and of a constant.
        segments: of the policy.
        seed: of the bootstrap.
    """
    judge = _Judge(manifest, check, seed, _selected(joined))
    held = Standard.of(manifest, check.metric, estimation)
    whole = _judge(judge, _Part(joined.rows, held, decide, joined.counts, None, _scarcity(joined)))
    if whole.verdict is Verdict.ERROR:
        return [whole]
    return [whole, *(result for segment in segments for result in _segments(judge, segment, joined.rows, estimation))]


def _judge(judge: _Judge, part: _Part) -> QualityResult:
    learned, apart = _learned(part.rows, judge.manifest)
    base = QualityResult(
        metric=judge.check.metric,
        method="Labels",
        expected=part.held.score,
        labels=part.counts,
        segment=part.segment,
        verdict=Verdict.INSUFFICIENT_DATA,
    )
    try:
        found = _measure(judge, learned)
    except (MetricError, ArtifactError) as error:
        return base.model_copy(update={"verdict": Verdict.ERROR, "message": str(error)[:500]})
    if isinstance(found, str):
        return base.model_copy(update={"message": _sentence(found, part.scarcity, apart, judge.selection)})
    decision = part.decide(found, part.held, judge.check)
    said = f"{judge.check.metric} {shown(found.score)} on {found.rows} labels"
    return base.model_copy(
        update={
            "score": found.score,
            "skill": None if found.skill is None else found.skill.value,
            "threshold": decision.threshold,
            "verdict": decision.verdict,
            "message": _sentence(said, decision.message, apart, judge.selection),
        }
    )


def _measure(judge: _Judge, rows: pl.DataFrame) -> Measured | str:
    """The score, or why there are too few labels for it.

    Raises:
        MetricError: when the metric cannot be computed.
        MalformedArtifact: when the rows lack the model's output.
    """
    metric = judge.check.metric
    answered(rows, judge.manifest)  # rows of another kind of model are an error, however few
    if rows.height < judge.check.min_labels:
        return f"{rows.height} matured labels are fewer than the {judge.check.min_labels} of minLabels"
    given = answers(rows, judge.manifest, rows[TRUTH])
    suitable(metric, judge.manifest, probabilities=given.probabilities is not None)
    bench = Bench(judge.manifest.task, given, None, blocks(rows), judge.seed)
    if not bench.enough():
        return f"{rows.height} matured labels hold fewer than {MIN_ROWS} of a class"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # precision is undefined where nobody is called positive
        try:
            found = compare(Bench(bench.task, given, given.constant(metric), bench.blocks, judge.seed), metric)
        except (AttemptEnded, ValueError, AttributeError, TypeError) as error:
            line = (str(error).splitlines() or [""])[0][:300]
            raise MetricError(f"{metric} cannot be computed on these labels: {line}") from error
    gain = Score(value=-found.drop.value, low=_negative(found.drop.high), high=_negative(found.drop.low))
    return Measured(found.challenger, rows.height, gain)


def _negative(value: float | None) -> float | None:
    return None if value is None else -value


def shown(score: Score) -> str:
    """A score with its interval, for people."""
    return f"{score.value:.4f}" + ("" if score.low is None or score.high is None else f" ({score.low:.4f} to {score.high:.4f})")


def _learned(rows: pl.DataFrame, manifest: Manifest) -> tuple[pl.DataFrame, str]:
    """Rows of classes that the model knows, and what is to be said of the others."""
    if manifest.task is Task.REGRESSION:
        return rows, ""
    known = pl.col(TRUTH).is_in(manifest.classes)
    others = Counter(rows.filter(~known)[TRUTH].to_list())
    if not others:
        return rows, ""
    named = ", ".join(repr(name[:40]) for name, _ in others.most_common(_NAMED))
    share = others.total() / rows.height
    return rows.filter(known), f"{share:.1%} of the labels are classes that the model never learned ({named}): left out"


def _selected(joined: Joined) -> str:
    return f"of {joined.selection} only ({joined.counts.unselected} others have no outcome)" if joined.selection else ""


def _scarcity(joined: Joined) -> str:
    counts = joined.counts
    if not counts.joined and counts.unknown:
        return f"{counts.unknown} labels were read, and none names a captured request: is labels.key the request id?"
    parts = {
        "rows wait for their labels to mature": joined.waiting,
        "rows have none": counts.missing,
        "rows have labels that disagree": counts.conflicting,
        "rows repeat the request id of another": joined.repeated,
    }
    return ", ".join(f"{count} {what}" for what, count in parts.items() if count)


def _sentence(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _segments(judge: _Judge, segment: Segment, joined: pl.DataFrame, estimation: Estimation | None) -> Iterator[QualityResult]:
    name, metric = INPUT + segment.column, judge.check.metric
    if why := _unfit(segment.column, judge.manifest, joined):
        error, label = Verdict.ERROR, f"{segment.column} = {ANY}"
        yield QualityResult(metric=metric, method="Labels", segment=label, verdict=error, message=why)
        return
    rows = joined.with_columns(pl.col(name).cast(pl.String))
    ranked = sorted(Counter(rows[name].to_list()).items(), key=lambda item: (-item[1], item[0] or ""))
    named = [value for value, _ in ranked[: segment.max_values]]
    for value in named:
        held = Standard.of_segment(estimation, segment.column, value, metric)
        yield _of(judge, rows.filter(pl.col(name).eq_missing(value)), held, segment.column, MISSING if value is None else value)
    if len(ranked) > len(named):
        yield _of(judge, rows.filter(~pl.col(name).is_in(named, nulls_equal=True)), Standard(), segment.column, OTHER)


def _of(judge: _Judge, rows: pl.DataFrame, held: Standard, column: str, value: str) -> QualityResult:
    counts = LabelCounts(requests=rows.height, joined=rows.height)
    return _judge(judge, _Part(rows, held, decide_segment, counts, f"{column} = {value}"))


def _unfit(column: str, manifest: Manifest, rows: pl.DataFrame) -> str:
    feature = next((feature for feature in manifest.features if feature.name == column), None)
    if feature is None:
        return f"the policy names the segment column {column!r}, which is no feature of this revision"
    if is_numeric(feature):
        return f"{column} is numeric: segments need a categorical feature"
    return "" if INPUT + column in rows.columns else f"{column} is not among the captured columns"
