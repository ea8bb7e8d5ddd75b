"""From a window's profile and a policy to verdicts, with the reason in one sentence.

Three groups are judged apart, because they are answered apart: `data` (broken: never learn from it), `features` and `predictions`
(drifted: retrain). Missing evidence is `InsufficientData`, never `Passed`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from stationkeeper.api.driftpolicy import ColumnCheck, DistributionCheck, DriftPolicySpec
from stationkeeper.api.model import Verdict
from stationkeeper.api.report import ColumnResult, Violation
from stationkeeper.workloads.drift import schema
from stationkeeper.workloads.drift.calibration import Group, calibrate, ordinary
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference
from stationkeeper.workloads.drift.statistics import Statistic, kolmogorov_smirnov, psi

MIN_VALUES: Final = 30  # non-missing values on each side, for Kolmogorov-Smirnov
_NAMED: Final = 5  # columns in a message
_SHORT: Final = {"PSI": "PSI", "KolmogorovSmirnov": "KS"}


@dataclass(frozen=True, slots=True)
class GroupVerdict:
    """The verdict of one group, and why."""

    verdict: Verdict
    message: str


@dataclass(frozen=True, slots=True)
class Findings:
    """What one window said."""

    rows: int
    data: GroupVerdict
    features: GroupVerdict
    predictions: GroupVerdict
    drifted_share: float | None = None
    columns: list[ColumnResult] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict:
        """The gravest: a breach that was seen stands, an error or missing evidence is never a pass."""
        found = {self.data.verdict, self.features.verdict, self.predictions.verdict}
        gravity = (Verdict.BREACHED, Verdict.ERROR, Verdict.INSUFFICIENT_DATA, Verdict.PASSED)
        return next(verdict for verdict in gravity if verdict in found)

    @property
    def message(self) -> str:
        """The finding in sentences, gravest first; what two groups say alike is said once."""
        groups = (self.data, self.features, self.predictions)
        first = [g.message for g in groups if g.verdict in (Verdict.BREACHED, Verdict.ERROR)]
        rest = [g.message for g in groups if g.message not in first]
        return "; ".join(dict.fromkeys([*first, *rest]))


def judge(profile: Profile, policy: DriftPolicySpec) -> Findings:
    """Judge a window's traffic against the reference that it was counted with."""
    features, unknown = _feature_checks(profile, policy)
    predictions = [(column, policy.predictions) for column in profile.layout.reference.predictions]
    # One promise over all checks of the window: each distribution that is calibrated, and the completeness of each feature.
    calibrated = sum(_threshold(column, check) is None for column, check in [*features, *predictions])
    alpha = policy.false_alarm_rate / max(calibrated + len(profile.layout.reference.features), 1)

    violations = schema.violations(profile, policy.schema_, alpha)
    drift = [_compare(profile, "features", column, check, alpha) for column, check in features]
    shift = [_compare(profile, "predictions", column, check, alpha) for column, check in predictions]
    enough = profile.rows >= policy.min_samples
    share = _share(drift) if enough else None
    return Findings(
        rows=profile.rows,
        data=_data(profile, policy, violations),
        features=_features(drift, share, policy, unknown, profile) if enough or unknown else _too_few(profile, policy),
        predictions=_predictions(shift) if enough else _too_few(profile, policy),
        drifted_share=share,
        columns=(drift + shift if enough else []) + unknown,
        violations=violations if profile.rows + profile.refused_rows >= policy.min_samples else [],
    )


def unreadable(why: str) -> Findings:
    """A window of which a profile could not be read: no group can be judged."""
    error = GroupVerdict(Verdict.ERROR, why)
    return Findings(rows=0, data=error, features=error, predictions=error)


def _feature_checks(
    profile: Profile, policy: DriftPolicySpec
) -> tuple[list[tuple[AnyReference, DistributionCheck]], list[ColumnResult]]:
    own: dict[str, ColumnCheck] = {check.name: check for check in policy.features.columns}
    known = [column.name for column in profile.layout.reference.features]
    checks = [
        (column, own.get(column.name, policy.features.default))
        for column in profile.layout.reference.features
        if not (column.name in own and own[column.name].ignore)
    ]
    return checks, [_unknown(check, known) for name, check in own.items() if name not in known]


def _unknown(check: ColumnCheck, known: Sequence[str]) -> ColumnResult:
    message = f"the policy names the column {check.name!r}, which is no feature of this revision; it has {_listed(known)}"
    return ColumnResult(
        name=check.name, group="features", test=check.test, statistic=None, threshold=check.threshold,
        calibrated=False, verdict=Verdict.ERROR, message=message,
    )  # fmt: skip


def _threshold(column: AnyReference, check: DistributionCheck) -> float | None:
    # Categories are compared by PSI: a threshold that was meant for Kolmogorov-Smirnov says nothing about it.
    return check.threshold if check.test == "PSI" or column.kind == "numeric" else None


