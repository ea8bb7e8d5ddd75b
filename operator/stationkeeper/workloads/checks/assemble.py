"""What profiles, rows and labels said of one window, put together into the report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from stationkeeper.api.driftpolicy import DriftPolicySpec
from stationkeeper.api.report import Calibrating, ColumnResult, DriftReport, QualityPoint, QualityResult, SegmentResult, Violation
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift import schema
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.rowchecks import RowFindings
from stationkeeper.workloads.drift.verdict import Findings, GroupVerdict, more
from stationkeeper.workloads.drift.windows import Window

OWN: Final = "the rows that the revision learned from"
TELLS: Final = "The policy only tells."
OBSERVES: Final = "Thresholds are calibrating: what breached is observed, and nothing is done about it."
_NAMED: Final = 3  # segments in a message, or files
_IN_SEGMENT: Final = 2  # columns of a segment


@dataclass(frozen=True, slots=True)
class Subject:
    """What is checked by whom: the identities in a report."""

    model: str  # namespace/name
    policy: str
    policy_uid: str
    policy_digest: str
    revision: int
    revision_digest: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that was found in one window."""

    counts: Findings
    rows: RowFindings = field(default_factory=RowFindings)
    quality: Sequence[QualityResult] = ()
    history: Sequence[QualityPoint] = ()
    notes: Sequence[str] = ()
    answers: bool = True  # whether predictions were to be compared
    watched: bool = True  # whether anything is done about it
    lost: Sequence[str] = ()  # what is wrong with files beside those that were judged
    reference_rows: int = 0
    baseline: str = OWN
    calibrating: Mapping[Group, str] = field(default_factory=dict)  # groups of which nobody knows what windows differ by, and why


def report(subject: Subject, policy: DriftPolicySpec, window: Window, evidence: Evidence, now: datetime) -> DriftReport:
    """The report of one window. Rows add to what counts have shown; they never take anything back."""
    rows = evidence.rows
    found = replace(evidence.counts, data=data_group(evidence), features=_features(evidence))
    # A group that nobody asked for neither passes nor fails the whole.
    whole = found if evidence.answers else replace(found, predictions=found.features)
    calibrating = _calibrating(found, evidence.calibrating)
    return DriftReport(
        model=subject.model,
        policy=subject.policy,
        policy_uid=subject.policy_uid,
        policy_digest=subject.policy_digest,
        revision=subject.revision,
        revision_digest=subject.revision_digest,
        start=window.start,
        end=window.end,
        created_at=now,
        rows=found.rows,
        reference_rows=evidence.reference_rows,
        baseline=evidence.baseline,
        verdict=whole.verdict,
        data=found.data.verdict,
        features=found.features.verdict,
        predictions=found.predictions.verdict,
        drifted_share=found.drifted_share,
        message=whole.message,
        action=_action(policy, found, calibrating) if evidence.watched else "",
        calibrating=calibrating,
        columns=found.columns,
        histograms=found.histograms,
        violations=[*schema.united(found.violations, rows.violations), *_drifted(found.columns)],
        multivariate=rows.multivariate,
        segments=rows.segments,
        quality=list(evidence.quality),
        history=list(evidence.history),
        notes=[*found.notes, *rows.notes, *_unfit(policy, found.columns), *evidence.notes][:32],
    )


def _calibrating(found: Findings, why: Mapping[Group, str]) -> list[Calibrating]:
    verdicts = {"features": found.features.verdict, "predictions": found.predictions.verdict}
    breached = {group for group in why if verdicts[group] is Verdict.BREACHED and group not in found.firm}
    return [Calibrating(group=group, message=message, breached=group in breached) for group, message in why.items()]


def _drifted(columns: Sequence[ColumnResult]) -> Iterator[Violation]:
    """What is no fault of the data, in the same words: programs read one list."""
    for found in columns:
        if found.verdict is Verdict.BREACHED and found.statistic is not None and found.threshold is not None:
            observed, expected = f"{found.test} {found.statistic:.3g}", f"at most {found.threshold:.3g}"
            yield Violation(type="baseline_drift", column=found.name, observed=observed, expected=expected)


