"""Every check of the features per value of a column: the rows of one value against the reference's rows of the same value.

The whole reference would be the wrong comparison: an airline differs from all airlines on any day. The bins are the reference's own,
the counts those of its kept rows of the segment.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stationkeeper.api.driftpolicy import ColumnCheck, DriftPolicySpec, Segment
from stationkeeper.api.report import ColumnResult, SegmentResult
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift.baseline import against, rebased
from stationkeeper.workloads.drift.columns import MIN_REFERENCE
from stationkeeper.workloads.drift.encoding import at, height
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.verdict import Findings, judge

MISSING: Final = "(missing)"
ANY: Final = "*"
OTHER: Final = "(all other)"
_NAMED: Final = 20  # drifted columns of a segment

Array = NDArray[Any]
Columns = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of one segment, in the window and in the kept rows of the reference."""

    column: str
    value: str
    current: Columns
    reference: Columns


def withheld(segments: Sequence[Segment], why: str) -> list[SegmentResult]:
    """One result for each column, where its segments cannot be judged."""
    verdict = Verdict.INSUFFICIENT_DATA
    return [SegmentResult(column=segment.column, value=ANY, rows=0, verdict=verdict, message=why) for segment in segments]


def judge_segments(
    current: Columns,
    sample: Columns | None,
    reference: ReferenceProfile,
    policy: DriftPolicySpec,
    alpha: float,
    importance: Mapping[str, float],
) -> list[SegmentResult]:
    """Judge the segments of a window, in the policy's order, the largest first.

    Args:
        current: rows of the window, as columns; features that could not be read are left out.
        sample: rows of the reference alike; None where none are kept.
        reference: whose bins are used.
        policy: what is checked.
        alpha: how often chance may breach any check of one segment.
        importance: of the features, where it is known.
    """
    names = current.keys() & (sample or {}).keys()
    now, before = ({name: values for name, values in side.items() if name in names} for side in (current, sample or {}))
    bins, found = Profile.empty(_narrowed(reference, names)), list[SegmentResult]()
    for segment in policy.segments:
        if why := _unfit(segment.column, reference):
            found.append(SegmentResult(column=segment.column, value=ANY, rows=0, verdict=Verdict.ERROR, message=why))
        elif segment.column not in names:
            known = "no rows of the reference are kept to compare with" if sample is None else "the column could not be read"
            found += withheld([segment], known)
        else:
            spec = _without(policy, segment.column, names)
            found += [_judge(part, bins, spec, alpha, importance) for part in _parts(segment, now, before)]
    return found


def _narrowed(reference: ReferenceProfile, names: Set[str]) -> ReferenceProfile:
    features = [column for column in reference.features if column.name in names]
    return ReferenceProfile(
        rows=reference.rows, prediction_rows=0, features=features, predictions=[], variation=reference.variation
    )


def _unfit(name: str, reference: ReferenceProfile) -> str:
    kinds = {column.name: column.kind for column in reference.features}
    if name not in kinds:
        return f"the policy names the segment column {name!r}, which is no feature of this revision"
    return "" if kinds[name] == "categorical" else f"{name} is numeric: segments need a categorical feature"


def _without(policy: DriftPolicySpec, name: str, names: Set[str]) -> DriftPolicySpec:
    """The policy for the other features: within a segment its own column says nothing."""
    own = [check for check in policy.features.columns if check.name in names - {name}]
    features = policy.features.model_copy(update={"columns": [*own, ColumnCheck(name=name, ignore=True)]})
    return policy.model_copy(update={"features": features})


def _parts(segment: Segment, current: Columns, sample: Columns) -> Iterator[_Part]:
    values = current[segment.column]
    ranked = sorted(Counter(values.tolist()).items(), key=lambda item: (-item[1], item[0] or ""))
    named = [value for value, _ in ranked[: segment.max_values]]
    for value in named:
        yield _part(segment.column, MISSING if value is None else value, current, sample, [value])
    if len(ranked) > len(named):
        yield _part(segment.column, OTHER, current, sample, named, inside=False)


def _part(
    column: str, label: str, current: Columns, sample: Columns, values: Sequence[str | None], *, inside: bool = True
) -> _Part:
    rows, kept = (np.array([v in values for v in side[column].tolist()], dtype=bool) == inside for side in (current, sample))
    return _Part(column, label, at(current, rows), at(sample, kept))


def _judge(part: _Part, bins: Profile, policy: DriftPolicySpec, alpha: float, importance: Mapping[str, float]) -> SegmentResult:
    rows, kept = height(part.current), height(part.reference)
    if rows < policy.min_samples:
        return _open(part, rows, f"{rows} rows are fewer than the {policy.min_samples} of minSamples")
    if kept < MIN_REFERENCE:
        return _open(part, rows, f"the reference keeps {kept} rows of it, fewer than the {MIN_REFERENCE} to compare with")
    now, before = bins.fresh(), bins.fresh()
    now.update(part.current, {})
    before.update(part.reference, {})
    findings = judge(against(now, rebased(bins.layout.reference, before)), policy, alpha, importance=importance)
    groups = (findings.data, findings.features)
    verdict = next((v for v in (Verdict.BREACHED, Verdict.INSUFFICIENT_DATA) if v in {g.verdict for g in groups}), Verdict.PASSED)
    message = "; ".join(g.message for g in groups if g.verdict is verdict)
    return SegmentResult(
        column=part.column, value=part.value, rows=rows, drifted_share=findings.drifted_share,
        columns=_drifted(findings), verdict=verdict, message=message,
    )  # fmt: skip


def _drifted(findings: Findings) -> list[ColumnResult]:
    breached = [c for c in findings.columns if c.verdict is Verdict.BREACHED]
    return sorted(breached, key=lambda c: -(c.statistic or 0) / max(c.threshold or 0, 1e-9))[:_NAMED]


def _open(part: _Part, rows: int, why: str) -> SegmentResult:
    return SegmentResult(column=part.column, value=part.value, rows=rows, verdict=Verdict.INSUFFICIENT_DATA, message=why)
