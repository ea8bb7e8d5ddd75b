"""Quality on labels: any scikit-learn scorer on the predictions that were captured, with its interval and its skill."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from stationkeeper.api.driftpolicy import QualityChecks, Segment
from stationkeeper.api.manifest import Manifest, Task
from stationkeeper.api.report import LabelCounts, QualityResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.artifacts.errors import ArtifactError
from stationkeeper.workloads.drift.segments import ANY
from stationkeeper.workloads.quality.answers import MetricError, sound
from stationkeeper.workloads.quality.labels import TRUTH, Joined
from stationkeeper.workloads.quality.measure import TooFew, measure, shown
from stationkeeper.workloads.quality.parts import divided, unfit
from stationkeeper.workloads.quality.verdict import Decision, Measured, Standard, concluded, decide, decide_segment
from stationkeeper.workloads.training.estimation import Estimation

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
    check = judge.check
    base = QualityResult(
        metric=check.metric,
        method="Labels",
        expected=part.held.score,
        labels=part.counts,
        segment=part.segment,
        verdict=Verdict.INSUFFICIENT_DATA,
    )
    rows, apart = _learned(part.rows, judge.manifest)
    odd = ""
    try:
        rows, odd = sound(rows, judge.manifest)
        found = measure(rows, judge.manifest, check.metric, check.min_labels, judge.seed)
    except TooFew as why:
        return base.model_copy(update={"message": _sentence(str(why), part.scarcity, apart, odd, judge.selection)})
    except (MetricError, ArtifactError) as error:
        return base.model_copy(update={"verdict": Verdict.ERROR, "message": str(error)[:500]})
    decision = part.decide(found, part.held, check)
    said = f"{check.metric} {shown(found.score)} on {found.rows} labels"
    return concluded(base, found, decision, _sentence(said, decision.message, apart, odd, judge.selection))


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
    if joined.strangers:
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
    column, metric = segment.column, judge.check.metric
    if why := unfit(column, judge.manifest, joined):
        yield QualityResult(metric=metric, method="Labels", segment=f"{column} = {ANY}", verdict=Verdict.ERROR, message=why)
        return
    for value, rows, held in divided(segment, joined, estimation, metric):
        counts = LabelCounts(requests=rows.height, joined=rows.height)
        yield _judge(judge, _Part(rows, held, decide_segment, counts, f"{column} = {value}"))