def _unfit(policy: DriftPolicySpec, columns: Sequence[ColumnResult]) -> Iterator[str]:
    """Tests that were asked of a column for which they mean nothing."""
    used = {found.name: found.test for found in columns if found.group == "features" and found.verdict is not Verdict.ERROR}
    for asked in policy.features.columns:
        if asked.name in used and used[asked.name] != asked.test:
            kind = "text" if asked.test in ("KolmogorovSmirnov", "Wasserstein") else "numbers"
            lost = " and its threshold is not used" if asked.threshold is not None else ""
            yield f"{asked.test} is no test for {kind}: {asked.name} was compared by {used[asked.name]}{lost}"


def data_group(evidence: Evidence) -> GroupVerdict:
    """Whether the data is whole, by counts and by rows. What could not be read is not whole."""
    seen = evidence.counts.data
    if evidence.rows.violations and seen.verdict is not Verdict.ERROR:
        broken = schema.broken(schema.united(evidence.counts.violations, evidence.rows.violations))
        seen = GroupVerdict(Verdict.BREACHED, broken)
    if not evidence.lost:
        return seen
    lost = "; ".join(evidence.lost[:_NAMED]) + more(len(evidence.lost), _NAMED)
    if seen.verdict is Verdict.BREACHED:
        return GroupVerdict(Verdict.BREACHED, f"{seen.message}; {lost}")
    return GroupVerdict(Verdict.ERROR, f"{lost}; all others were checked")


def _features(evidence: Evidence) -> GroupVerdict:
    """Columns, all columns together, and segments: a breach of any is a drift of the features."""
    seen = evidence.counts.features
    together = [m.message for m in evidence.rows.multivariate if m.verdict is Verdict.BREACHED]
    parts = [_segment(s) for s in evidence.rows.segments if s.verdict is Verdict.BREACHED]
    wrong = [s.message for s in evidence.rows.segments if s.verdict is Verdict.ERROR]
    if wrong and seen.verdict is not Verdict.BREACHED and not (together or parts):
        return GroupVerdict(Verdict.ERROR, "; ".join(([seen.message] if seen.verdict is Verdict.ERROR else []) + wrong))
    if seen.verdict is Verdict.ERROR or not (together or parts):
        return seen
    told = [f"drifted in {', '.join(parts[:_NAMED])}{more(len(parts), _NAMED)}"] if parts else []
    return GroupVerdict(Verdict.BREACHED, "; ".join([seen.message, *together, *told]))


def _segment(found: SegmentResult) -> str:
    """A segment and what drifted in it the most: all of it is in its own table."""
    names = [column.name for column in found.columns[:_IN_SEGMENT]] or ["broken data"]
    return f"{found.column} = {found.value} ({', '.join(names)}{more(len(found.columns), _IN_SEGMENT)})"


def _action(policy: DriftPolicySpec, found: Findings, calibrating: Sequence[Calibrating]) -> str:
    data, features, predictions = (g.verdict is Verdict.BREACHED for g in (found.data, found.features, found.predictions))
    observed = {c.group for c in calibrating if c.breached}
    features, predictions = features and "features" not in observed, predictions and "predictions" not in observed
    if data and policy.schema_.action == "Block":
        return "The data is broken: automatic retraining is blocked until a window is whole again."
    breached = [("the features drifted", features, policy.features.action)]
    breached.append(("the predictions drifted", predictions, policy.predictions.action))
    acting = [what for what, so, own in breached if so and (own or policy.action) == "Retrain"]
    if acting:
        return retraining(policy, " and ".join(acting))
    if observed and not (data or features or predictions):
        return OBSERVES
    return TELLS if data or features or predictions else "Nothing is to be done."


def retraining(policy: DriftPolicySpec, what: str) -> str:
    """What a breach leads to, in a sentence."""
    return f"A retraining is asked for when {policy.breach.windows} of {policy.breach.of} windows agree that {what}."
