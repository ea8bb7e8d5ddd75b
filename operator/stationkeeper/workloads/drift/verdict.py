"""From a window's profile and a policy to verdicts, with the reason in one sentence.

Three groups are judged apart, because they are answered apart: `data` (broken: never learn from it), `features` and `predictions`
(drifted: retrain). Missing evidence is `InsufficientData`, never `Passed`.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from stationkeeper.api.driftpolicy import ColumnCheck, DriftPolicySpec, Test
from stationkeeper.api.report import ColumnResult, Histogram, Violation
from stationkeeper.api.verdicts import Verdict
from stationkeeper.workloads.drift import schema
from stationkeeper.workloads.drift.calibration import Group
from stationkeeper.workloads.drift.columns import Check, coarse, judge_columns, lasting
from stationkeeper.workloads.drift.histograms import histogram
from stationkeeper.workloads.drift.hysteresis import window_rate
from stationkeeper.workloads.drift.profile import Profile
from stationkeeper.workloads.drift.reference import AnyReference, ReferenceProfile
from stationkeeper.workloads.drift.statistics import MEASURES

GROUPS: Final[tuple[Group, ...]] = ("features", "predictions")
UNSTABLE: Final = "ReferenceUnstable"
_NAMED: Final = 5  # columns in a message


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
    histograms: list[Histogram] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # on the reference
    firm: frozenset[Group] = frozenset()  # groups that breach by thresholds that were given, whatever calibrated ones say

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


def judge(
    profile: Profile, policy: DriftPolicySpec, alpha: float | None = None, *, importance: Mapping[str, float] = {}
) -> Findings:
    """Judge a window's traffic against the reference that it was counted with.

    Args:
        profile: the window.
        policy: what is checked.
        alpha: how often chance may breach any calibrated check; None for what the policy promises (`by_chance`).
        importance: share of the model's score that each feature carries; empty where the revision does not know it.
    """
    reference = profile.layout.reference
    features, unknown = _feature_checks(reference.features, policy)
    checks = features + _prediction_checks(reference, policy)
    # One promise over all checks of the window: each distribution that is calibrated, and the completeness of each feature.
    calibrated = sum(check.given is None for check in checks)
    alpha = by_chance(reference, policy, profile.rows) if alpha is None else alpha
    violations = schema.violations(profile, policy.schema_, alpha / max(calibrated + len(reference.features), 1))
    results = judge_columns(profile, checks, alpha, len(reference.features), importance)
    drift, shift = results[: len(features)], results[len(features) :]
    enough = profile.rows >= policy.min_samples
    share = _share(drift) if enough else None
    given = _share(drift, firm=True) if enough else None
    firm = {"features": bool(given and given >= policy.features.max_drifted_share), "predictions": any(map(_firm, shift))}
    return Findings(
        rows=profile.rows,
        data=_data(profile, policy, violations),
        features=_features(drift, share, policy, unknown, profile) if enough or unknown else _too_few(profile, policy),
        predictions=_predictions(shift) if enough else _too_few(profile, policy),
        drifted_share=share,
        columns=(results if enough else []) + unknown,
        violations=violations if profile.rows + profile.refused_rows >= policy.min_samples else [],
        histograms=[histogram(profile, check.group, check.column) for check in checks] if profile.rows else [],
        notes=_notes(reference) + ([*_coarse(results, profile), *_unlimited(profile, policy, alpha)] if enough else []),
        firm=frozenset(group for group in GROUPS if enough and firm[group]),
    )


def by_chance(reference: ReferenceProfile, policy: DriftPolicySpec, rows: int) -> float:
    """The share of windows of so many rows in which chance may breach any check of the columns, or of any other part (`parts`).

    How long the weather of the columns stays is heeded by all parts alike: of whole rows it is not known.
    """
    checks = _feature_checks(reference.features, policy)[0] + _prediction_checks(reference, policy)
    return window_rate(policy, lasting(reference, checks, rows))


def calibrated(reference: ReferenceProfile, policy: DriftPolicySpec) -> list[Group]:
    """The groups of which some threshold is calibrated."""
    checks = _feature_checks(reference.features, policy)[0] + _prediction_checks(reference, policy)
    found = {check.group for check in checks if check.given is None} | ({"features"} if policy.features.multivariate else set())
    return [group for group in GROUPS if group in found]


def unreadable(why: str) -> Findings:
    """A window of which a profile could not be read: no group can be judged."""
    error = GroupVerdict(Verdict.ERROR, why)
    return Findings(rows=0, data=error, features=error, predictions=error)


def _notes(reference: ReferenceProfile) -> list[str]:
    notes = []
    if reference.support_rows:
        notes.append(
            f"compared with the newest {reference.rows} of the {reference.support_rows} rows of the reference; ranges and categories "
            "are those of all"
        )
    if reference.unstable:
        named = f"{', '.join(reference.unstable[:_NAMED])}{more(len(reference.unstable))}"
        notes.append(
            f"{UNSTABLE}: {named} moved within the reference by more than its days and weather do; thresholds are wide there"
        )
    return notes


def _coarse(results: Sequence[ColumnResult], profile: Profile) -> Iterator[str]:
    """Columns that passed though so few rows would not show a drift that everybody wants to see."""
    seen = [r for r in results if r.parts and r.verdict is not Verdict.BREACHED]
    of = [r for r in seen if r.parts and coarse(MEASURES[cast("Test", r.test)], r.parts)]
    if of:
        named = f"{', '.join(r.name for r in of[:_NAMED])}{more(len(of))}"
        rows = f"{profile.rows} rows against {profile.layout.reference.rows}"
        yield f"{rows} are too few to show a shift of half a standard deviation in {named}"


def _unlimited(profile: Profile, policy: DriftPolicySpec, alpha: float) -> Iterator[str]:
    """Values that the reference never held, where the policy does not say how many are too many."""
    least = {"max_unseen_share": schema.MIN_SHARE, "max_out_of_range_share": schema.MIN_SHARE}
    asked = policy.schema_.model_copy(update={k: v if getattr(policy.schema_, k) is None else 1.0 for k, v in least.items()})
    columns = profile.layout.reference.features
    found = [v for c in columns for v in schema.unexpected(c, profile.counts("features", c.name), asked, alpha / len(columns))]
    for kind, limit in (("unseen_category", "maxUnseenShare"), ("out_of_range", "maxOutOfRangeShare")):
        if named := [f"{v.column} {v.observed}" for v in found if v.type == kind]:
            yield f"{', '.join(named[:_NAMED])}{more(len(named))}: it may only drift, because schema.{limit} is not given"


def _feature_checks(columns: Sequence[AnyReference], policy: DriftPolicySpec) -> tuple[list[Check], list[ColumnResult]]:
    own = {check.name: check for check in policy.features.columns}
    known = [column.name for column in columns]
    checks = [
        Check("features", column, own.get(column.name, policy.features.default))
        for column in columns
        if not (column.name in own and own[column.name].ignore)
    ]
    return checks, [_unknown(check, known) for name, check in own.items() if name not in known]


def _prediction_checks(reference: ReferenceProfile, policy: DriftPolicySpec) -> list[Check]:
    return [Check("predictions", column, policy.predictions) for column in reference.predictions]


def _unknown(check: ColumnCheck, known: Sequence[str]) -> ColumnResult:
    message = f"the policy names the column {check.name!r}, which is no feature of this revision; it has {_listed(known)}"
    return ColumnResult(
        name=check.name, group="features", test=check.test, statistic=None, threshold=check.threshold,
        calibrated=False, verdict=Verdict.ERROR, message=message,
    )  # fmt: skip


def _weights(results: Sequence[ColumnResult]) -> dict[str, float]:
    """How much each feature counts: by its importance where the revision knows any, else alike."""
    known = {r.name: max(r.importance or 0.0, 0.0) for r in results}
    return known if any(known.values()) else dict.fromkeys(known, 1.0)


def _share(results: Sequence[ColumnResult], *, firm: bool = False) -> float | None:
    """The drifted share of what could be compared; with `firm` that which drifted by given thresholds."""
    weights = _weights(results)
    compared = sum(weights[r.name] for r in results if r.statistic is not None)
    drifted = [r for r in results if (_firm(r) if firm else r.verdict is Verdict.BREACHED)]
    return sum(weights[r.name] for r in drifted) / compared if compared else None


def _firm(result: ColumnResult) -> bool:
    return result.verdict is Verdict.BREACHED and not result.calibrated


def _data(profile: Profile, policy: DriftPolicySpec, violations: Sequence[Violation]) -> GroupVerdict:
    if profile.rows + profile.refused_rows < policy.min_samples:
        return _too_few(profile, policy)
    if violations:
        return GroupVerdict(Verdict.BREACHED, schema.broken(violations))
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
        return GroupVerdict(Verdict.ERROR, "; ".join(u.message for u in unknown[:2]) + more(len(unknown), 2))
    if share is None:
        against = f"{profile.rows} rows and the {profile.layout.reference.rows} of the reference"
        return GroupVerdict(Verdict.INSUFFICIENT_DATA, f"no feature could be compared over {against}")
    if not any(profile.counts("features", c.name)[:-1].any() or c.vector[:-1].any() for c in profile.layout.reference.features):
        return GroupVerdict(Verdict.INSUFFICIENT_DATA, "no feature holds any value, here or in the reference")
    weights, limit = _weights(results), policy.features.max_drifted_share
    drifted = _ranked(r for r in results if r.verdict is Verdict.BREACHED)
    open_ = [r for r in results if r.verdict is Verdict.INSUFFICIENT_DATA]
    message = f"{len(drifted)} of {sum(r.statistic is not None for r in results)} features drifted"
    if drifted:
        carried = f" ({share:.0%} by importance)" if any(r.importance for r in results) else ""
        message += f"{carried}: {', '.join(r.message for r in drifted[:_NAMED])}{more(len(drifted))}"
    if drifted and share >= limit:
        return GroupVerdict(Verdict.BREACHED, message)
    if open_ and sum(weights[r.name] for r in (*drifted, *open_)) / sum(weights.values()) >= limit:
        return GroupVerdict(Verdict.INSUFFICIENT_DATA, f"{message}; {len(open_)} of all hold too few values to judge")
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


def more(count: int, named: int = _NAMED) -> str:
    """What is said of those that are not named."""
    return f" and {count - named} more" if count > named else ""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + more(len(names), 20)
