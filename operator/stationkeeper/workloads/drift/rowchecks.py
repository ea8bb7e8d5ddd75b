"""All that captured rows are looked at for: data quality by value, all columns together, segments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.manifest import Column
from stationkeeper.api.report import MultivariateResult, SegmentResult, Violation
from stationkeeper.workloads.drift import rowdata, segments
from stationkeeper.workloads.drift.multivariate import Components, Samples, judge_multivariate, withheld
from stationkeeper.workloads.drift.reference import ReferenceProfile
from stationkeeper.workloads.drift.rowdata import Looked, Typed, look, typed
from stationkeeper.workloads.drift.segments import judge_segments
from stationkeeper.workloads.drift.verdict import by_chance


@dataclass(frozen=True, slots=True)
class RowFindings:
    """What the rows of one window said; `notes` tell what could not be checked, and why."""

    violations: list[Violation] = field(default_factory=list)
    multivariate: list[MultivariateResult] = field(default_factory=list)
    segments: list[SegmentResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def judge_rows(
    rows: pl.DataFrame,
    reference: ReferenceProfile,
    policy: DriftPolicySpec,
    *,
    sample: pl.DataFrame | None,
    pca: Components | None,
    seed: int,
    features: Sequence[Column] = (),
    importance: Mapping[str, float] = {},
) -> RowFindings:
    """Judge the rows of a window.

    The tests of all columns together and the segments share the policy's promise with the columns, which profiles judge.

    Args:
        rows: of the window, features by their plain names; other columns are ignored.
        reference: what the revision's columns looked like.
        policy: what is checked.
        sample: rows of the reference, for the domain classifier and the segments; None where none are kept.
        pca: of the revision; None where it has none.
        seed: of everything that is drawn.
        features: of the revision's manifest. They know which columns hold whole numbers; else the sample is asked.
        importance: share of the model's score that each feature carries, where the revision knows it.
    """
    current, kept = typed(rows, reference), None if sample is None else typed(sample, reference)
    whole = _whole(features, kept)
    looked = look(current, reference, whole)
    return judge_looked(looked, Whole(current, kept, pca, seed), reference, policy, whole=whole, importance=importance)


@dataclass(frozen=True, slots=True)
class Whole:
    """Whole rows of both sides, for what no column shows alone."""

    current: Typed
    sample: Typed | None = None  # of the reference; None where none are kept
    pca: Components | None = None
    seed: int = 0


def judge_looked(
    looked: Looked,
    rows: Whole | None,
    reference: ReferenceProfile,
    policy: DriftPolicySpec,
    *,
    whole: frozenset[str],
    importance: Mapping[str, float] = {},
) -> RowFindings:
    """The same of rows that were looked at already, column by column.

    Args:
        looked: all rows of the window.
        rows: as many of them as are judged whole; None where the policy asks for nothing that needs them (`needs_rows`).
        reference: what the columns looked like.
        policy: what is checked.
        whole: the numeric features of which only whole numbers are known.
        importance: as in `judge_rows`.
    """
    notes = [f"{why}; it was not compared" for why in looked.unread.values()]
    if looked.rows < policy.min_samples:
        few = f"{looked.rows} captured rows are fewer than the {policy.min_samples} of minSamples"
        together = withheld(policy.features.multivariate, few, looked.rows)
        return RowFindings(multivariate=together, segments=segments.withheld(policy.segments, few), notes=[*notes, few])
    alpha = by_chance(reference, policy, looked.rows)
    broken = rowdata.violations(looked, reference, policy.schema_, alpha / max(len(reference.features), 1), whole)
    if rows is None:
        return RowFindings(violations=broken, notes=notes)
    kept = rows.sample
    return RowFindings(
        violations=[*broken, *rowdata.duplicates(rows.current, policy.schema_)],
        multivariate=_together(rows, policy, alpha),
        segments=judge_segments(
            rows.current.columns, None if kept is None else kept.columns, reference, policy, alpha, importance
        ),
        notes=notes,
    )


def needs_rows(policy: DriftPolicySpec) -> bool:
    """Whether a policy asks for what only whole rows show."""
    return bool(policy.features.multivariate or policy.segments or policy.schema_.max_duplicate_share is not None)


def _whole(features: Sequence[Column], kept: Typed | None) -> frozenset[str]:
    if features or kept is None:
        return frozenset(feature.name for feature in features if feature.integer)
    return rowdata.whole_numbers(kept)


def _together(rows: Whole, policy: DriftPolicySpec, alpha: float) -> list[MultivariateResult]:
    check, current, kept = policy.features.multivariate, rows.current, rows.sample
    if check is None:
        return []
    ignored = {column.name for column in policy.features.columns if column.ignore}
    names = [name for name in current.columns if name not in ignored and (kept is None or name in kept.columns)]
    before = None if kept is None else {name: kept.columns[name] for name in names}
    samples = Samples({name: current.columns[name] for name in names}, before, rows.seed)
    return judge_multivariate(samples, check, rows.pca, alpha)