def _compare(
    profile: Profile, group: Literal["features", "predictions"], column: AnyReference, check: DistributionCheck, alpha: float
) -> ColumnResult:
    statistic = _statistic(profile, group, column, check)
    given = _threshold(column, check)
    verdict, message, limit = Verdict.INSUFFICIENT_DATA, f"{column.name} holds too few values to compare", given
    if not math.isnan(statistic.value):
        limit = given if given is not None else _calibrated(profile, group, column, statistic, alpha)
        verdict = Verdict.BREACHED if statistic.value > limit else Verdict.PASSED
        relation = ">" if verdict is Verdict.BREACHED else "<="
        message = f"{column.name} ({_SHORT[statistic.name]} {statistic.value:.2g} {relation} {limit:.2g})"
    return ColumnResult(
        name=column.name, group=group, test=statistic.name, calibrated=given is None, verdict=verdict, message=message,
        statistic=None if math.isnan(statistic.value) else statistic.value, threshold=limit,
    )  # fmt: skip


def _statistic(profile: Profile, group: Group, column: AnyReference, check: DistributionCheck) -> Statistic:
    counts = profile.counts(group, column.name)
    if check.test == "PSI" or column.kind == "categorical":
        return psi(column.vector, counts, column.kind)
    found = kolmogorov_smirnov(column.vector, counts)
    if min(found.reference_size, found.current_size) < MIN_VALUES:
        return Statistic(found.name, float("nan"), found.reference_size, found.current_size)
    return found


def _calibrated(profile: Profile, group: Group, column: AnyReference, statistic: Statistic, alpha: float) -> float:
    variation = ordinary(profile.layout.reference.variation, group, column.name, profile.rows)
    return calibrate(statistic, alpha, variation).value


def _share(results: Sequence[ColumnResult]) -> float | None:
    compared = [r for r in results if r.verdict is not Verdict.INSUFFICIENT_DATA]
    return sum(r.verdict is Verdict.BREACHED for r in compared) / len(compared) if compared else None


def _data(profile: Profile, policy: DriftPolicySpec, violations: Sequence[Violation]) -> GroupVerdict:
    if profile.rows + profile.refused_rows < policy.min_samples:
        return _too_few(profile, policy)
    if violations:
        named = ", ".join(f"{v.column} {v.observed} ({v.type})" for v in violations[:_NAMED])
        return GroupVerdict(Verdict.BREACHED, f"broken data: {named}{_more(len(violations))}")
    if profile.rows < policy.min_samples:
        return _too_few(profile, policy)  # completeness was not seen
    return GroupVerdict(Verdict.PASSED, "the data is whole")


def _features(
    results: Sequence[ColumnResult],
    share: float | None,
    policy: DriftPolicySpec,
    unknown: Sequence[ColumnResult],
    profile: Profile,
) -> GroupVerdict:
    if unknown:
        return GroupVerdict(Verdict.ERROR, "; ".join(u.message for u in unknown[:2]) + _more(len(unknown), 2))
    if share is None:
        return GroupVerdict(Verdict.INSUFFICIENT_DATA, f"no feature could be compared over {profile.rows} rows")
    drifted = _ranked(r for r in results if r.verdict is Verdict.BREACHED)
    limit, open_ = policy.features.max_drifted_share, sum(r.verdict is Verdict.INSUFFICIENT_DATA for r in results)
    message = f"{len(drifted)} of {len(results) - open_} features drifted"
    if drifted:
        message += f": {', '.join(r.message for r in drifted[:_NAMED])}{_more(len(drifted))}"
    if drifted and share >= limit:
        return GroupVerdict(Verdict.BREACHED, message)
    if (len(drifted) + open_) / len(results) >= limit and open_:
        return GroupVerdict(Verdict.INSUFFICIENT_DATA, f"{message}; {open_} hold too few values to compare")
    return GroupVerdict(Verdict.PASSED, message)


def _predictions(results: Sequence[ColumnResult]) -> GroupVerdict:
    shifted = _ranked(r for r in results if r.verdict is Verdict.BREACHED)
    if shifted:
        return GroupVerdict(Verdict.BREACHED, f"predictions shifted: {', '.join(r.message for r in shifted)}")
    if not results or any(r.verdict is Verdict.INSUFFICIENT_DATA for r in results):
        return GroupVerdict(Verdict.INSUFFICIENT_DATA, "the predictions could not be compared")
    return GroupVerdict(Verdict.PASSED, "the predictions are as in the reference")


def _too_few(profile: Profile, policy: DriftPolicySpec) -> GroupVerdict:
    refused = f" ({profile.refused_rows} more were refused)" if profile.refused_rows else ""
    return GroupVerdict(
        Verdict.INSUFFICIENT_DATA, f"{profile.rows} rows{refused} are fewer than the {policy.min_samples} of minSamples"
    )


def _ranked(results: Iterable[ColumnResult]) -> list[ColumnResult]:
    """By how many times the statistic is over its threshold."""
    return sorted(results, key=lambda r: -(r.statistic or 0) / max(r.threshold or 0, 1e-9))


def _more(count: int, named: int = _NAMED) -> str:
    return f" and {count - named} more" if count > named else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + _more(len(names), 20)
